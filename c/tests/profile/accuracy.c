/* profile/accuracy.c - estimates of known sites, for three seeds, in one thread and in four.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * 20 sites allocate blocks of known sizes. Sites with at least 5 % of the heap must be within 15 %
 * of the truth, and the sum within 5 %. The rate is chosen so that these are more than five
 * standard deviations.
 */
// flags: -rdynamic
// timeout: 120
#include <dlfcn.h>

#include "profile.h"
#include "profile/snapshot.h"

enum { SITES = 20, THREADS = 4, BLOCKS = 100000, ROUNDS = 4, RATE = 256, SEEDS = 3 };

/* The block size of each site, and its share of all allocations. Some sites have few bytes, and the
 * largest blocks are large ones. */
static const struct {
    size_t size;
    uint32_t part;
} sites[SITES] = {
    {8, 400},   {16, 2000}, {24, 2000}, {40, 1500}, {64, 1600}, {100, 1000}, {128, 900},
    {200, 500}, {256, 400}, {400, 250}, {512, 200}, {700, 150}, {1000, 100}, {1500, 70},
    {3000, 35}, {5000, 20}, {9000, 10}, {20000, 2}, {70000, 1}, {300000, 1},
};

#define SITE(n)                                                                                    \
    __attribute__((noinline)) void *site_##n(size_t size);                                         \
    __attribute__((noinline)) void *site_##n(size_t size) {                                        \
        void *block = hak_malloc(size);                                                            \
        __asm__ volatile("" : : "r"(block) : "memory"); /* no tail call */                         \
        return block;                                                                              \
    }
SITE(0)
SITE(1)
SITE(2)
SITE(3)
SITE(4)
SITE(5)
SITE(6)
SITE(7)
SITE(8)
SITE(9)
SITE(10)
SITE(11)
SITE(12)
SITE(13)
SITE(14)
SITE(15)
SITE(16)
SITE(17)
SITE(18)
SITE(19)

static void *(*const functions[SITES])(size_t size) = {
    site_0,  site_1,  site_2,  site_3,  site_4,  site_5,  site_6,  site_7,  site_8,  site_9,
    site_10, site_11, site_12, site_13, site_14, site_15, site_16, site_17, site_18, site_19,
};

struct sums {
    uint64_t allocated[SITES];
    uint64_t live[SITES];
};

struct slot {
    void *block;
    uint32_t site;
};

/* One thread's blocks, and its counts. */
struct worker {
    struct slot slots[BLOCKS];
    struct sums sums;
    uint64_t random;
    uint32_t frees; /* number of the worker with the blocks to free */
};

static struct worker workers[THREADS];
static pthread_barrier_t barrier;

static uint32_t choose_site(struct worker *worker) {
    uint32_t all = 0, site = 0;
    for (size_t i = 0; i < SITES; i++)
        all += sites[i].part;
    uint32_t at = (uint32_t)(test_random(&worker->random) % all);
    while (at >= sites[site].part)
        at -= sites[site++].part;
    return site;
}

static void allocate(struct worker *worker) {
    for (size_t i = 0; i < BLOCKS; i++) {
        struct slot *slot = &worker->slots[i];
        if (slot->block != NULL)
            continue;
        slot->site = choose_site(worker);
        slot->block = functions[slot->site](sites[slot->site].size);
        CHECK(slot->block != NULL);
        worker->sums.allocated[slot->site] += sites[slot->site].size;
        worker->sums.live[slot->site] += sites[slot->site].size;
    }
}

/* Frees blocks of another worker, which is waiting. */
static void release(struct worker *worker, unsigned of_16) {
    struct worker *owner = &workers[worker->frees];
    for (size_t i = 0; i < BLOCKS; i++) {
        struct slot *slot = &owner->slots[i];
        if (slot->block == NULL || test_random(&worker->random) % 16 >= of_16)
            continue;
        hak_free(slot->block);
        slot->block = NULL;
        owner->sums.live[slot->site] -= sites[slot->site].size;
    }
}

static void *work(void *arg) {
    struct worker *worker = arg;
    for (int round = 0; round < ROUNDS; round++) {
        allocate(worker);
        pthread_barrier_wait(&barrier);
        release(worker, round == ROUNDS - 1 ? 4 : 10);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

/* The sums of a profile by site. Each stack has one site. */
static void read_profile(struct sums *sums) {
    struct hk_snapshot snapshot;
    REQUIRE(hk_snapshot_take(&snapshot));
    memset(sums, 0, sizeof *sums);
    for (size_t i = 0; i < snapshot.row_count; i++) {
        const struct hk_row *row = &snapshot.rows[i];
        Dl_info info;
        if (dladdr((const void *)row->frames[0], &info) == 0 || info.dli_sname == NULL ||
            strncmp(info.dli_sname, "site_", 5) != 0)
            continue;
        size_t site = strtoul(info.dli_sname + 5, NULL, 10);
        sums->allocated[site] += row->values[HK_VALUE_ALLOC_SPACE];
        sums->live[site] += row->values[HK_VALUE_INUSE_SPACE];
    }
    hk_snapshot_drop(&snapshot);
}

static uint64_t sum(const uint64_t *values) {
    uint64_t all = 0;
    for (size_t i = 0; i < SITES; i++)
        all += values[i];
    return all;
}

/* Whether a value is within some per cent of the truth. */
static void check_within(uint64_t value, uint64_t truth, uint64_t per_cent) {
    CHECK_GE(value, truth - truth * per_cent / 100);
    CHECK_LE(value, truth + truth * per_cent / 100);
}

static void check_values(const uint64_t *values, const uint64_t *truth) {
    enum { LARGE = 5, SITE_ERROR = 15, SUM_ERROR = 5 }; /* in per cent */
    uint64_t all = sum(truth);
    unsigned checked = 0;
    check_within(sum(values), all, SUM_ERROR);
    for (size_t i = 0; i < SITES; i++) {
        if (truth[i] < all * LARGE / 100)
            continue;
        AT("size", sites[i].size);
        check_within(values[i], truth[i], SITE_ERROR);
        checked++;
    }
    CHECK_GE(checked, 5);
}

static void check_seed(uint64_t seed, uint32_t threads) {
    struct sums truth, estimate;
    pthread_t ids[THREADS];
    memset(workers, 0, sizeof workers);
    memset(&truth, 0, sizeof truth);
    pthread_barrier_init(&barrier, NULL, threads);
    profile_start(RATE);
    for (uint32_t i = 0; i < threads; i++) {
        workers[i].random = seed * 1000 + i + 1;
        workers[i].frees = (i + 1) % threads;
        ids[i] = test_thread(work, &workers[i]);
    }
    for (uint32_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    hak_profile_stop();

    for (uint32_t t = 0; t < threads; t++) {
        for (size_t i = 0; i < SITES; i++) {
            truth.allocated[i] += workers[t].sums.allocated[i];
            truth.live[i] += workers[t].sums.live[i];
        }
    }
    read_profile(&estimate);
    AT("seed threads", seed, threads);
    check_values(estimate.allocated, truth.allocated);
    check_values(estimate.live, truth.live);

    for (uint32_t t = 0; t < threads; t++) {
        workers[t].frees = t;
        release(&workers[t], 16);
    }
    read_profile(&estimate);
    CHECK_EQ(sum(estimate.live), 0);
}

TEST(estimates_are_accurate_in_one_thread) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        check_seed(seed, 1);
}

TEST(estimates_are_accurate_in_four_threads_that_free_each_others_blocks) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        check_seed(seed, THREADS);
    CHECK_EQ(hak_validate(), 0);
}
