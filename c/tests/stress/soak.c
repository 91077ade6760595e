/* stress/soak.c - random programs with random options: no fault, and memory that stays bounded.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The test runs itself again and again, each time as a process with random options. In this
 * process, threads allocate, resize and free blocks, also blocks of each other, and start further
 * threads. They share a private heap, create, merge and destroy others, some of them as the default
 * heap, and count their bytes. The main thread meanwhile trims, forks, changes options, and starts
 * and stops profiles and guards. Now and then all blocks are freed, and the memory that the process
 * then keeps must not grow.
 *
 * SOAK_SECONDS is the duration (20), HAKMEM_TEST_SEED the start of all random numbers. `make soak
 * MINUTES=120` runs it for longer. Each round prints its options and the memory that it kept. The
 * runner keeps the output until the end, so each round also writes a line to the file descriptor
 * SOAK_PROGRESS.
 */
// timeout: 90
#include <hakmem.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "test.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

extern char **environ;

/* With AddressSanitizer, the stacks of vanished threads stay poisoned in a forked child. The
 * scavenger of the child may run on one of them. */
#if defined(__SANITIZE_ADDRESS__)
enum { FORKS = 0 };
#else
enum { FORKS = 1 };
#endif

enum {
    SECONDS = 20,
    ROUND_SECONDS_MIN = 5, /* of a process */
    ROUND_SECONDS_MAX = 60,
    WORKERS_MAX = 12,
    SLOTS = 400,
    SHARED = 64,
    PATTERN = 256,       /* bytes at the start of a block that are compared */
    ACTIONS = 40,        /* of the main thread between two times without blocks */
    LIVE_MAX = 64 << 20, /* bytes of all blocks; threads free while there are more */
    GROWTH_MAX = 24 << 20,
    KEPT_LIVE = 256 << 10, /* bytes that libc may hold */
};

/* ---- Options --------------------------------------------------------------------------------- */

static const struct setting {
    const char *name;
    const char *values[6];
    bool anytime;
} settings[] = {
    {"checks", {"0", "0", "0", "0", "fast", "1"}, false},
    {"heaps", {"0", "0", "0", "1", "2", "7"}, false},
    {"guard_rate", {"0", "0", "0", "40", "1000", "10000"}, false},
    {"prewarm", {"off", "off", "tiny", "pool", "all", "adaptive"}, true},
    {"thread_cache_kb", {"8192", "8192", "0", "16", "300", "2000"}, true},
    {"cache_total_mb", {"0", "0", "0", "1", "4", "100"}, true},
    {"large_cache_mb", {"64", "64", "0", "1", "10", "30"}, true},
    {"purge_delay_ms", {"1000", "1000", "0", "1", "20", "300"}, true},
    {"purge_thread_mb", {"16", "16", "0", "1", "4", "32"}, true},
    {"background", {"auto", "auto", "auto", "always", "always", "never"}, true},
    {"huge_page_mb", {"4", "4", "0", "1", "16", "64"}, true},
    {"limit_soft", {"0", "0", "0", "0", "40M", "80M"}, true},
    {"limit_hard", {"0", "0", "0", "0", "60M", "300M"}, true},
    {"pool_tls_arena_mb_init", {"1", "1", "1", "2", "8", "16"}, true},
};

static const char *draw_value(const struct setting *setting, uint64_t *seed) {
    return setting->values[test_random(seed) % TEST_COUNT(setting->values)];
}

static void set_any_option(uint64_t *seed) {
    const struct setting *setting = &settings[test_random(seed) % TEST_COUNT(settings)];
    if (setting->anytime)
        CHECK_EQ(hak_option_set(setting->name, draw_value(setting, seed)), 0);
}

/* ---- Threads --------------------------------------------------------------------------------- */

struct block {
    unsigned char *start;
    size_t size;
    uint64_t key;
};

static struct block shared[SHARED]; /* under `mutex` */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hak_heap *common; /* of all threads; changes while they wait */
static size_t live;             /* atomic; bytes of all blocks */
static uint32_t pausing;        /* atomic; workers free all blocks and wait */
static uint32_t ending;         /* atomic */
static pthread_barrier_t paused;

static size_t patterned(size_t size) { return size < PATTERN ? size : PATTERN; }

static size_t draw_size(uint64_t *seed) {
    static const size_t most[] = {64, 300, 300, 1 * KIB, 1 * KIB, 8 * KIB, 60 * KIB, 300 * KIB};
    if (test_random(seed) % 300 == 0)
        return test_random(seed) % (9 * MIB) + 1;
    return test_random(seed) % most[test_random(seed) % TEST_COUNT(most)] + 1;
}

static void check_and_count(const struct block *block) {
    AT("size key", block->size, block->key);
    CHECK_EQ(test_intact(block->start, patterned(block->size), block->key), patterned(block->size));
    __atomic_sub_fetch(&live, block->size, __ATOMIC_RELAXED);
}

static void fill_and_count(struct block *block) {
    test_fill(block->start, patterned(block->size), block->key);
    block->start[block->size - 1] = test_byte(block->key, block->size - 1);
    __atomic_add_fetch(&live, block->size, __ATOMIC_RELAXED);
}

static void release(struct block *block) {
    if (block->start == NULL)
        return;
    check_and_count(block);
    if (block->key % 2 == 0)
        hak_free_sized(block->start, block->size);
    else
        free(block->start);
    block->start = NULL;
}

/* Allocates from the heap, or from those of malloc if it is NULL. */
static void allocate(struct block *block, struct hak_heap *heap, uint64_t *seed) {
    size_t size = draw_size(seed);
    uint64_t key = test_random(seed);
    if (__atomic_load_n(&live, __ATOMIC_RELAXED) > LIVE_MAX)
        return;

    unsigned char *start;
    if (key % 8 == 0)
        start = heap != NULL ? hak_heap_calloc(heap, 1, size) : calloc(1, size);
    else
        start = heap != NULL ? hak_heap_malloc(heap, size) : malloc(size);
    if (start == NULL)
        return;

    if (heap != NULL)
        CHECK_EQ(hak_heap_of(start), heap);
    if (key % 8 == 0)
        CHECK_EQ(test_zeros(start, patterned(size)), patterned(size));
    *block = (struct block){start, size, key};
    fill_and_count(block);
}

static void resize(struct block *block, uint64_t *seed) {
    size_t size = draw_size(seed);
    size_t kept = patterned(size < block->size ? size : block->size);
    check_and_count(block);
    unsigned char *start = realloc(block->start, size);
    if (start != NULL) {
        CHECK_EQ(test_intact(start, kept, block->key), kept);
        *block = (struct block){start, size, block->key};
    }
    fill_and_count(block);
}

static void exchange(struct block *block, uint64_t *seed) {
    struct block *other = &shared[test_random(seed) % SHARED];
    pthread_mutex_lock(&mutex);
    struct block mine = *block;
    *block = *other;
    *other = mine;
    pthread_mutex_unlock(&mutex);
}

static void step(struct block *blocks, struct hak_heap *heap, uint64_t *seed) {
    struct block *block = &blocks[test_random(seed) % SLOTS];
    if (block->start == NULL)
        allocate(block, heap, seed);
    else if (test_random(seed) % 6 == 0)
        resize(block, seed);
    else
        release(block);
}

static void step_and_exchange(struct block *blocks, struct hak_heap *heap, uint64_t *seed) {
    step(blocks, heap, seed);
    if (test_random(seed) % 16 == 0)
        exchange(&blocks[test_random(seed) % SLOTS], seed);
}

static void release_all(struct block *blocks, size_t count) {
    for (size_t i = 0; i < count; i++)
        release(&blocks[i]);
}

/* Checks the blocks and gives them up. The end of their heap frees them. */
static void leave_all(struct block *blocks) {
    for (size_t i = 0; i < SLOTS; i++) {
        if (blocks[i].start != NULL)
            check_and_count(&blocks[i]);
    }
}

static struct hak_heap *new_heap(uint64_t *seed) {
    static const uint64_t limits[] = {0, 0, 1 * MIB, 8 * MIB};
    struct hak_heap_options options = {.limit = limits[test_random(seed) % TEST_COUNT(limits)],
                                       .purge = (enum hak_heap_purge)(test_random(seed) % 2)};
    return hak_heap_new(&options, sizeof options);
}

/* Other threads get blocks of a heap that is merged, and free them before and after its end. A heap
 * that is destroyed keeps its blocks to itself. */
static void use_heap(uint64_t *seed) {
    struct block blocks[SLOTS] = {{NULL, 0, 0}};
    struct hak_heap *heap = new_heap(seed);
    bool merges = test_random(seed) % 2 == 0;
    if (heap == NULL)
        return;

    hak_heap_set_default(test_random(seed) % 2 == 0 ? heap : NULL);
    for (int i = 0; i < 1000; i++)
        merges ? step_and_exchange(blocks, heap, seed) : step(blocks, heap, seed);
    if (merges) {
        hak_heap_merge(heap);
        release_all(blocks, SLOTS);
    } else {
        leave_all(blocks);
        hak_heap_destroy(heap);
    }
    CHECK_EQ(hak_heap_set_default(NULL), NULL);
}

/* All blocks of this function are freed in it, so both sums grow by the same amount. */
static void count_bytes(uint64_t *seed) {
    struct block blocks[SLOTS] = {{NULL, 0, 0}};
    struct hak_thread_counters first, last;
    hak_thread_count_start();
    CHECK_EQ(hak_thread_counters(&first, sizeof first), 1);

    void *block = malloc(1000);
    size_t bytes = block != NULL ? hak_usable_size(block) : 0;
    for (int i = 0; i < 500; i++)
        step(blocks, i % 2 == 0 ? common : NULL, seed);
    release_all(blocks, SLOTS);
    free(block);

    CHECK_EQ(hak_thread_counters(&last, sizeof last), 1);
    hak_thread_count_stop();
    CHECK_LE(bytes, last.bytes_allocated - first.bytes_allocated);
    CHECK_EQ(last.bytes_allocated - first.bytes_allocated, last.bytes_freed - first.bytes_freed);
    CHECK_EQ(last.blocks_allocated - first.blocks_allocated,
             last.blocks_freed - first.blocks_freed);
}

/* The thread may end while it counts. */
static void *work_briefly(void *seed) {
    struct block blocks[SLOTS] = {{NULL, 0, 0}};
    uint64_t random = (uintptr_t)seed;
    if (test_random(&random) % 2 == 0)
        hak_thread_count_start();
    for (int i = 0; i < 2000; i++)
        step_and_exchange(blocks, i % 4 == 0 ? common : NULL, &random);
    use_heap(&random);
    count_bytes(&random);
    release_all(blocks, SLOTS);
    return NULL;
}

/* At the limit there is no memory for the thread. */
static void run_briefly(uint64_t *seed) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, work_briefly, (void *)(uintptr_t)test_random(seed));
    if (error == 0)
        pthread_join(thread, NULL);
    else
        CHECK_EQ(error, EAGAIN);
}

/* A thread that works, sleeps, and starts other threads. */
static void *work(void *seed) {
    struct block blocks[SLOTS] = {{NULL, 0, 0}};
    uint64_t random = (uintptr_t)seed;
    while (!__atomic_load_n(&ending, __ATOMIC_ACQUIRE)) {
        for (int i = 0; i < 500; i++)
            step_and_exchange(blocks, i % 8 == 0 ? common : NULL, &random);
        if (test_random(&random) % 16 == 0)
            use_heap(&random);
        if (test_random(&random) % 16 == 0)
            count_bytes(&random);
        if (test_random(&random) % 16 == 0)
            test_sleep_ms((unsigned)(test_random(&random) % 30));
        if (test_random(&random) % 64 == 0)
            run_briefly(&random);
        if (__atomic_load_n(&pausing, __ATOMIC_ACQUIRE)) {
            release_all(blocks, SLOTS);
            pthread_barrier_wait(&paused);
            pthread_barrier_wait(&paused);
        }
    }
    return NULL;
}

/* ---- The main thread ------------------------------------------------------------------------- */

static void drop(void *sum, const char *text, size_t bytes) {
    (void)text;
    *(size_t *)sum += bytes;
}

/* Each of these gets a random number. */
static void trim(uint64_t *seed) {
    (void)seed;
    hak_trim();
}

static void validate(uint64_t *seed) {
    (void)seed;
    CHECK_EQ(hak_validate(), 0);
}

static void observe(uint64_t *seed) {
    size_t written = 0;
    hak_report((enum hak_report_format)(test_random(seed) % 2), drop, &written);
    CHECK(written > 100);
}

static void switch_profile(uint64_t *seed) {
    static const uint64_t rates[] = {1, 5000, 524288};
    struct hak_profile_options rate = {.rate = rates[test_random(seed) % TEST_COUNT(rates)]};
    size_t written = 0;
    if (!hak_profile_is_running()) {
        hak_profile_start(&rate, sizeof rate);
        return;
    }
    hak_profile_write((enum hak_profile_format)(test_random(seed) % 4), drop, &written);
    hak_profile_stop();
}

static void switch_guard(uint64_t *seed) {
    if (hak_guard_is_running())
        hak_guard_stop();
    else
        hak_guard_start(test_random(seed) % 1000 + 1, 64);
}

/* The parent holds the mutex, so that no other thread does. */
static void live_as_a_child(void *seed) {
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 3; i++)
        work_briefly((void *)((uintptr_t)seed + (uintptr_t)i));
    run_briefly(&(uint64_t){(uintptr_t)seed});
    hak_trim();
    CHECK_EQ(hak_validate(), 0);
}

static void fork_child(uint64_t *seed) {
    if (!FORKS)
        return;
    void *start = (void *)(uintptr_t)test_random(seed);
    pthread_mutex_lock(&mutex);
    struct test_child child = test_in_child(live_as_a_child, start);
    pthread_mutex_unlock(&mutex);
    CHECK_EXITED(child);
}

static void sleep_briefly(uint64_t *seed) { test_sleep_ms((unsigned)(test_random(seed) % 40)); }

static void prewarm(uint64_t *seed) { hak_prewarm((enum hak_prewarm_set)(test_random(seed) % 5)); }

static void (*const actions[])(uint64_t *seed) = {
    trim,          validate, observe, switch_profile, switch_guard,   fork_child,     sleep_briefly,
    sleep_briefly, prewarm,  prewarm, run_briefly,    set_any_option, set_any_option, use_heap,
};

/* Starts a common heap in place of the last one, which has no blocks. */
static void renew_common(uint64_t *seed) {
    struct hak_heap_stats stats;
    hak_heap_stats(common, &stats, sizeof stats);
    CHECK_EQ(stats.blocks_live, 0);
    CHECK_EQ(stats.bytes_live, 0);
    test_random(seed) % 2 == 0 ? hak_heap_merge(common) : hak_heap_destroy(common);
    common = new_heap(seed);
}

/* The statistics, once no batch of free blocks is on its way. The background thread may move one
 * from a thread cache to its heap, and it counts as live meanwhile. */
static struct hak_stats settled_stats(void) {
    struct hak_stats stats;
    for (int attempt = 0; attempt < 500; attempt++) {
        hak_stats(&stats, sizeof stats);
        if (stats.bytes_live <= KEPT_LIVE)
            break;
        test_sleep_ms(10);
    }
    return stats;
}

/* Frees all blocks, and returns the bytes that are resident then. */
static size_t rest(uint64_t *seed) {
    hak_profile_stop();
    __atomic_store_n(&pausing, 1, __ATOMIC_RELEASE);
    pthread_barrier_wait(&paused);
    release_all(shared, SHARED);
    renew_common(seed);
    hak_trim();
    size_t resident = test_rss();
    struct hak_stats stats = settled_stats();
    CHECK_EQ(hak_validate(), 0);
    CHECK_EQ(stats.errors, 0);
    CHECK_EQ(__atomic_load_n(&live, __ATOMIC_RELAXED), 0);
    CHECK_LE(stats.bytes_live, KEPT_LIVE);
    CHECK_EQ(stats.heaps_private, common != NULL);
    __atomic_store_n(&pausing, 0, __ATOMIC_RELEASE);
    pthread_barrier_wait(&paused);
    return resident;
}

static void run_round(uint64_t seconds, uint64_t seed) {
    pthread_t threads[WORKERS_MAX];
    unsigned workers = (unsigned)(test_random(&seed) % WORKERS_MAX) + 1;
    pthread_barrier_init(&paused, NULL, workers + 1);
    for (unsigned i = 0; i < workers; i++)
        threads[i] = test_thread(work, (void *)(uintptr_t)test_random(&seed));

    uint64_t end = test_now_ns() + seconds * 1000000000u;
    size_t first = rest(&seed), most = first;
    while (test_now_ns() < end && test_state.failures == 0) {
        for (int i = 0; i < ACTIONS; i++)
            actions[test_random(&seed) % TEST_COUNT(actions)](&seed);
        size_t resident = rest(&seed);
        CHECK_LE(resident, first + GROWTH_MAX);
        most = resident > most ? resident : most;
    }
    test_print("    %zu KiB resident at first, %zu KiB at most\n", first / KIB, most / KIB);

    __atomic_store_n(&ending, 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < workers; i++)
        pthread_join(threads[i], NULL);
}

/* ---- Rounds ---------------------------------------------------------------------------------- */

/* Starts this program again for a round. Its output goes to a file. Returns its exit status. */
static int start_round(int output, uint64_t seconds, uint64_t seed) {
    char numbers[2][32], variables[TEST_COUNT(settings)][64];
    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)seconds);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)seed);
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < TEST_COUNT(settings); i++) {
            size_t at =
                (size_t)snprintf(variables[i], sizeof variables[i], "HAKMEM_%s", settings[i].name);
            for (size_t k = 0; k < at; k++)
                variables[i][k] -= variables[i][k] >= 'a' && variables[i][k] <= 'z' ? 'a' - 'A' : 0;
            setenv(variables[i], draw_value(&settings[i], &seed), 1);
            dprintf(output, "%s=%s ", settings[i].name, getenv(variables[i]));
        }
        dprintf(output, "\n");
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        setenv("SOAK_ROUND", numbers[0], 1);
        setenv("TEST_SEED", numbers[1], 1);
        unsetenv("HAKMEM_TEST_SEED");
        execl("/proc/self/exe", "soak", (char *)NULL);
        _exit(1);
    }

    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static void print_output(int output) {
    char line[4096];
    FILE *file = fdopen(output, "r");
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL)
        test_print("    %s", line);
    fclose(file);
}

static void report_progress(uint64_t round, uint64_t begin, uint64_t seconds) {
    const char *output = getenv("SOAK_PROGRESS");
    if (output != NULL)
        dprintf(atoi(output), "soak: %llu rounds without a fault, %llu of %llu s\n",
                (unsigned long long)round + 1,
                (unsigned long long)((test_now_ns() - begin) / 1000000000u),
                (unsigned long long)seconds);
}

static void run_rounds(uint64_t seconds, uint64_t seed) {
    uint64_t begin = test_now_ns();
    uint64_t end = begin + seconds * 1000000000u;
    uint64_t each = seconds / 8;
    each = each < ROUND_SECONDS_MIN ? ROUND_SECONDS_MIN : each;
    each = each > ROUND_SECONDS_MAX ? ROUND_SECONDS_MAX : each;

    for (uint64_t round = 0; test_now_ns() < end && test_state.failures == 0; round++) {
        int output = (int)syscall(SYS_memfd_create, "soak", 0);
        uint64_t start = test_random(&seed);
        AT("round seed", round, start);
        int status = start_round(output, each, start);
        CHECK_EQ(status, 0);
        print_output(output);
        if (test_state.failures == 0)
            report_progress(round, begin, seconds);
    }
}

TEST(random_programs_with_random_options_have_no_fault_and_stay_bounded) {
    const char *round = getenv("SOAK_ROUND");
    const char *seconds = getenv("SOAK_SECONDS");
    uint64_t seed = test_seed(20261126);
    if (round != NULL)
        run_round(strtoull(round, NULL, 10), seed);
    else
        run_rounds(seconds != NULL ? strtoull(seconds, NULL, 10) : SECONDS, seed);
}
