/* transfer/transfer.c - transfer caches. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transfer.h"

#include <stddef.h>

#include "../base/string.h"
#include "../core/meta.h"
#include "../core/nodes.h"
#include "../core/options.h"
#include "../os/os.h"

/* Tunables, measured with the rows of `make scaling` for 64 and 256 threads on 2 CPUs, where
 * half or twice these budgets changed no result by more than its noise. One thread that frees 32
 * KiB blocks of another takes 126 ns a block with 2 MiB for a class, 210 with 512 KiB. */
enum {
    TRANSFER_CPU_BYTES = 4 << 20,   /* room for blocks in the arrays of one CPU */
    TRANSFER_CPU_MIN = 512 << 10,   /* minimum per CPU, with very many CPUs */
    TRANSFER_ALL_BYTES = 128 << 20, /* total for all CPUs */
    TRANSFER_CLASS_BYTES = 2 << 20, /* room for blocks in the array of one class */
    TRANSFER_CLASS_MAX = 1024,      /* maximum pointers in that array */
    TRANSFER_CLASS_MIN = 4,         /* minimum pointers, however large the blocks */
    TRANSFER_INITIAL = 16,          /* pointers in a new array */
    TRANSFER_STEAL_PAUSE = 15,      /* refills between two attempts to steal from other CPUs */
    TRANSFER_TRIES = 4,             /* caches to try while their locks are held */
    TRANSFER_PLACES = 2048,         /* in the table, for 8 nodes with the maximum of CPUs */
};

struct transfer_class {
    struct hk_lock lock;  /* rank TRANSFER */
    uint32_t count;       /* atomic, stored under the lock */
    uint32_t capacity;    /* atomic, stored under the lock; of the array, 0: none */
    uint32_t low;         /* lock:TRANSFER; fewest blocks since the last scan */
    void **blocks;        /* lock:TRANSFER; the newest block is the last one */
    uint64_t takes;       /* atomic, stored under the lock; statistics */
    uint64_t puts;        /* atomic, stored under the lock */
    uint32_t steal_pause; /* atomic: refills left that do not try other CPUs */
    uint64_t uses_seen;   /* lock:TRANSFER; takes + puts at the last scan */
} HK_CACHE_ALIGNED;

_Static_assert(offsetof(struct transfer_class, lock) == 0, "hk_transfer_repair finds the class");

struct transfer {
    struct transfer_class classes[HK_CLASS_COUNT];
    size_t bytes; /* atomic: of blocks that the arrays have room for */
};

static struct {
    uint32_t cpus;    /* atomic; stored by the start of the process; 0: not started */
    bool used;        /* atomic: something was put */
    size_t cpu_bytes; /* const; budget of one CPU */
    struct transfer *caches[TRANSFER_PLACES]; /* atomic; NULL until the first use */
} transfers;

void hk_transfer_start(uint32_t cpus) {
    cpus = cpus < HK_TRANSFER_CPUS_MAX ? cpus : HK_TRANSFER_CPUS_MAX;
    size_t part = TRANSFER_ALL_BYTES / cpus;
    part = part < TRANSFER_CPU_BYTES ? part : TRANSFER_CPU_BYTES;
    transfers.cpu_bytes = part > TRANSFER_CPU_MIN ? part : TRANSFER_CPU_MIN;
    /* relaxed: threads that use caches have seen the end of the process start, and others only
     * scan */
    hk_store_relaxed(&transfers.cpus, cpus);
}

static uint32_t transfer_cpus(void) {
    return hk_load_relaxed(&transfers.cpus); /* relaxed: as above */
}

/* Each NUMA node has a row of the table, with a place for each CPU. So CPUs of different nodes
 * share no cache, even if there are more CPUs than places in a row. */
static uint32_t transfer_rows(uint32_t cpus) {
    uint32_t nodes = hk_nodes_count(), most = TRANSFER_PLACES / cpus;
    return nodes < most ? nodes : most;
}

uint32_t hk_transfer_places(void) {
    uint32_t cpus = transfer_cpus();
    return cpus > 0 ? cpus * transfer_rows(cpus) : 0;
}

/* The number of the cache of the CPU on which the caller runs. */
static uint32_t transfer_here(void) {
    uint32_t cpu = hk_os_cpu();
    uint32_t cpus = transfer_cpus();
    uint32_t place = hk_likely(cpu < cpus) ? cpu : cpu % cpus;
    if (hk_likely(hk_nodes() == NULL))
        return place;
    return hk_nodes_of(cpu) % transfer_rows(cpus) * cpus + place;
}

/* The next cache of the same node. */
static uint32_t transfer_next(uint32_t number) {
    uint32_t cpus = transfer_cpus();
    return (number + 1) % cpus != 0 ? number + 1 : number + 1 - cpus;
}

static struct transfer *transfer_get(uint32_t number) {
    /* acquire: its zeroed fields. It pairs with the release in transfer_make. */
    return hk_load_acquire(&transfers.caches[number]);
}

static HK_SLOW struct transfer *transfer_make(uint32_t number) {
    struct transfer *fresh = hk_meta_alloc(sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    memset(fresh, 0, sizeof *fresh);

    struct transfer *none = NULL;
    /* acq_rel: publishes the fields. It pairs with the acquire in transfer_get, and with this one
     * if another thread was faster. */
    if (hk_cas_acq_rel(&transfers.caches[number], &none, fresh)) {
        hk_store_relaxed(&transfers.used, true); /* relaxed: a hint */
        return fresh;
    }

    hk_meta_free(fresh, sizeof *fresh);
    return none;
}

/* ---- Arrays ---------------------------------------------------------------------------------- */

static uint32_t transfer_max(size_t class) {
    uint32_t max = TRANSFER_CLASS_BYTES / hk_classes[class].block_bytes;
    max = max < TRANSFER_CLASS_MAX ? max : TRANSFER_CLASS_MAX;
    return max > TRANSFER_CLASS_MIN ? max : TRANSFER_CLASS_MIN;
}

static size_t transfer_array_bytes(uint32_t capacity) {
    return hk_meta_usable(capacity * sizeof(void *));
}

/* Takes bytes of blocks from the budget of a CPU. Returns false if it is used up. */
static bool transfer_reserve(struct transfer *cache, size_t bytes) {
    /* relaxed: a sum */
    if (hk_add_relaxed(&cache->bytes, bytes) <= transfers.cpu_bytes)
        return true;
    hk_sub_relaxed(&cache->bytes, bytes);
    return false;
}

/* The new capacity for a class that needs room for `need` blocks, as far as its limits allow. */
static uint32_t transfer_wanted(uint32_t capacity, size_t class, uint32_t need) {
    uint32_t max = transfer_max(class);
    uint32_t wanted = capacity == 0 ? TRANSFER_INITIAL : 2 * capacity;
    while (wanted < need)
        wanted *= 2;
    return wanted < max ? wanted : max;
}

/* Replaces the array of a class with a larger one, unless another thread has done so. Returns false
 * if nothing changed. No lock is held, because allocating the array may need a system call. */
static HK_SLOW bool transfer_enlarge(struct transfer *cache, size_t class, uint32_t capacity) {
    struct transfer_class *at = &cache->classes[class];
    size_t bytes = capacity * (size_t)hk_classes[class].block_bytes;
    if (!transfer_reserve(cache, bytes))
        return false;

    void **fresh = hk_meta_alloc(transfer_array_bytes(capacity));
    void **blocks = fresh; /* the array that is free afterwards */
    uint32_t unused = capacity;

    if (fresh != NULL && hk_lock_try(&at->lock, HK_RANK_TRANSFER)) {
        if (at->capacity < capacity) {
            blocks = at->blocks;
            unused = at->capacity;
            if (unused > 0)
                memcpy(fresh, blocks, at->count * sizeof *fresh);
            at->blocks = fresh;
            hk_fence_stores(); /* a forked child never sees more capacity than the array has */
            hk_store_relaxed(&at->capacity, capacity); /* relaxed: others only peek at it */
        }
        hk_unlock_tried(&at->lock, HK_RANK_TRANSFER);
    }

    hk_sub_relaxed(&cache->bytes, unused * (size_t)hk_classes[class].block_bytes);
    if (blocks != NULL && unused > 0)
        hk_meta_free(blocks, transfer_array_bytes(unused));
    return blocks != fresh;
}

/* Takes an empty array away from its class. Under the lock. Returns its capacity. */
static uint32_t transfer_detach_array(struct transfer_class *at, void ***blocks) {
    uint32_t capacity = at->capacity;
    *blocks = at->blocks;
    hk_store_relaxed(&at->capacity, 0); /* relaxed: as in transfer_enlarge */
    at->blocks = NULL;
    return capacity;
}

/* ---- Taking and putting ---------------------------------------------------------------------- */

/* Under the lock. */
static void transfer_set_count(struct transfer_class *at, uint32_t count) {
    hk_store_relaxed(&at->count, count); /* relaxed: others only check whether it is 0 */
}

/* Takes blocks out of one cache. Returns 0 if it has none, or if another thread holds its lock. */
static uint32_t transfer_take_from(struct transfer_class *at, void **to, uint32_t count) {
    if (hk_peek(&at->count) == 0 || !hk_lock_try(&at->lock, HK_RANK_TRANSFER))
        return 0;
    uint32_t taken = count < at->count ? count : at->count;
    transfer_set_count(at, at->count - taken);
    at->low = at->low < at->count ? at->low : at->count;
    if (taken > 0) /* otherwise there may be no array */
        memcpy(to, at->blocks + at->count, taken * sizeof *to);
    hk_stat_set(&at->takes, at->takes + 1);
    hk_unlock_tried(&at->lock, HK_RANK_TRANSFER);
    return taken;
}

/* Takes blocks from the cache of another CPU that has many, because its threads free blocks that
 * threads here allocate. Each attempt is a cache miss, so after a failed one we skip some. */
static HK_SLOW uint32_t transfer_steal(uint32_t number, size_t class, void **to, uint32_t count) {
    struct transfer_class *own = &transfer_get(number)->classes[class];
    uint32_t pause = hk_peek(&own->steal_pause);
    if (pause > 0) {
        hk_store_relaxed(&own->steal_pause, pause - 1);
        return 0;
    }

    for (uint32_t tries = 1; tries < TRANSFER_TRIES && tries < transfer_cpus(); tries++) {
        number = transfer_next(number);
        struct transfer *cache = transfer_get(number);
        if (cache == NULL)
            continue;

        struct transfer_class *at = &cache->classes[class];
        bool has_many = hk_load_relaxed(&at->count) > hk_load_relaxed(&at->capacity) / 2;
        uint32_t taken = has_many ? transfer_take_from(at, to, count) : 0;
        if (taken > 0)
            return taken;
    }

    hk_store_relaxed(&own->steal_pause, TRANSFER_STEAL_PAUSE);
    return 0;
}

uint32_t hk_transfer_take(size_t class, void **to, uint32_t count) {
    if (!hk_load_relaxed(&transfers.used)) /* relaxed: blocks may be missed */
        return 0;
    uint32_t number = transfer_here();
    struct transfer *cache = transfer_get(number);
    if (hk_unlikely(cache == NULL) && (cache = transfer_make(number)) == NULL)
        return 0;
    uint32_t taken = transfer_take_from(&cache->classes[class], to, count);
    return hk_likely(taken > 0) ? taken : transfer_steal(number, class, to, count);
}

/* Locks a class in the cache of the caller's CPU, or in the next cache with a free lock. Returns
 * NULL if there is none. */
static struct transfer *transfer_lock(size_t class) {
    if (hk_unlikely(transfer_cpus() == 0) || hk_option(HK_OPTION_checks) == HK_CHECKS_FAST)
        return NULL;

    uint32_t number = transfer_here();
    for (uint32_t tries = 0; tries < TRANSFER_TRIES && tries < transfer_cpus(); tries++) {
        struct transfer *cache = transfer_get(number);
        if (hk_unlikely(cache == NULL) && (cache = transfer_make(number)) == NULL)
            return NULL;
        if (hk_likely(hk_lock_try(&cache->classes[class].lock, HK_RANK_TRANSFER)))
            return cache;
        number = transfer_next(number);
    }
    return NULL;
}

/* Adds the blocks that fit, and returns their number. Under the lock. */
static uint32_t transfer_push(struct transfer_class *at, void *const *blocks, uint32_t count) {
    uint32_t room = at->capacity - at->count;
    count = count < room ? count : room;
    if (count == 0)
        return 0;
    memcpy(at->blocks + at->count, blocks, count * sizeof *blocks);
    transfer_set_count(at, at->count + count);
    hk_stat_set(&at->puts, at->puts + 1);
    return count;
}

/* Puts the blocks that did not fit into a larger array, if the limits allow one. `capacity` is that
 * of the array that was too small. */
static HK_SLOW uint32_t transfer_put_rest(struct transfer *cache, size_t class, uint32_t capacity,
                                          void *const *blocks, uint32_t count) {
    uint32_t wanted = transfer_wanted(capacity, class, capacity + count);
    if (wanted <= capacity || !transfer_enlarge(cache, class, wanted))
        return 0;
    struct transfer_class *at = &cache->classes[class];
    if (!hk_lock_try(&at->lock, HK_RANK_TRANSFER))
        return 0;
    uint32_t put = transfer_push(at, blocks, count);
    hk_unlock_tried(&at->lock, HK_RANK_TRANSFER);
    return put;
}

/* Under the lock. */
static bool transfer_is_newest(const struct transfer_class *at, const void *block) {
    return (at->count > 0 && at->blocks[at->count - 1] == block) ||
           (at->count > 1 && at->blocks[at->count - 2] == block);
}

struct hk_transfer_put hk_transfer_put(size_t class, void *const *blocks, uint32_t count,
                                       const void *freed) {
    struct hk_transfer_put put = {0, false};
    struct transfer *cache = transfer_lock(class);
    if (cache == NULL)
        return put;

    struct transfer_class *at = &cache->classes[class];
    uint32_t capacity = at->capacity;
    put.freed_is_there = freed != NULL && transfer_is_newest(at, freed);
    if (hk_likely(!put.freed_is_there))
        put.count = transfer_push(at, blocks, count);
    hk_unlock_tried(&at->lock, HK_RANK_TRANSFER);

    if (hk_unlikely(put.count < count) && !put.freed_is_there)
        put.count +=
            transfer_put_rest(cache, class, capacity, blocks + put.count, count - put.count);
    return put;
}

/* ---- Scans and statistics -------------------------------------------------------------------- */

/* The number of blocks of a class that may be taken. Under the lock. */
static uint32_t transfer_oldest(const struct transfer_class *at, enum hk_transfer_which which) {
    switch (which) {
    case HK_TRANSFER_IDLE:
        return at->low;
    case HK_TRANSFER_HALF:
        return (at->count + 1) / 2;
    default:
        return at->count;
    }
}

uint32_t hk_transfer_take_oldest(uint32_t place, size_t class, enum hk_transfer_which which,
                                 void **to, uint32_t count) {
    struct transfer *cache = transfer_get(place);
    struct transfer_class *at = cache != NULL ? &cache->classes[class] : NULL;

    /* An idle class is not written to, because a forked child may share its memory. relaxed: a scan
     * that misses an array now finds it the next time */
    if (at == NULL || hk_load_relaxed(&at->capacity) == 0)
        return 0;

    hk_lock_try_long(&at->lock, HK_RANK_TRANSFER);
    uint32_t oldest = transfer_oldest(at, which);
    uint32_t taken = oldest < count ? oldest : count;
    uint32_t left = at->count - taken;
    transfer_set_count(at, left);
    if (taken > 0) {
        memcpy(to, at->blocks, taken * sizeof *to);
        memmove(at->blocks, at->blocks + taken, left * sizeof *to);
    }

    if (which == HK_TRANSFER_HALF)
        at->low = at->low > taken ? at->low - taken : 0; /* the idle ones are the oldest */
    else
        at->low = taken == count ? oldest - taken : left;

    bool used = at->takes + at->puts != at->uses_seen;
    at->uses_seen = at->takes + at->puts;
    void **unused = NULL;
    uint32_t capacity =
        left == 0 && (which != HK_TRANSFER_IDLE || !used) ? transfer_detach_array(at, &unused) : 0;
    hk_unlock_tried(&at->lock, HK_RANK_TRANSFER);

    if (unused != NULL) {
        hk_meta_free(unused, transfer_array_bytes(capacity));
        hk_sub_relaxed(&cache->bytes, capacity * (size_t)hk_classes[class].block_bytes);
    }
    return taken;
}

void hk_transfer_count(size_t class, struct hk_transfer_counts *sum) {
    *sum = (struct hk_transfer_counts){0};
    uint32_t places = hk_transfer_places();
    for (uint32_t i = 0; i < places; i++) {
        const struct transfer *cache = transfer_get(i);
        if (cache == NULL)
            continue;
        sum->blocks += hk_stat_get(&cache->classes[class].count);
        sum->takes += hk_stat_get(&cache->classes[class].takes);
        sum->puts += hk_stat_get(&cache->classes[class].puts);
    }
}

size_t hk_transfer_bytes(void) {
    size_t bytes = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        struct hk_transfer_counts counts;
        hk_transfer_count(class, &counts);
        bytes += counts.blocks * hk_classes[class].block_bytes;
    }
    return bytes;
}

/* The array may be half moved, so its blocks are lost in the child. */
void hk_transfer_repair(struct hk_lock *lock) {
    struct transfer_class *at = (struct transfer_class *)(void *)lock; /* its first member */
    transfer_set_count(at, 0);
    at->low = 0;
}

void hk_transfer_each(size_t class, void (*visit)(void *arg, void *const *blocks, uint32_t count),
                      void *arg) {
    uint32_t places = hk_transfer_places();
    for (uint32_t i = 0; i < places; i++) {
        struct transfer *cache = transfer_get(i);
        if (cache == NULL)
            continue;
        struct transfer_class *at = &cache->classes[class];
        hk_lock_try_long(&at->lock, HK_RANK_TRANSFER);
        visit(arg, at->blocks, at->count);
        hk_unlock_tried(&at->lock, HK_RANK_TRANSFER);
    }
}
