/* threads.c - the model in several threads, and blocks that move between threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// timeout: 180
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_PURGE_THREAD_MB=1 HAKMEM_PURGE_DELAY_MS=1
// variant: HAKMEM_HEAPS=1
// variant: HAKMEM_PREWARM=adaptive HAKMEM_PURGE_DELAY_MS=0
// variant: HAKMEM_GUARD_RATE=3 HAKMEM_GUARD_SLOTS=1000
#include "model.h"

enum { THREADS_MOST = 8 };

static uint64_t bytes_live(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats.bytes_live;
}

/* ---- One model per thread -------------------------------------------------------------------- */

enum { MODELS = 4, STREAM_BYTES = 200000 };

static void *run_model(void *arg) {
    static __thread uint8_t stream[STREAM_BYTES];
    uint64_t random = (uint64_t)(uintptr_t)arg;
    for (size_t i = 0; i < STREAM_BYTES; i++)
        stream[i] = (uint8_t)(test_random(&random) >> 32);
    model_run(stream, STREAM_BYTES);
    return NULL;
}

TEST(models_in_several_threads_do_not_disturb_one_another) {
    test_let_libc_keep_threads(THREADS_MOST);
    uint64_t seed = test_seed(7), live = bytes_live();
    pthread_t threads[MODELS];
    for (size_t i = 0; i < MODELS; i++)
        threads[i] = test_thread(run_model, (void *)(uintptr_t)(seed * 1000 + i));
    for (size_t i = 0; i < MODELS; i++)
        pthread_join(threads[i], NULL);
    model_check_live(live, bytes_live());
    CHECK_EQ(hak_validate(), 0);
}

/* ---- Blocks that move between threads -------------------------------------------------------- */

/* A block in transit. The parcel itself is a block, too. */
struct parcel {
    unsigned char *block;
    size_t size;
    uint64_t key;
};

/* All threads put parcels into random slots, and take out parcels of other threads. */
enum { SHELF = 512 };
static struct parcel *shelf[SHELF];

static struct parcel *parcel_make(uint64_t *random) {
    struct parcel *parcel = hak_malloc(sizeof *parcel);
    REQUIRE(parcel);
    uint64_t r = test_random(random);
    size_t size = r % 64 == 0 ? r / 64 % 500000 : r % 4 ? r / 64 % 500 : r / 64 % 20000;
    parcel->block = hak_malloc(size);
    REQUIRE(parcel->block);
    parcel->size = size;
    parcel->key = r;
    test_fill(parcel->block, size < 4096 ? size : 4096, r);
    return parcel;
}

static void parcel_check(const struct parcel *parcel) {
    size_t checked = parcel->size < 4096 ? parcel->size : 4096;
    AT("size", parcel->size);
    CHECK_EQ(test_intact(parcel->block, checked, parcel->key), checked);
}

static void parcel_drop(struct parcel *parcel) {
    if (!parcel)
        return;
    parcel_check(parcel);
    if (parcel->key & 1)
        hak_free(parcel->block);
    else
        hak_free_sized(parcel->block, parcel->size);
    hak_free_sized(parcel, sizeof *parcel);
}

static void parcel_resize(struct parcel *parcel, size_t size) {
    parcel_check(parcel);
    size_t kept = size < parcel->size ? size : parcel->size;
    kept = kept < 4096 ? kept : 4096;
    unsigned char *block = hak_realloc(parcel->block, size);
    REQUIRE(block);
    CHECK_EQ(test_intact(block, kept, parcel->key), kept);
    test_fill(block, size < 4096 ? size : 4096, parcel->key);
    parcel->block = block;
    parcel->size = size;
}

static struct parcel *shelf_exchange(size_t at, struct parcel *parcel) {
    return __atomic_exchange_n(&shelf[at], parcel, __ATOMIC_ACQ_REL);
}

static void travel(uint64_t seed, size_t steps) {
    uint64_t random = seed;
    for (size_t i = 0; i < steps; i++) {
        uint64_t r = test_random(&random);
        struct parcel *mine = r % 8 < 5 ? parcel_make(&random) : NULL;
        struct parcel *theirs = shelf_exchange(r / 8 % SHELF, mine);
        if (theirs && r % 16 == 7)
            parcel_resize(theirs, 1 + r / 1024 % 3000);
        parcel_drop(theirs);
    }
}

static void clear_shelf(void) {
    for (size_t i = 0; i < SHELF; i++)
        parcel_drop(shelf_exchange(i, NULL));
}

enum { TRAVELLERS = 4, STEPS = 60000 };

static void *travel_long(void *arg) {
    travel((uint64_t)(uintptr_t)arg, STEPS);
    return NULL;
}

TEST(blocks_freed_by_other_threads_are_intact_and_counted) {
    test_let_libc_keep_threads(THREADS_MOST);
    uint64_t seed = test_seed(11), live = bytes_live();
    pthread_t threads[TRAVELLERS];
    for (size_t i = 0; i < TRAVELLERS; i++)
        threads[i] = test_thread(travel_long, (void *)(uintptr_t)(seed * 100 + i));
    for (size_t i = 0; i < TRAVELLERS; i++)
        pthread_join(threads[i], NULL);
    clear_shelf();
    model_check_live(live, bytes_live());
    CHECK_EQ(hak_validate(), 0);
}

/* ---- Threads that start and exit ------------------------------------------------------------- */

enum { SHORT_THREADS = 600, AT_ONCE = 6, SHORT_STEPS = 300 };

static void *travel_short(void *arg) {
    travel((uint64_t)(uintptr_t)arg, SHORT_STEPS);
    return NULL;
}

TEST(hundreds_of_short_threads_leave_blocks_behind) {
    test_let_libc_keep_threads(THREADS_MOST);
    uint64_t seed = test_seed(13), live = bytes_live();
    pthread_t threads[AT_ONCE];
    for (size_t i = 0; i < SHORT_THREADS; i++) {
        if (i >= AT_ONCE)
            pthread_join(threads[i % AT_ONCE], NULL);
        threads[i % AT_ONCE] = test_thread(travel_short, (void *)(uintptr_t)(seed * 1000 + i));
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(hak_validate(), 0);
    clear_shelf();
    model_check_live(live, bytes_live());
    CHECK_EQ(hak_validate(), 0);
}

/* ---- Trim, statistics and validation at any time --------------------------------------------- */

static unsigned travelling; /* atomic */

static void *travel_and_sign_off(void *arg) {
    travel((uint64_t)(uintptr_t)arg, STEPS / 2);
    __atomic_fetch_sub(&travelling, 1, __ATOMIC_RELEASE);
    return NULL;
}

TEST(trim_stats_and_validate_may_be_called_while_threads_work) {
    test_let_libc_keep_threads(THREADS_MOST);
    uint64_t seed = test_seed(17), live = bytes_live();
    pthread_t threads[3];
    __atomic_store_n(&travelling, TEST_COUNT(threads), __ATOMIC_RELEASE);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(travel_and_sign_off, (void *)(uintptr_t)(seed * 100 + i));
    while (__atomic_load_n(&travelling, __ATOMIC_ACQUIRE) > 0) {
        hak_trim();
        CHECK_EQ(hak_validate(), 0);
        struct hak_stats stats;
        hak_stats(&stats, sizeof stats);
        CHECK_LE(stats.bytes_live, stats.bytes_mapped);
        test_sleep_ms(1);
    }
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    clear_shelf();
    model_check_live(live, bytes_live());
    CHECK_EQ(hak_validate(), 0);
}
