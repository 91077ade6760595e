/* unit/nth_failure.c - every n-th system call of a kind fails, for every n, while threads work.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The run uses every public function, in three threads that free blocks of each other, with
 * profiles, guarded blocks, trims and decay. n goes from 1 to the number of calls in a run without
 * failures, so each call is also once the only one of its kind that fails.
 *
 * In all cases, calls that get no memory say so, all blocks keep their contents, all invariants
 * hold, and the process keeps no more mappings than a run without failures, apart from a leaf of
 * the pagemap.
 */
// link: fake_os
// timeout: 600
#include <hakmem.h>
#include <sched.h>

#include "core/extent.h"
#include "core/meta.h"
#include "core/usage.h"
#include "debug/validate.h"
#include "fresh.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum {
    WORKERS = 3,
    SLOTS = 48,
    STEPS = 40,
    PATTERN = 512, /* bytes at the start of a block that are compared */
    GUARD_SLOTS = 16,
    META_SLACK = 1024 * 1024, /* metadata depends on how threads meet */
    LEAF_SLACK = 512 * 1024   /* a pagemap leaf, if the addresses cross a multiple of 4 GiB */
};

/* How a block may be freed. */
enum family { FAMILY_NONE, FAMILY_MALLOC, FAMILY_ALIGNED, FAMILY_LAYOUT };

struct block {
    unsigned char *start;
    size_t size;
    size_t align;
    uint64_t key;
    enum family family;
};

struct worker {
    uint64_t seed;
    struct block blocks[SLOTS];
};

static struct worker workers[WORKERS + 1]; /* the last one is the main thread */
static struct block passed[SLOTS];         /* under `mutex`; blocks that any thread may take */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* ---- Blocks ---------------------------------------------------------------------------------- */

static size_t patterned(size_t size) { return size < PATTERN ? size : PATTERN; }

static void fill(struct block *block) {
    block->start[block->size - 1] = 1;
    test_fill(block->start, patterned(block->size), block->key);
}

static void check(const struct block *block, size_t bytes) {
    AT("size align family", block->size, block->align, block->family);
    CHECK_EQ(test_intact(block->start, bytes, block->key), bytes);
    CHECK_EQ((uintptr_t)block->start % block->align, 0);
    CHECK_GE(hak_usable_size(block->start), block->size);
}

/* Mostly small sizes, up to those with a mapping of their own. */
static size_t draw_size(uint64_t *seed) {
    static const size_t most[] = {100, 1 * KIB, 1 * KIB, 8 * KIB, 52 * KIB, 256 * KIB, 6 * MIB};
    return test_random(seed) % most[test_random(seed) % TEST_COUNT(most)] + 1;
}

/* ---- Allocations ----------------------------------------------------------------------------- */

static void *by_malloc(size_t size, size_t align) {
    (void)align;
    return hak_malloc(size);
}

static void *by_calloc(size_t size, size_t align) {
    (void)align;
    unsigned char *start = hak_calloc(1, size);
    if (start != NULL)
        CHECK_EQ(test_zeros(start, size), size);
    return start;
}

static void *by_aligned_alloc(size_t size, size_t align) { return hak_aligned_alloc(align, size); }

static void *by_posix_memalign(size_t size, size_t align) {
    void *start = NULL;
    int error = hak_posix_memalign(&start, align, size);
    CHECK_EQ(error, start == NULL ? ENOMEM : 0);
    errno = error;
    return start;
}

static void *by_alloc_zeroed(size_t size, size_t align) {
    unsigned char *start = hak_alloc_zeroed(size, align);
    if (start != NULL)
        CHECK_EQ(test_zeros(start, size), size);
    return start;
}

static const struct way {
    void *(*allocate)(size_t size, size_t align);
    enum family family;
} ways[] = {
    {by_malloc, FAMILY_MALLOC},          {by_malloc, FAMILY_MALLOC},
    {by_calloc, FAMILY_MALLOC},          {by_aligned_alloc, FAMILY_ALIGNED},
    {by_posix_memalign, FAMILY_ALIGNED}, {hak_alloc, FAMILY_LAYOUT},
    {by_alloc_zeroed, FAMILY_LAYOUT},
};

static void allocate(struct block *block, uint64_t *seed) {
    const struct way *way = &ways[test_random(seed) % TEST_COUNT(ways)];
    size_t size = draw_size(seed);
    size_t align = way->family == FAMILY_MALLOC ? 16 : (size_t)8 << test_random(seed) % 15;
    errno = 0;
    void *start = way->allocate(size, align);
    if (start == NULL) {
        CHECK_EQ(errno, ENOMEM);
        return;
    }
    *block = (struct block){start, size, align, test_random(seed), way->family};
    check(block, 0);
    fill(block);
}

/* ---- Reallocations and frees ----------------------------------------------------------------- */

static void resize(struct block *block, uint64_t *seed) {
    size_t size = draw_size(seed);
    bool layout = block->family == FAMILY_LAYOUT;
    errno = 0;
    void *start = layout ? hak_realloc_layout(block->start, block->size, block->align, size)
                         : hak_reallocarray(block->start, 1, size);
    if (start == NULL) {
        CHECK_EQ(errno, ENOMEM);
        check(block, patterned(block->size));
        return;
    }

    size_t kept = patterned(block->size < size ? block->size : size);
    block->start = start;
    block->size = size;
    if (!layout) {
        block->family = FAMILY_MALLOC;
        block->align = 16;
    }
    check(block, kept);
    fill(block);
}

static void release(struct block *block, uint64_t *seed) {
    check(block, patterned(block->size));
    bool sized = test_random(seed) % 2;
    errno = 7;
    if (!sized)
        hak_free(block->start);
    else if (block->family == FAMILY_MALLOC)
        hak_free_sized(block->start, block->size);
    else if (block->family == FAMILY_ALIGNED)
        hak_free_aligned_sized(block->start, block->align, block->size);
    else
        hak_dealloc(block->start, block->size, block->align);
    CHECK_EQ(errno, 7);
    *block = (struct block){.start = NULL};
}

/* Exchanges a block with one of another thread. */
static void pass(struct block *block, uint64_t *seed) {
    struct block *other = &passed[test_random(seed) % SLOTS];
    pthread_mutex_lock(&mutex);
    struct block mine = *block;
    *block = *other;
    *other = mine;
    pthread_mutex_unlock(&mutex);
}

/* A block with a mapping of its own grows in place, or its pages move. */
static void grow(uint64_t *seed) {
    struct block block = {hak_malloc(5 * MIB), 5 * MIB, 16, test_random(seed), FAMILY_MALLOC};
    if (block.start == NULL)
        return;
    fill(&block);

    for (size_t size = 6 * MIB; size <= 12 * MIB; size += 2 * MIB) {
        void *start = hak_realloc(block.start, size);
        if (start == NULL)
            break;
        block.start = start;
        check(&block, PATTERN);
        block.size = size;
    }
    release(&block, seed);
}

static void step(struct worker *worker) {
    if (test_random(&worker->seed) % 32 == 0)
        grow(&worker->seed);

    struct block *block = &worker->blocks[test_random(&worker->seed) % SLOTS];
    if (block->start == NULL)
        allocate(block, &worker->seed);
    else if (test_random(&worker->seed) % 4 == 0)
        resize(block, &worker->seed);
    else
        release(block, &worker->seed);
    if (test_random(&worker->seed) % 3 == 0)
        pass(block, &worker->seed);
}

static void *work(void *worker) {
    for (int i = 0; i < STEPS; i++)
        step(worker);
    return NULL;
}

/* ---- The run --------------------------------------------------------------------------------- */

static void drop(void *sum, const char *text, size_t bytes) {
    (void)text;
    *(size_t *)sum += bytes;
}

static void check_success_or(int result, int error) {
    if (result != 0)
        CHECK_EQ(result, error);
}

/* The clock, for threads that sleep. */
static void *run_clock(void *stopped) {
    while (!__atomic_load_n((bool *)stopped, __ATOMIC_RELAXED)) {
        __atomic_add_fetch(&fake_os.now_ms, 1, __ATOMIC_SEQ_CST);
        nanosleep(&(struct timespec){0, 50000}, NULL);
    }
    return NULL;
}

/* Everything that the main thread does while the others work. */
static void look_on(void) {
    struct hak_stats stats;
    struct hak_class_stats classes[8];
    size_t written = 0;
    hak_stats(&stats, sizeof stats);
    hak_class_stats_all(classes, sizeof classes[0], TEST_COUNT(classes));
    hak_report(HAK_REPORT_JSON, drop, &written);
    __atomic_add_fetch(&fake_os.now_ms, 700, __ATOMIC_SEQ_CST);
    step(&workers[WORKERS]);
    hak_trim();
    CHECK_EQ(hak_validate(), 0);
}

static void run_threads(void) {
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        threads[i] = test_thread(work, &workers[i]);
    for (int i = 0; i < 4; i++)
        look_on();
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
}

static void run(void) {
    hak_prewarm(HAK_PREWARM_ALL);
    work(&workers[WORKERS]);
    run_threads();

    struct hak_profile_options every_few = {.rate = 4 * KIB};
    size_t written = 0;
    check_success_or(hak_profile_start(&every_few, sizeof every_few), ENOMEM);
    run_threads();
    hak_profile_stop();
    int result = hak_profile_write(HAK_PROFILE_PPROF, drop, &written);
    check_success_or(result == ENODATA ? ENOMEM : result, ENOMEM);

    check_success_or(hak_guard_start(8, GUARD_SLOTS), ENOMEM);
    run_threads();
    hak_guard_stop();
    run_threads();
}

static size_t live_bytes(struct block *blocks, size_t *count) {
    size_t bytes = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (blocks[i].start == NULL)
            continue;
        check(&blocks[i], patterned(blocks[i].size));
        bytes += hak_usable_size(blocks[i].start);
        ++*count;
    }
    return bytes;
}

static void release_all(struct block *blocks) {
    uint64_t seed = 1;
    for (size_t i = 0; i < SLOTS; i++) {
        if (blocks[i].start != NULL)
            release(&blocks[i], &seed);
    }
}

static void check_rest(void) {
    struct hak_stats stats;
    size_t count = 0;
    size_t live = live_bytes(passed, &count);
    for (int i = 0; i <= WORKERS; i++)
        live += live_bytes(workers[i].blocks, &count);
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(stats.bytes_live, live);
    CHECK_EQ(hk_validate(), 0);
    CHECK(hk_extent_valid());

    release_all(passed);
    for (int i = 0; i <= WORKERS; i++)
        release_all(workers[i].blocks);
    hak_trim();
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(hk_validate(), 0);
    CHECK_EQ(stats.bytes_live, 0);
    CHECK_EQ(stats.bytes_cached, 0);
    CHECK_EQ(stats.bytes_slabs, 0);
    CHECK_EQ(stats.bytes_dirty, 0);
    CHECK_EQ(hk_extent_refused_bytes(), 0);
    CHECK_EQ(hk_usage_bytes(), hk_meta_bytes());
    CHECK_STR(fake_os_take_errors(), "");
}

/* ---- Failures -------------------------------------------------------------------------------- */

struct failing {
    enum fake_os_call kind;
    uint64_t every;
    uint64_t calls; /* results of a run without failures */
    size_t mapped;
    size_t metadata;
};

static void yield_sometimes(void) {
    static uint32_t calls; /* atomic */
    if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % 4 == 0)
        sched_yield();
}

static void run_failing(void *arg) {
    struct failing *failing = arg;
    fake_os.cpus = 4; /* two heaps */
    fake_os.delay = yield_sometimes;
    for (uint64_t i = 0; i <= WORKERS; i++)
        workers[i].seed = i + 1;
    CHECK_EQ(hak_option_set("background", "never"), 0);
    CHECK_EQ(hak_option_set("huge_page_mb", "1"), 0);
    CHECK_EQ(hak_option_set("large_cache_mb", "30"), 0);

    bool stopped = false;
    pthread_t clock = test_thread(run_clock, &stopped);
    fake_os_fail_every(failing->kind, failing->every);
    run();
    fake_os_fail_every(failing->kind, 0);
    __atomic_store_n(&stopped, true, __ATOMIC_RELAXED);
    pthread_join(clock, NULL);
    uint64_t calls = fake_os_calls(failing->kind);
    check_rest();

    size_t mapped = fake_os_mapped() - hk_meta_bytes();
    if (failing->every == 0)
        *failing = (struct failing){failing->kind, 0, calls, mapped, hk_meta_bytes()};
    CHECK_LE(mapped, failing->mapped + LEAF_SLACK);
    CHECK_LE(hk_meta_bytes(), failing->metadata + META_SLACK);
}

/* Runs it with every n-th call of a kind failing. The result is in memory that the child shares. */
static void check_kind(enum fake_os_call kind) {
    struct failing *failing = test_map(sizeof *failing);
    CHECK(mmap(failing, sizeof *failing, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == failing);
    *failing = (struct failing){.kind = kind};
    for (int runs = 0; runs < 20 && failing->calls < 4; runs++) /* the schedule decides */
        CHECK_EXITED(test_in_child(run_failing, failing));
    CHECK_GE(failing->calls, 4);

    for (uint64_t every = 1; every <= failing->calls; every++) {
        failing->every = every;
        struct test_child child = test_in_child(run_failing, failing);
        AT("kind every", kind, every);
        CHECK_EXITED(child);
    }
    munmap(failing, sizeof *failing);
}

TEST(every_nth_map_call_may_fail) { check_kind(FAKE_OS_MAP); }
TEST(every_nth_unmap_call_may_fail) { check_kind(FAKE_OS_UNMAP); }
TEST(every_nth_resize_may_fail) { check_kind(FAKE_OS_RESIZE); }
TEST(every_nth_move_may_fail) { check_kind(FAKE_OS_MOVE); }
TEST(every_nth_purge_may_fail) { check_kind(FAKE_OS_PURGE); }
TEST(every_nth_advice_about_huge_pages_may_fail) { check_kind(FAKE_OS_HUGE); }
TEST(every_nth_change_of_access_may_fail) { check_kind(FAKE_OS_PROTECT); }
TEST(every_nth_barrier_may_fail) { check_kind(FAKE_OS_BARRIER); }
