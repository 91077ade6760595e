/* unit/thread.c - the cache of a thread, from thread start to thread exit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include <semaphore.h>

#include "thread/bins.h"
#include "thread/park.h"
#include "thread/slow.h"
#include "thread/thread.h"
#include "thread/threads.h"
#include "thread/tunables.h"

#include "core/error.h"
#include "core/meta.h"
#include "core/options.h"
#include "debug/validate.h"
#include "fresh.h"
#include "api/fork.h"
#include "os/os.h"
#include "transfer/transfer.h"

static void set(const char *name, const char *value) { CHECK_EQ(hak_option_set(name, value), 0); }

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

static struct hk_thread *record(void) {
    struct hk_thread *thread = hk_thread_get();
    REQUIRE(thread != NULL);
    return thread;
}

static uint32_t cached(size_t class) { return hk_bins_count(record(), class); }

static void run(void *(*body)(void *)) { pthread_join(test_thread(body, NULL), NULL); }

/* ---- Thread start ---------------------------------------------------------------------------- */

TEST_FRESH(the_first_call_gives_a_thread_its_cache) {
    CHECK_EQ(stats().threads, 0);
    CHECK_EQ(fake_os.map_calls, 0);
    void *block = hak_malloc(100);
    CHECK(block != NULL);
    CHECK_EQ(stats().threads, 1);
    CHECK_EQ(stats().heaps, 1);
    hak_free(block);
    CHECK_EQ(cached(HK_CLASS_112), 1);
}

TEST_FRESH(the_first_block_of_a_class_comes_alone_and_the_second_with_others) {
    CHECK(hak_malloc(100) != NULL);
    CHECK_EQ(record()->capacity[HK_CLASS_112], 0);
    CHECK(hak_malloc(100) != NULL);
    CHECK_EQ(record()->capacity[HK_CLASS_112], hk_classes[HK_CLASS_112].initial);
    CHECK_EQ(cached(HK_CLASS_112), (hk_classes[HK_CLASS_112].initial + 1) / 2 - 1);
}

static void *attach(void *barrier) {
    hak_free(hak_malloc(100));
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    return NULL;
}

static void check_heaps(unsigned threads, uint64_t heaps) {
    enum { MAX = 12 };
    pthread_t ids[MAX];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++)
        ids[i] = test_thread(attach, &barrier);
    pthread_barrier_wait(&barrier);
    AT("threads", threads);
    CHECK_EQ(stats().threads, threads);
    CHECK_EQ(stats().heaps, heaps);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    CHECK_EQ(stats().threads, 0);
}

TEST_FRESH(each_thread_has_a_heap_of_its_own_until_there_is_one_for_two_cpus) {
    fake_os.cpus = 15;
    check_heaps(1, 1);
    check_heaps(5, 5);
    check_heaps(12, 8);
    check_heaps(3, 8); /* heaps are available for the next threads */
}

TEST_FRESH(the_number_of_heaps_is_an_option) {
    char *environment[] = {"HAKMEM_HEAPS=3", NULL};
    fake_os.environment = environment;
    check_heaps(1, 1); /* while the first thread initializes the process, others have no cache */
    check_heaps(7, 3);
}

TEST_FRESH(without_memory_at_birth_a_thread_gets_its_cache_later) {
    fake_os_fail_maps(1, FAKE_OS_ALL);
    CHECK(hk_thread_get() == NULL);
    CHECK(hk_thread_any_heap() == NULL);
    errno = 0;
    CHECK(hak_malloc(100) == NULL);
    CHECK_EQ(errno, ENOMEM);
    fake_os_fail_maps(0, 0);
    CHECK(hak_malloc(100) != NULL);
    CHECK_EQ(stats().threads, 1);
}

TEST_FRESH(in_checking_mode_no_thread_has_a_cache) {
    char *environment[] = {"HAKMEM_CHECKS=1", NULL};
    fake_os.environment = environment;
    void *block = hak_malloc(100);
    hak_free(block);
    CHECK(hk_thread_get() == NULL);
    CHECK_EQ(stats().threads, 0);
    CHECK(FAKE_OS_ABORTS(hak_free(block)));
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_FREE);
}

/* ---- Capacity -------------------------------------------------------------------------------- */

TEST_FRESH(a_bin_doubles_with_each_refill_up_to_the_depth_of_its_class) {
    static void *blocks[4000];
    uint32_t capacity = 0;
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        blocks[i] = hak_malloc(64);
        uint32_t now = record()->capacity[HK_CLASS_64];
        uint32_t next =
            capacity == 0 ? hk_classes[HK_CLASS_64].initial : 2 * capacity + HK_BIN_BELOW;
        AT("block", i);
        CHECK(now == capacity || now == next);
        capacity = now;
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        hak_free(blocks[i]);
    CHECK_EQ(record()->capacity[HK_CLASS_64], hk_classes[HK_CLASS_64].depth);
    CHECK_EQ(hk_validate(), 0);
}

/* Uses many blocks of every class. Returns the peak of cached bytes. */
static size_t use_all_classes(void) {
    static void *blocks[600];
    size_t most = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        size_t bytes = hk_classes[class].block_bytes;
        size_t count = bytes > 65536 ? 20 : TEST_COUNT(blocks);
        for (size_t i = 0; i < count; i++)
            blocks[i] = hak_alloc(bytes, bytes == 8 ? 8 : 16);
        for (size_t i = 0; i < count; i++)
            hak_dealloc(blocks[i], bytes, bytes == 8 ? 8 : 16);
        size_t held = 0;
        for (size_t other = 1; other < HK_CLASS_COUNT; other++)
            held += (size_t)cached(other) * hk_classes[other].block_bytes;
        most = held > most ? held : most;
    }
    CHECK_EQ(hk_validate(), 0);
    return most;
}

TEST_FRESH(a_thread_caches_no_more_than_eight_mib_by_default) {
    CHECK_LE(use_all_classes(), 8192 * 1024);
}

TEST_FRESH(the_limit_of_one_thread_is_an_option) {
    set("thread_cache_kb", "512");
    CHECK_LE(use_all_classes(), 512 * 1024);
}

TEST_FRESH(capacity_in_bytes_is_the_sum_over_the_bins) {
    use_all_classes();
    size_t bytes = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        bytes += (size_t)record()->capacity[class] * hk_classes[class].block_bytes;
    CHECK_EQ(record()->capacity_bytes, bytes);
    hk_bins_empty(record());
    CHECK_EQ(record()->capacity_bytes, 0);
}

static void allocate_and_free(size_t size, size_t count) {
    static void *blocks[600];
    for (size_t i = 0; i < count; i++)
        blocks[i] = hak_malloc(size);
    for (size_t i = 0; i < count; i++)
        hak_free(blocks[i]);
}

TEST_FRESH(a_bin_that_is_not_used_shrinks_with_time_while_others_are_used) {
    allocate_and_free(32, 600);
    uint32_t before = record()->capacity[HK_CLASS_32];
    CHECK(before > 0);
    for (int round = 0; round < 200; round++) {
        allocate_and_free(2048, 600);
        fake_os.now_ms += 100;
    }
    CHECK(record()->capacity[HK_CLASS_32] < before / 4);
    CHECK_LE(cached(HK_CLASS_32), record()->capacity[HK_CLASS_32]);
    CHECK_EQ(hk_validate(), 0);
}

/* ---- Refill and flush ------------------------------------------------------------------------ */

TEST_FRESH(a_flush_sends_the_oldest_blocks_home_and_keeps_the_newest) {
    void *blocks[64];
    for (int i = 0; i < 64; i++)
        blocks[i] = hak_malloc(262144);
    uint64_t before = stats().flushes;
    for (int i = 0; i < 64; i++)
        hak_free(blocks[i]);
    CHECK(stats().flushes > before || record()->capacity[HK_CLASS_262144] == 0);
    if (cached(HK_CLASS_262144) > 0)
        CHECK(hak_malloc(262144) == blocks[63]);
    CHECK_EQ(hk_validate(), 0);
}

enum { GIVEN = 64 };

static struct {
    void *blocks[GIVEN];
    pthread_barrier_t step;
} given;

static void *free_given_and_wait(void *arg) {
    hak_free(hak_malloc(100));
    for (uint32_t i = 0; i < GIVEN; i++) {
        fake_os.cpu = i % fake_os.cpus;
        hak_free(given.blocks[i]);
    }
    fake_os.cpu = 0;
    pthread_barrier_wait(&given.step);
    pthread_barrier_wait(&given.step);
    return arg;
}

/* A second thread frees the blocks of this one, and stays alive. */
static pthread_t give_to_thread(size_t bytes) {
    pthread_barrier_init(&given.step, NULL, 2);
    for (int i = 0; i < GIVEN; i++)
        given.blocks[i] = hak_malloc(bytes);
    pthread_t thread = test_thread(free_given_and_wait, NULL);
    pthread_barrier_wait(&given.step);
    return thread;
}

static void end_thread(pthread_t thread) {
    pthread_barrier_wait(&given.step);
    pthread_join(thread, NULL);
}

TEST_FRESH(blocks_freed_by_another_thread_serve_the_next_allocations) {
    void *again[GIVEN];
    uint64_t takes = stats().transfer_takes;
    pthread_t thread = give_to_thread(16384);
    CHECK(stats().transfer_puts > 0);
    CHECK_EQ(stats().bytes_live, 0);
    uint64_t slabs = stats().bytes_slabs;
    for (int i = 0; i < GIVEN; i++)
        again[i] = hak_malloc(16384);
    CHECK(stats().transfer_takes > takes);
    CHECK_EQ(stats().bytes_live, GIVEN * 16384);
    CHECK_LE(stats().bytes_slabs, slabs + GIVEN * 16384 / 2); /* most were in the cache */
    end_thread(thread);
    for (int i = 0; i < GIVEN; i++)
        hak_free(again[i]);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(little_is_left_in_transfer_caches_for_a_single_thread) {
    fake_os.cpus = 4;
    pthread_t thread = give_to_thread(114688);
    CHECK(hk_transfer_bytes() > 4 << 20);
    end_thread(thread);
    CHECK(hk_transfer_bytes() > 0);
    CHECK_LE(hk_transfer_bytes(), 4 << 20);
    CHECK_EQ(stats().bytes_live, 0);

    thread = give_to_thread(16384);
    end_thread(thread);
    CHECK(hk_transfer_bytes() > 0);
    CHECK(hk_transfer_bytes() <= 4 << 20);
    CHECK_EQ(stats().bytes_live, 0);
    CHECK_EQ(hk_validate(), 0);
}

static struct hk_thread *parked_record;
static void *parked_block;

static void *leave_a_block(void *arg) {
    hak_free(hak_malloc(100)); /* the first block of a class comes without a bin */
    parked_block = hak_malloc(100);
    hak_free(parked_block);
    parked_record = record();
    return arg;
}

static void *adopt(void *arg) {
    CHECK(hak_malloc(100) == parked_block);
    CHECK(record() == parked_record);
    CHECK_EQ(stats().threads, 2);
    return arg;
}

TEST_FRESH(a_thread_adopts_the_cache_of_one_that_ended) {
    hak_free(hak_malloc(100));
    run(leave_a_block);
    CHECK_EQ(stats().threads, 1);
    CHECK_EQ(stats().bytes_live, 0);
    uint64_t metadata = stats().bytes_metadata;
    run(adopt);
    CHECK_EQ(stats().bytes_metadata, metadata);
    CHECK_EQ(stats().bytes_live, 112);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_trim_empties_parked_caches) {
    run(leave_a_block);
    CHECK(stats().bytes_cached > 0);
    hak_trim();
    CHECK_EQ(stats().bytes_cached, 0);
    CHECK_EQ(stats().bytes_slabs, 0);
    CHECK(!hk_park_release(UINT64_MAX));
}

TEST_FRESH(a_parked_cache_is_emptied_after_its_time) {
    run(leave_a_block);
    uint64_t now = hk_os_now_ms();
    CHECK(hk_park_release(now - 1)); /* one is left */
    CHECK(stats().bytes_cached > 0);
    CHECK(!hk_park_release(now));
    CHECK_EQ(stats().bytes_cached, 0);
}

static void *fill_cache_and_wait(void *barrier) {
    CHECK(hak_prewarm(HAK_PREWARM_ALL) > 1 << 20);
    pthread_barrier_wait(barrier);
    return NULL;
}

TEST_FRESH(parked_caches_keep_to_one_limit_beside_other_threads_and_to_another_for_one) {
    enum { FILLED = 12, LIMIT = 4 << 20, LIMIT_ALONE = 2 << 20 };
    fake_os.cpus = 1;
    hak_free(hak_malloc(100));
    pthread_barrier_t filled;
    pthread_barrier_init(&filled, NULL, FILLED + 1);
    pthread_t other = give_to_thread(100);
    pthread_t threads[FILLED];
    for (int i = 0; i < FILLED; i++)
        threads[i] = test_thread(fill_cache_and_wait, &filled);
    pthread_barrier_wait(&filled);
    for (int i = 0; i < FILLED; i++)
        pthread_join(threads[i], NULL);

    CHECK_EQ(stats().threads, 2);
    CHECK(hk_threads.parked_bytes > LIMIT / 2);
    CHECK_LE(hk_threads.parked_bytes, LIMIT);
    end_thread(other);
    CHECK_EQ(stats().threads, 1);
    CHECK(hk_threads.parked_bytes > 0);
    CHECK_LE(hk_threads.parked_bytes, LIMIT_ALONE);
    CHECK_EQ(stats().bytes_live, 0);
    CHECK_EQ(hk_validate(), 0);
}

/* Threads of which each starts the next one, as a server does that hands a connection on. */
struct chain {
    void *blocks[1000];
    uint64_t seed;
    uint64_t refills; /* until the middle of the chain */
    int left;
    sem_t ended;
};

static void *replace_and_start_next(void *arg) {
    enum { REPLACED = 5000, MIDDLE = 50 };
    struct chain *chain = arg;
    for (int i = 0; i < REPLACED; i++) {
        void **block = &chain->blocks[test_random(&chain->seed) % 1000];
        hak_free(*block);
        *block = hak_malloc(16 + test_random(&chain->seed) % 1000);
    }
    if (chain->left == MIDDLE)
        chain->refills = stats().refills;
    if (chain->left-- > 0)
        pthread_detach(test_thread(replace_and_start_next, chain));
    else
        sem_post(&chain->ended);
    return NULL;
}

TEST_FRESH(a_thread_that_starts_the_next_one_and_ends_leaves_it_a_warm_cache) {
    static struct chain chain = {.seed = 42, .left = 100};
    sem_init(&chain.ended, 0, 0);
    pthread_detach(test_thread(replace_and_start_next, &chain));
    while (sem_wait(&chain.ended) != 0) {
    }
    CHECK_LE(stats().refills - chain.refills, 50 * 40); /* a cold cache needs 150 for each */
    for (int i = 0; i < 1000; i++)
        hak_free(chain.blocks[i]);
    CHECK_EQ(stats().bytes_live, 0);
    CHECK_EQ(hk_validate(), 0);
}

static void check_parked_in_child(void *arg) {
    (void)arg;
    void *block = hak_malloc(100);
    CHECK(block != NULL);
    hak_trim();
    CHECK_EQ(stats().bytes_cached, 0);
    CHECK_EQ(stats().threads, 1);
    hak_free(block);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_forked_child_recovers_parked_caches) {
    hk_fork_install();
    hak_free(hak_malloc(100));
    run(leave_a_block);
    struct test_child child = test_in_child(check_parked_in_child, NULL);
    CHECK_EXITED(child);
    run(adopt);
    CHECK_EQ(hk_validate(), 0);
}

static void *free_given(void *block) {
    hak_free(block);
    CHECK_EQ(stats().threads, 1);
    return NULL;
}

TEST_FRESH(a_thread_that_only_frees_a_block_needs_no_cache_for_it) {
    void *block = hak_malloc(100);
    pthread_join(test_thread(free_given, block), NULL);
    CHECK_EQ(stats().bytes_live, 0);
    CHECK_EQ(hk_validate(), 0);
}

enum { BATCH_CLASSES = 60, BATCH_ROUNDS = 400 };

/* Frees the blocks of all classes in turn, and compares the capacities of the second half. */
static void *free_batches(void *arg) {
    void *(*blocks)[BATCH_CLASSES] = arg;
    uint16_t capacity[HK_CLASS_COUNT];
    unsigned changes = 0;

    for (unsigned round = 0; round < BATCH_ROUNDS; round++) {
        for (size_t i = 0; i < BATCH_CLASSES; i++)
            hak_free(blocks[round][i]);
        const struct hk_thread *thread = record();
        if (round > BATCH_ROUNDS / 2)
            changes += memcmp(capacity, thread->capacity, sizeof capacity) != 0;
        memcpy(capacity, thread->capacity, sizeof capacity);
    }

    CHECK(record()->frees_in_a_row > 2 * THREAD_ONLY_FREES);
    size_t bytes = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; class ++)
        bytes += capacity[class] * hk_max(hk_classes[class].block_bytes, THREAD_BATCH_BLOCK);
    CHECK(bytes > THREAD_BATCH_BYTES / 4);
    CHECK(bytes <= THREAD_BATCH_BYTES);
    CHECK_EQ(changes, 0);
    return NULL;
}

TEST_FRESH(a_thread_that_only_frees_many_sizes_settles_on_the_size_of_its_bins) {
    static void *blocks[BATCH_ROUNDS][BATCH_CLASSES];
    for (unsigned round = 0; round < BATCH_ROUNDS; round++) {
        for (size_t i = 0; i < BATCH_CLASSES; i++) {
            blocks[round][i] = hak_malloc(hk_classes[i + 1].block_bytes);
            REQUIRE(blocks[round][i] != NULL);
        }
    }
    pthread_join(test_thread(free_batches, blocks), NULL);
}

enum { LARGE_BATCH_BLOCK = 32 << 10, LARGE_BATCH_BLOCKS = 4000 };

static void *free_large_batches(void *blocks) {
    for (size_t i = 0; i < LARGE_BATCH_BLOCKS; i++)
        hak_free(((void **)blocks)[i]);
    CHECK(record()->frees_in_a_row > 2 * THREAD_ONLY_FREES);
    size_t capacity = record()->capacity[hk_class_of(LARGE_BATCH_BLOCK)];
    CHECK_GE(capacity, 2);
    CHECK_LE(capacity * LARGE_BATCH_BLOCK, THREAD_BATCH_LARGE_BYTES);
    return NULL;
}

TEST_FRESH(a_thread_that_only_frees_blocks_of_32_kib_keeps_at_most_256_kib_of_them) {
    static void *blocks[LARGE_BATCH_BLOCKS];
    for (size_t i = 0; i < LARGE_BATCH_BLOCKS; i++)
        blocks[i] = hak_malloc(LARGE_BATCH_BLOCK);
    pthread_join(test_thread(free_large_batches, blocks), NULL);
}

TEST_FRESH(the_newest_block_freed_twice_is_reported) {
    set("on_error", "continue");
    void *block = hak_malloc(100), *other = hak_malloc(100);
    hak_free(block);
    hak_free(block);
    CHECK_CONTAINS(fake_os_take_errors(), "hakmem: free(): ");
    CHECK(hak_malloc(100) == block);
    CHECK(hak_malloc(100) != block);
    hak_free(other);
}

TEST_FRESH(without_memory_for_larger_arrays_the_bins_stay_as_they_are) {
    static void *blocks[2000];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        blocks[i] = hak_malloc(16);
    hk_bins_empty(record());
    fake_os_fail_maps(1, FAKE_OS_ALL);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        hak_free(blocks[i]);
    CHECK_EQ(stats().bytes_live, 0);
    CHECK_EQ(hk_validate(), 0);
}

static void use_up_metadata(void) {
    fake_os_fail_maps(1, FAKE_OS_ALL);
    for (size_t bytes = 1 << 20; bytes >= 64; bytes /= 2)
        while (hk_meta_alloc(bytes) != NULL)
            ;
}

TEST_FRESH(without_memory_no_bin_makes_room_for_another_and_the_call_returns) {
    set("thread_cache_kb", "256");
    for (int i = 0; i < 200; i++) {
        allocate_and_free(2048, 200);
        allocate_and_free(1024, 200);
    }
    uint32_t before = record()->capacity[HK_CLASS_2048];
    CHECK(before > 30 && record()->capacity_bytes > 200 * 1024);
    use_up_metadata();
    hak_free(hak_malloc(53248));
    fake_os_fail_maps(0, 0);
    CHECK_EQ(hk_validate(), 0);
    CHECK_EQ(stats().bytes_live, 0);
}

/* ---- Thread exit ----------------------------------------------------------------------------- */

static void *use_and_free(void *arg) {
    (void)arg;
    use_all_classes();
    return NULL;
}

TEST_FRESH(a_thread_that_ends_returns_all_that_it_cached) {
    run(use_and_free);
    struct hak_stats after = stats();
    CHECK_EQ(after.threads, 0);
    CHECK_EQ(after.bytes_live, 0);
    hak_trim(); /* this thread's own cache is empty, and transfer caches are emptied, too */
    after = stats();
    CHECK_EQ(after.bytes_cached, 0);
    CHECK_EQ(after.bytes_slabs, 0);
    CHECK_EQ(after.bytes_dirty, 0);
    CHECK_EQ(after.bytes_mapped - after.bytes_metadata, fake_os_mapped() - after.bytes_metadata);
    CHECK_EQ(hk_validate(), 0);
}

static void *use_a_little(void *arg) {
    hak_free(hak_malloc(100));
    return arg;
}

TEST_FRESH(metadata_does_not_grow_with_the_number_of_threads_that_ended) {
    for (int i = 0; i < 5; i++)
        run(use_and_free);
    uint64_t before = stats().bytes_metadata;
    for (int i = 0; i < 200; i++)
        run(use_a_little);
    CHECK_EQ(stats().bytes_metadata, before);
}

static pthread_key_t late_key;

static void free_late(void *block) {
    pthread_setspecific(late_key, NULL);
    if (hk_thread_get() != NULL) { /* its cache exists, so run again in the next round */
        pthread_setspecific(late_key, block);
        return;
    }
    hak_free(block);
    hak_free(hak_malloc(100));
    hak_free(hak_malloc(1000000));
}

static void *leave_late_block(void *arg) {
    pthread_setspecific(late_key, hak_malloc(100));
    return arg;
}

TEST_FRESH(destructors_that_run_after_the_cache_is_gone_may_allocate_and_free) {
    hak_free(
        hak_malloc(1)); /* the core's key comes first, so its destructor runs first in each round */
    pthread_key_create(&late_key, free_late);
    run(leave_late_block);
    CHECK_EQ(stats().bytes_live, 0);
    CHECK_EQ(stats().threads, 1);
    CHECK_EQ(hk_validate(), 0);
}

/* ---- Pre-warming ----------------------------------------------------------------------------- */

TEST_FRESH(prewarming_fills_bins_to_the_counts_of_the_table_without_touching_blocks) {
    size_t expected = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        expected += (size_t)hk_classes[class].prewarm * hk_classes[class].block_bytes;
    CHECK_EQ(hak_prewarm(HAK_PREWARM_ALL), expected);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        AT("class", class);
        CHECK_EQ(cached(class), hk_classes[class].prewarm);
        for (uint32_t i = 0; i < cached(class); i++) {
            unsigned char resident;
            void *page = (void *)((uintptr_t)record()->floor[class][i] & ~(uintptr_t)4095);
            CHECK_EQ(mincore(page, 1, &resident), 0);
            CHECK_EQ(resident & 1, 0);
        }
    }
    CHECK_EQ(hak_prewarm(HAK_PREWARM_ALL), 0);
    CHECK_EQ(hak_prewarm(HAK_PREWARM_OFF), 0);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_prewarmed_thread_allocates_first_what_it_was_prewarmed_with) {
    char *environment[] = {"HAKMEM_PREWARM=pool", NULL};
    fake_os.environment = environment;
    for (uint32_t i = 0; i < 12; i++)
        CHECK(hak_malloc(24576) != NULL);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hk_cache *cache = &record()->cache;
        AT("class", class);
        CHECK(cache->bins[class].top <= cache->bins[class].ceil);
    }
    CHECK_EQ(cached(HK_CLASS_24576), 0);
    uint64_t refills = stats().refills;
    CHECK(hak_malloc(49152) != NULL);
    CHECK_EQ(stats().refills, refills);
    CHECK_EQ(hk_validate(), 0);
}

static void *hold_some(void *arg) {
    void *blocks[100];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        blocks[i] = hak_malloc(2000);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        hak_free(blocks[i]);
    return arg;
}

TEST_FRESH(adaptive_prewarming_follows_what_earlier_threads_held) {
    CHECK_EQ(hak_prewarm(HAK_PREWARM_ADAPTIVE), 0);
    for (int i = 0; i < 8; i++)
        run(hold_some);
    uint32_t usual = hk_park_usual(HK_CLASS_2048);
    CHECK(usual >= 8 && usual <= hk_classes[HK_CLASS_2048].depth);
    CHECK_EQ(hk_park_usual(HK_CLASS_16384), 0);
    CHECK_EQ(hak_prewarm(HAK_PREWARM_ADAPTIVE), usual * 2048);
    CHECK_EQ(cached(HK_CLASS_2048), usual);
}

/* ---- Trim ------------------------------------------------------------------------------------ */

static pthread_barrier_t step;

static void *work_around_a_trim(void *arg) {
    void *block = hak_malloc(100);
    hak_free(block);
    hak_free(hak_malloc(5000));
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step); /* the other thread trims */
    CHECK(cached(HK_CLASS_112) > 0);
    hak_free(hak_malloc(300)); /* a slow path */
    CHECK_EQ(cached(HK_CLASS_112), 0);
    CHECK_EQ(cached(HK_CLASS_5120), 0);
    return arg;
}

TEST_FRESH(a_thread_empties_its_cache_at_the_next_slow_path_after_a_trim_elsewhere) {
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(work_around_a_trim, NULL);
    pthread_barrier_wait(&step);
    hak_trim();
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
}
