/* heap/thread.c - thread caches. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "thread.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "../core/dirty.h"
#include "../core/error.h"
#include "../core/meta.h"
#include "../core/options.h"
#include "../os/check.h"
#include "../os/os.h"
#include "../transfer/transfer.h"
#include "fork.h"
#include "prewarm.h"
#include "purge.h"
#include "scavenger.h"

enum {
    THREAD_SCAN_MS = 100, /* time between two scans for idle bins */
    THREAD_ONLY_FREES =
        64, /* flushes without a refill between, which make a thread that only frees */
    THREAD_ONLY_FREES_BYTES = 16 * 1024, /* up to which its bins grow, for larger batches */
    THREAD_BATCH_BYTES =
        256 * 1024,            /* what such a thread may hold, its blocks counted as at least */
    THREAD_BATCH_BLOCK = 1024, /* so many bytes */
    THREAD_CLOCK_CALLS = 16,   /* slow calls between two looks at share and clock */
    THREAD_FIRST_FREES = 32,   /* frees of a thread before it gets a cache for them */
    THREAD_TOTAL_PER_CPU = 8 << 20,  /* bytes that all threads may cache, for each CPU */
    THREAD_PART_MIN = 512 << 10,     /* the least that each may, if it has earned it */
    THREAD_PARKED_PER_CPU = 1 << 20, /* bytes that the caches of ended threads may hold */
    THREAD_PARKED_MAX = 16 << 20,    /* the same, however many CPUs there are */
    THREAD_PARKED_ALONE = 512 << 10, /* the same, where the process is left with one thread */
    THREAD_TRANSFER_ALONE = 4 << 20, /* the same for blocks in transfer caches */
    THREAD_START_MAX = 256 * 1024,   /* bytes that a thread may cache at first */
    THREAD_START_MIN = 4 * 1024,     /* the same with very many threads */
    THREAD_START_PART = 8,           /* the start is this part of the thread's part of the total */
    THREAD_REGRET_FACTOR = 8,        /* bytes of budget for each byte of regret */
    THREAD_REGRET_MAX = 1 << 26,     /* bytes of regret that count */
    THREAD_MOVED_PART = 64,          /* bytes moved for each byte of budget */
    THREAD_DRAIN_BATCH = 64,         /* blocks taken from a transfer cache at once; on the stack */
    THREAD_SWEEP_MIN = 8,            /* records below which no thread looks for lost ones */
    THREAD_SWEEP_BATCH = 32,         /* records whose owners are looked at together */
    THREAD_ROOM_CALLS = 16,          /* slow calls between two bins that ask others for room */
    /* Rounds of destructors in which the cache lives. ThreadSanitizer's state ends in the last one.
     */
    THREAD_END_ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - HK_THREAD_SANITIZER,
    THREAD_SEARCHED_DEPTH = 30,  /* blocks in a bin that each free searches */
    THREAD_DEEP_BYTES = 4 << 20, /* a thread that may hold so much has bins of full depth; half of
                                    it, half the depth, and so on */
    THREAD_DEPTH_MIN = 4,        /* but at least so many blocks */
    THREAD_ROOM_RATIO = 2,       /* a bin gives room to one that wants half of what it has */
};

/* A cache whose bins are all empty and full. The kind is more than a name: a linker or compiler
 * that merges equal constants would give both sentinels one address. */
#define THREAD_SENTINEL(kind)                                                                      \
    { {[0 ... HK_CLASS_COUNT - 1] = {HK_BIN_WITHOUT_ARRAY, HK_BIN_WITHOUT_ARRAY}}, kind }
static const struct hk_cache thread_uninitialized = THREAD_SENTINEL(HK_CACHE_UNINITIALIZED);
static const struct hk_cache thread_disabled = THREAD_SENTINEL(HK_CACHE_DISABLED);

/* The constant caches are never written: their bins are empty and full. */
#define THREAD_CONSTANT(cache) ((struct hk_cache *)(void *)(uintptr_t)(const void *)(&(cache)))

HK_THREAD_LOCAL struct hk_cache *hk_cache = THREAD_CONSTANT(thread_uninitialized);

/* Frees of a thread without a cache. libc frees the remains of earlier threads in one that is past its
 * destructors. A cache that it got then would be lost. */
static HK_THREAD_LOCAL uint32_t thread_first_frees;

static struct {
    uint32_t started; /* atomic: enum threads_start; DONE once the fields marked const are set */
    uint32_t starter; /* atomic; number of the thread that starts the process */
    bool options_pending; /* const until the constructor; the environment was not there yet */
    uint32_t cpus;        /* const */
    uint32_t heaps_max;   /* const */
    pthread_key_t key;    /* const */
    bool has_key;         /* const */

    struct hk_lock lock;                 /* rank THREADS */
    struct hk_thread *first;             /* lock:THREADS; all records */
    struct hk_thread *parked;            /* atomic, stored under THREADS; of threads that ended */
    size_t parked_bytes;                 /* atomic, stored under THREADS; that they may hold */
    uint32_t heap_count;                 /* atomic, stored under THREADS */
    struct hk_heap *heaps[HK_HEAPS_MAX]; /* const once counted */
    uint32_t count;                      /* atomic, stored under THREADS; records */
    uint32_t sweep_at;                   /* atomic; records at which lost ones are looked for */
    uint32_t trims;                      /* atomic: how often trim was asked for */
    uint32_t vanished; /* atomic; 1: there may be records of threads that do not exist any more */
    uint16_t usual[HK_CLASS_COUNT]; /* atomic; see hk_thread_usual */
} threads = {.heaps_max = 1, .sweep_at = THREAD_SWEEP_MIN};

enum threads_start { THREADS_START_NOT, THREADS_START_RUNNING, THREADS_START_DONE };

/* ---- Start of the process ----------------------------------------------------------------------- */

static void thread_end(void *record);

static void threads_read_options(void) {
    hk_options_read();
    threads.cpus = hk_os_cpus();
    uint32_t heaps = (uint32_t)hk_option(HK_OPTION_heaps);
    heaps = heaps != 0 ? heaps : threads.cpus;
    threads.heaps_max = heaps < HK_HEAPS_MAX ? heaps : HK_HEAPS_MAX;
    hk_transfer_start(threads.cpus);
}

/* Starts the process, in the first thread that comes here. No lock is held, because a wrapper of
 * pthread_key_create may allocate: until the start is done, it and other threads get their blocks
 * from a heap without a cache. False if the start is not done. */
static HK_SLOW bool threads_start(void) {
    uint32_t not_started = THREADS_START_NOT;
    /* acquire: the const fields; pairs with the release below */
    if (hk_load_acquire(&threads.started) == THREADS_START_DONE)
        return true;
    /* acquire: as above; decides which thread does it */
    if (!hk_cas_acquire(&threads.started, &not_started, THREADS_START_RUNNING))
        return not_started == THREADS_START_DONE;

    hk_store_relaxed(&threads.starter, hk_lock_self()); /* relaxed: for a forked child */
    hk_os_generation();
    hk_fork_set_repairs();
    threads.options_pending = hk_os_environment_is_early();
    threads_read_options();
    hk_os_mappings_max(); /* reads a file, which a sandbox that the program enters later may forbid */
    threads.has_key = pthread_key_create(&threads.key, thread_end) == 0;
    /* release: publishes the const fields; pairs with the acquire above */
    hk_store_release(&threads.started, THREADS_START_DONE);
    return true;
}

void hk_thread_start_late(void) {
    threads_start();
    if (threads.options_pending) {
        hk_options_read_late();
        threads.options_pending = false;
    }
    hk_os_find_thread_create();
    /* A library with hakmem inside must stay: threads that used it run our code when they exit, and
     * blocks outlive it. */
    hk_os_stay_loaded((const void *)(uintptr_t)thread_end);
}

/* ---- Heaps ---------------------------------------------------------------------------------------- */

/* A new heap if it looks as if all were in use and there may be more; else NULL. */
static struct hk_heap *threads_spare_heap(void) {
    /* relaxed: a guess; threads_choose_heap decides under the lock */
    uint32_t heaps = hk_load_relaxed(&threads.heap_count);
    bool wanted = heaps < threads.heaps_max && heaps <= hk_load_relaxed(&threads.count);
    return wanted ? hk_heap_create() : NULL;
}

/* The heap with the fewest threads, or *spare, which is then set to NULL, if all are in use. Under
 * the THREADS lock. */
static struct hk_heap *threads_choose_heap(struct hk_heap **spare) {
    uint32_t count = hk_load_relaxed(&threads.heap_count); /* relaxed: stored under this lock */
    struct hk_heap *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (best == NULL || threads.heaps[i]->threads < best->threads)
            best = threads.heaps[i];
    }
    if (*spare == NULL || (best != NULL && best->threads == 0) || count == threads.heaps_max)
        return best;
    best = *spare;
    *spare = NULL;
    threads.heaps[count] = best;
    /* release: publishes the heap; pairs with the acquire in hk_thread_each_heap */
    hk_store_release(&threads.heap_count, count + 1);
    return best;
}

static void threads_drop_spare(struct hk_heap *spare) {
    if (spare != NULL)
        hk_meta_free(spare, sizeof *spare);
}

struct hk_heap *hk_thread_any_heap(void) {
    /* acquire: as in hk_thread_each_heap */
    if (hk_load_acquire(&threads.heap_count) > 0)
        return threads.heaps[0];
    struct hk_heap *spare = threads_spare_heap();
    hk_lock(&threads.lock, HK_RANK_THREADS);
    struct hk_heap *heap = threads_choose_heap(&spare);
    hk_unlock(&threads.lock, HK_RANK_THREADS);
    threads_drop_spare(spare);
    return heap;
}

struct hk_heap *hk_thread_heap(uint32_t number) {
    /* acquire: as in hk_thread_each_heap */
    return number < hk_load_acquire(&threads.heap_count) ? threads.heaps[number] : NULL;
}

void hk_thread_each_heap(void (*visit)(void *arg, struct hk_heap *heap), void *arg) {
    /* acquire: pairs with the release in threads_choose_heap */
    uint32_t count = hk_load_acquire(&threads.heap_count);
    for (uint32_t i = 0; i < count; i++)
        visit(arg, threads.heaps[i]);
}

/* ---- Arrays --------------------------------------------------------------------------------------- */

/* Bytes of an array with its NULL slots, as the allocator of metadata rounds them up. */
static size_t array_bytes(uint32_t capacity) {
    return hk_meta_usable(((size_t)capacity + HK_BIN_BELOW) * sizeof(void *));
}

static size_t size_min(size_t a, size_t b) { return a < b ? a : b; }

/* The most that one thread may cache; pre-warming, which is asked for, need not earn it. */
static size_t thread_limit(void) { return hk_option(HK_OPTION_thread_cache_kb) << 10; }

/* What a thread may cache at first: its part of what all may, within bounds. */
static size_t thread_start(size_t part) {
    size_t start = size_min(part / THREAD_START_PART, THREAD_START_MAX);
    return start > THREAD_START_MIN ? start : THREAD_START_MIN;
}

/* Recomputes the budget of a thread's cache: a start, which is smaller the more threads there are, and
 * a bonus, within the thread's part of the total and the limit for one thread.
 *
 * Most of the bonus is for regret, the bytes of refills from classes that the thread had flushed. A
 * larger cache would have kept those blocks. A thread that only allocates or only frees has no regret.
 * It needs no cache, but large batches if it moves much, so a part of all bytes moved counts, too.
 *
 * Where the option does not set the total, each thread may reach THREAD_PART_MIN, however many there
 * are. */
static void thread_set_budget(struct hk_thread *thread) {
    uint32_t count = hk_thread_count();
    hk_assert(count > 0); /* this one */
    size_t total = hk_option(HK_OPTION_cache_total_mb) << 20;
    size_t part = (total != 0 ? total : threads.cpus * (size_t)THREAD_TOTAL_PER_CPU) / count;
    size_t start = thread_start(part);
    size_t least = total != 0 ? start : THREAD_PART_MIN;
    size_t most = part > least ? part : least;
    size_t bonus = size_min(thread->regret_bytes, THREAD_REGRET_MAX) * THREAD_REGRET_FACTOR +
                   thread->moved_bytes / THREAD_MOVED_PART;
    thread->budget = size_min(size_min(start + bonus, most), thread_limit());
    thread->depth_shift = 0;
    while (most << thread->depth_shift < THREAD_DEEP_BYTES)
        thread->depth_shift++;
}

/* While a bin's blocks move, `moving` names its class. A forked child that finds it set drops the
 * bin of a vanished thread, because its blocks may be in it twice. */
static void thread_begin_move(struct hk_thread *thread, size_t class) {
    hk_store_relaxed(&thread->moving, (uint8_t) class); /* relaxed: the fence orders it */
    hk_fence_stores();
}

static void thread_end_move(struct hk_thread *thread) {
    hk_fence_stores();
    hk_store_relaxed(&thread->moving, HK_CLASS_NONE); /* relaxed: the fence orders it */
}

/* Exchanges a bin's array for one of another capacity (0: none) that holds its blocks. False
 * without memory: nothing changed. */
static bool thread_set_capacity(struct hk_thread *thread, size_t class, uint32_t capacity) {
    void **old_floor = thread->floor[class];
    uint32_t old_capacity = thread->capacity[class];
    size_t blocks = (size_t)(thread->cache.bins[class].top - old_floor);
    void **floor = HK_BIN_WITHOUT_ARRAY;
    hk_assert(blocks <= capacity);
    bool same_array =
        old_capacity > 0 && capacity > 0 && array_bytes(capacity) == array_bytes(old_capacity);
    if (same_array) {
        floor = old_floor;
    } else if (capacity > 0) {
        void **array = hk_meta_alloc(array_bytes(capacity));
        if (array == NULL)
            return false;
        for (int i = 0; i < HK_BIN_BELOW; i++)
            array[i] = NULL;
        floor = array + HK_BIN_BELOW;
        memcpy(floor, old_floor, blocks * sizeof *floor);
    }
    hk_lock(&thread->lock, HK_RANK_THREAD);
    thread_begin_move(thread, class);
    thread->floor[class] = floor;
    thread->capacity[class] = (uint16_t)capacity;
    hk_bin_set_top(&thread->cache.bins[class], floor + blocks);
    thread->cache.bins[class].ceil = floor + capacity;
    thread_end_move(thread);
    hk_unlock(&thread->lock, HK_RANK_THREAD);
    thread->capacity_bytes += ((size_t)capacity - old_capacity) * hk_classes[class].block_bytes;
    if (old_capacity > 0 && !same_array)
        hk_meta_free(old_floor - HK_BIN_BELOW, array_bytes(old_capacity));
    return true;
}

/* Takes the `count` oldest blocks of a bin out of it: they end up above its top, in no order. No
 * lock: a locked instruction would wait for all stores that the program has under way, at every
 * flush. */
static void **thread_take_oldest(struct hk_thread *thread, size_t class, uint32_t count) {
    void **floor = thread->floor[class];
    size_t left = (size_t)(thread->cache.bins[class].top - floor) - count;
    thread_begin_move(thread, class);
    for (size_t i = 0; i < left; i++) { /* swaps with the block that is `count` younger */
        void *oldest = floor[i];
        floor[i] = floor[i + count];
        floor[i + count] = oldest;
    }
    hk_bin_set_top(&thread->cache.bins[class], floor + left);
    thread_end_move(thread);
    return floor + left;
}

/* Whether blocks that this thread does not need may serve another one soon: there are others, or some
 * ended a short time ago. A program that never has a second thread does not use transfer caches. */
static bool threads_are_many(void) {
    return hk_thread_count() > 1 || hk_load_relaxed(&threads.parked) != NULL; /* relaxed: a hint */
}

/* Gives blocks away: to the transfer cache of this CPU, and those that do not fit to their owner
 * heaps. False if the block that the program frees meanwhile (or NULL) is one of the newest there. */
static bool thread_give(const char *function, size_t class, void **blocks, uint32_t count,
                        const void *freed) {
    struct hk_mistakes mistakes;
    mistakes.count = 0;
    struct hk_transfer_put put = {0, false};
    if (threads_are_many()) {
        count = hk_heap_check_batch(class, blocks, count, &mistakes);
        put = hk_transfer_put(class, blocks, count, freed);
        hk_dirty_signal();
    }
    if (put.count < count)
        hk_heap_give(class, blocks + put.count, count - put.count, &mistakes);
    if (hk_unlikely(mistakes.count > 0))
        hk_mistakes_report(function, &mistakes);
    if (hk_unlikely(put.freed_is_there))
        hk_bad_pointer(function, freed, HK_CAUSE_FREE);
    return !put.freed_is_there;
}

/* Takes the `count` oldest blocks out of a bin and gives them away. */
static bool thread_flush_oldest(struct hk_thread *thread, const char *function, size_t class,
                                uint32_t count, const void *freed) {
    void **blocks = thread_take_oldest(thread, class, count);
    hk_bit_set(thread->flushed, (uint32_t) class);
    thread->moved_bytes += count * (size_t)hk_classes[class].block_bytes;
    return thread_give(function, class, blocks, count, freed);
}

/* Returns all blocks of a bin to their owner heaps. */
static void thread_return_all(struct hk_thread *thread, size_t class) {
    struct hk_mistakes mistakes;
    mistakes.count = 0;
    uint32_t count = (uint32_t)(thread->cache.bins[class].top - thread->floor[class]);
    void **blocks = thread_take_oldest(thread, class, count);
    hk_heap_give(class, blocks, count, &mistakes);
    hk_mistakes_report("free", &mistakes);
}

static uint32_t thread_blocks(const struct hk_thread *thread, size_t class) {
    return (uint32_t)(thread->cache.bins[class].top - thread->floor[class]);
}

/* Halves a bin; false without memory for the smaller array. */
static bool thread_halve(struct hk_thread *thread, size_t class) {
    uint32_t half = thread->capacity[class] / 2u;
    uint32_t blocks = thread_blocks(thread, class);
    if (blocks > half)
        thread_flush_oldest(thread, "free", class, blocks - half, NULL);
    return thread_set_capacity(thread, class, half);
}

/* Halves the bins that were not used since the last scan: no slow call, and the same top. */
static void thread_scan(struct hk_thread *thread) {
    hk_keep_scan(&thread->keep);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        if (thread->capacity[class] > 0 && thread->cache.bins[class].top == thread->seen[class])
            thread_halve(thread, class);
        thread->seen[class] = thread->cache.bins[class].top;
    }
}

/* Halves the bins of a thread that only frees, until they hold no more than batches to send home. A
 * small block counts as more than its size: it may be all that keeps a page. */
static void thread_halve_all(struct hk_thread *thread) {
    size_t bytes = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        size_t block_bytes = hk_classes[class].block_bytes;
        block_bytes = block_bytes > THREAD_BATCH_BLOCK ? block_bytes : THREAD_BATCH_BLOCK;
        bytes += thread->capacity[class] * block_bytes;
    }
    for (size_t class = 1; class < HK_CLASS_COUNT && bytes > THREAD_BATCH_BYTES; ++class) {
        if (thread->capacity[class] > 0)
            thread_halve(thread, class);
    }
}

/* The class whose bin may hold most bytes. */
static size_t thread_largest(const struct hk_thread *thread) {
    size_t largest = 1;
    size_t most = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        size_t bytes = thread->capacity[class] * (size_t)hk_classes[class].block_bytes;
        if (bytes > most) {
            most = bytes;
            largest = class;
        }
    }
    return largest;
}

/* What a thread may hold at most by now. */
static size_t thread_held(const struct hk_thread *thread) {
    return thread->capacity_bytes + thread->keep.bytes;
}

/* Frees a large block that is kept; false if there is none. */
static bool thread_drop_kept(struct hk_thread *thread) { return hk_keep_drop(&thread->keep); }

static void thread_drop_all_kept(struct hk_thread *thread) {
    while (thread_drop_kept(thread)) {
    }
}

/* Drops large blocks and halves the largest bins, while they are much larger than `bytes`, until so
 * much is left. */
static void thread_make_room(struct hk_thread *thread, size_t bytes) {
    while (thread_held(thread) + bytes > thread->budget) {
        if (thread_drop_kept(thread))
            continue;
        size_t class = thread_largest(thread);
        if (thread->capacity[class] * (size_t)hk_classes[class].block_bytes <
                bytes * THREAD_ROOM_RATIO ||
            !thread_halve(thread, class))
            return;
    }
}

/* Raises a bin's capacity, as far as the thread then holds at most `budget` bytes. */
static void thread_raise_capacity(struct hk_thread *thread, size_t class, uint32_t capacity,
                                  size_t budget) {
    size_t old = thread->capacity[class];
    size_t block_bytes = hk_classes[class].block_bytes;
    size_t held = thread_held(thread);
    if (held + block_bytes > budget)
        return;
    size_t most = old + (budget - held) / block_bytes;
    thread_set_capacity(thread, class, (uint32_t)size_min(capacity, most));
}

/* The most blocks in a bin. With HK_CHECKS_FAST each free searches its bin. */
static uint32_t thread_depth(const struct hk_thread *thread, size_t class) {
    uint32_t depth = hk_classes[class].depth >> thread->depth_shift;
    depth = depth > THREAD_DEPTH_MIN ? depth : THREAD_DEPTH_MIN;
    bool searched = hk_option(HK_OPTION_checks) == HK_CHECKS_FAST;
    return searched && depth > THREAD_SEARCHED_DEPTH ? THREAD_SEARCHED_DEPTH : depth;
}

/* Doubles a bin's capacity, to the depth of its class. If that takes more than the budget, bins
 * that hold much more give way now and then. */
static void thread_grow(struct hk_thread *thread, size_t class) {
    const struct hk_class *row = &hk_classes[class];
    uint32_t depth = thread_depth(thread, class);
    uint32_t old = thread->capacity[class];
    uint32_t capacity =
        old == 0 ? row->initial : 2 * old + HK_BIN_BELOW; /* arrays are powers of two */
    capacity = capacity < depth ? capacity : depth;
    if (capacity <= old)
        return;
    if (thread->slow_calls % THREAD_ROOM_CALLS == 0)
        thread_make_room(thread, (capacity - old) * (size_t)row->block_bytes);
    thread_raise_capacity(thread, class, capacity, thread->budget);
}

/* ---- End of a thread ------------------------------------------------------------------------------- */

static void thread_note_usual(const struct hk_thread *thread) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        /* relaxed: an average that may miss a thread */
        uint32_t usual = hk_load_relaxed(&threads.usual[class]);
        uint32_t blocks = thread->capacity[class] / 2u;
        hk_store_relaxed(&threads.usual[class], (uint16_t)((usual + blocks + 1) / 2));
    }
}

uint32_t hk_thread_count(void) {
    /* relaxed: a size, orders nothing. In a forked child, the records of other threads do not
     * count. */
    return hk_load_relaxed(&threads.vanished) ? 1 : hk_load_relaxed(&threads.count);
}

uint32_t hk_thread_usual(size_t class) {
    return hk_load_relaxed(&threads.usual[class]); /* relaxed: an average */
}

/* Empties a cache: into the transfer cache, if its blocks are for others, or else into their slabs. */
static void thread_empty(struct hk_thread *thread, bool for_others) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        uint32_t blocks = thread_blocks(thread, class);
        if (blocks > 0 && for_others)
            thread_flush_oldest(thread, "free", class, blocks, NULL);
        else if (blocks > 0)
            thread_return_all(thread, class);
        if (thread->capacity[class] > 0)
            thread_set_capacity(thread, class, 0);
    }
    thread_drop_all_kept(thread);
}

void hk_thread_empty(struct hk_thread *thread) { thread_empty(thread, false); }

/* Ends a record that is in no list any more. */
static void thread_destroy(struct hk_thread *thread) {
    thread_empty(thread, false);
    hk_meta_free(thread, sizeof *thread);
}

static void thread_unlink_locked(struct hk_thread *thread);

/* ---- Parked caches --------------------------------------------------------------------------------- */

/* A thread that ends leaves its cache, with the blocks in it, to the next thread that starts. So
 * threads that do short tasks do not start cold. A parked cache stays in the list of records, but
 * counts as no thread. */

/* Under the lock. */
static void threads_park_locked(struct hk_thread *thread) {
    thread->is_parked = true;
    thread->parked_next = threads.parked;
    hk_store_relaxed(&threads.parked, thread); /* relaxed: others only look whether there is one */
    hk_add_relaxed(&threads.parked_bytes, thread->capacity_bytes); /* relaxed: under the lock */
    thread->heap->threads--;
    hk_sub_relaxed(&threads.count, 1); /* relaxed: stored under the lock */
}

/* Under the lock. */
static void threads_unpark_locked(struct hk_thread *thread) {
    struct hk_thread *before = threads.parked;
    while (before != thread && before->parked_next != thread)
        before = before->parked_next;
    if (before == thread)
        hk_store_relaxed(&threads.parked, thread->parked_next); /* relaxed: as above */
    else
        before->parked_next = thread->parked_next;
    thread->is_parked = false;
    hk_sub_relaxed(&threads.parked_bytes, thread->capacity_bytes); /* relaxed: as above */
    thread->heap->threads++;
    hk_add_relaxed(&threads.count, 1); /* relaxed: as above */
}

/* False if there is no room for the cache, which its thread then empties. */
static bool threads_park(struct hk_thread *thread) {
    thread_drop_all_kept(thread);
    thread->parked_ms = hk_os_now_ms();
    hk_lock(&threads.lock, HK_RANK_THREADS);
    size_t most = size_min(threads.cpus * (size_t)THREAD_PARKED_PER_CPU, THREAD_PARKED_MAX);
    bool parks = threads.parked_bytes + thread->capacity_bytes <= most;
    if (parks) {
        hk_store_relaxed(&thread->id, 0); /* relaxed: as in thread_identify; it is nobody's */
        threads_park_locked(thread);
    }
    hk_unlock(&threads.lock, HK_RANK_THREADS);
    if (parks)
        hk_dirty_signal();
    return parks;
}

/* Takes a cache that was parked at or before a time out of the list; NULL if there is none. */
static struct hk_thread *threads_take_parked(uint64_t before_ms) {
    hk_lock(&threads.lock, HK_RANK_THREADS);
    struct hk_thread *thread = threads.parked;
    while (thread != NULL && thread->parked_ms > before_ms)
        thread = thread->parked_next;
    if (thread != NULL)
        thread_unlink_locked(thread);
    hk_unlock(&threads.lock, HK_RANK_THREADS);
    return thread;
}

bool hk_thread_release_parked(uint64_t before_ms) {
    struct hk_thread *thread;
    if (hk_load_relaxed(&threads.parked) == NULL) /* relaxed: a look */
        return false;
    while ((thread = threads_take_parked(before_ms)) != NULL)
        thread_destroy(thread);
    return hk_load_relaxed(&threads.parked) != NULL; /* relaxed: as above */
}

/* ---- Unlinking ------------------------------------------------------------------------------------- */

/* Under the lock. */
static void thread_unlink_locked(struct hk_thread *thread) {
    if (thread->is_parked)
        threads_unpark_locked(thread);
    if (thread->prev != NULL)
        thread->prev->next = thread->next;
    else
        threads.first = thread->next;
    if (thread->next != NULL)
        thread->next->prev = thread->prev;
    thread->heap->threads--;
    hk_sub_relaxed(&threads.count, 1); /* relaxed: stored under the lock */
}

static void thread_unlink(struct hk_thread *thread) {
    hk_lock(&threads.lock, HK_RANK_THREADS);
    thread_unlink_locked(thread);
    hk_unlock(&threads.lock, HK_RANK_THREADS);
}

/* Ends a record. Its blocks may serve other threads soon. */
static void thread_release(struct hk_thread *thread) {
    thread_empty(thread, true);
    thread_unlink(thread);
    hk_meta_free(thread, sizeof *thread);
}

void hk_thread_disable_cache(void) { hk_cache = THREAD_CONSTANT(thread_disabled); }

/* Returns the blocks of all transfer caches to their slabs. */
static void threads_drain_transfer(void) {
    void *blocks[THREAD_DRAIN_BATCH];
    struct hk_mistakes mistakes;
    mistakes.count = 0;
    for (uint32_t cpu = 0; cpu < hk_transfer_cpus(); cpu++) {
        for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
            uint32_t count;
            do {
                count = hk_transfer_take_idle(cpu, class, true, blocks, THREAD_DRAIN_BATCH);
                if (count > 0)
                    hk_heap_give(class, blocks, count, &mistakes);
            } while (count == THREAD_DRAIN_BATCH);
        }
    }
    hk_mistakes_report("free", &mistakes);
}

/* The process is left with one thread, and maybe without a scavenger. More threads may start, or none
 * for a long time, so little is left for them. */
static void threads_leave_one(void) {
    if (hk_transfer_bytes() > THREAD_TRANSFER_ALONE)
        threads_drain_transfer();
    while (hk_load_relaxed(&threads.parked_bytes) > THREAD_PARKED_ALONE) { /* relaxed: a look */
        struct hk_thread *thread = threads_take_parked(UINT64_MAX);
        if (thread == NULL)
            break;
        thread_destroy(thread);
    }
}

static void thread_finish(struct hk_thread *thread) {
    thread_note_usual(thread);
    hk_thread_disable_cache();
    if (!threads_park(thread))
        thread_release(thread);
    if (hk_thread_count() <= 1)
        threads_leave_one();
    hk_scavenger_thread_ended();
    hk_purge_balance();
}

/* The destructor of the key. Destructors of the program may allocate and free, so ours asks to be
 * called again until the last round. Those that run after it even then use a heap directly. */
static void thread_end(void *record) {
    struct hk_thread *thread = record;
    if (++thread->end_rounds < THREAD_END_ROUNDS && pthread_setspecific(threads.key, thread) == 0)
        return;
    thread_finish(thread);
}

/* ---- Threads that vanished ------------------------------------------------------------------------- */

static void thread_reset_bin(struct hk_thread *thread, size_t class) {
    thread->cache.bins[class].top = HK_BIN_WITHOUT_ARRAY;
    thread->cache.bins[class].ceil = HK_BIN_WITHOUT_ARRAY;
    thread->floor[class] = HK_BIN_WITHOUT_ARRAY;
    thread->seen[class] = HK_BIN_WITHOUT_ARRAY;
    thread->capacity[class] = 0;
}

/* The first record of a vanished thread, taken out of the list; NULL if there is none. */
static struct hk_thread *threads_take_vanished(void) {
    hk_lock(&threads.lock, HK_RANK_THREADS);
    struct hk_thread *thread = threads.first;
    while (thread != NULL && !hk_lock_thread_vanished(thread->number))
        thread = thread->next;
    if (thread != NULL)
        thread_unlink_locked(thread);
    hk_unlock(&threads.lock, HK_RANK_THREADS);
    return thread;
}

/* Returns the blocks of a vanished thread's cache to their heaps. A bin that was being changed when
 * the thread vanished is lost. */
static void thread_recover(struct hk_thread *thread) {
    hk_lock(&thread->lock, HK_RANK_THREAD); /* an orphaned one is repaired here */
    hk_unlock(&thread->lock, HK_RANK_THREAD);
    size_t moving = hk_load_relaxed(&thread->moving); /* relaxed: its thread is gone */
    if (moving != HK_CLASS_NONE)
        thread_reset_bin(thread, moving);
    thread_destroy(thread);
}

/* In a forked child: recovers the caches of the parent's other threads. */
static HK_SLOW void threads_recover(void) {
    uint32_t yes = 1;
    /* relaxed: decides which thread does it; the lock of the list orders the records */
    if (!hk_cas_relaxed(&threads.vanished, &yes, 0))
        return;
    struct hk_thread *thread;
    while ((thread = threads_take_vanished()) != NULL)
        thread_recover(thread);
}

static bool threads_may_have_vanished(void) {
    hk_fork_notice();
    return hk_load_relaxed(&threads.vanished) != 0; /* relaxed: a hint */
}

struct thread_owner {
    uint32_t number;
    uint64_t id; /* 0: unknown */
};

/* Takes the record of that owner out of the list; NULL if it is not there. */
static struct hk_thread *threads_take(const struct thread_owner *owner) {
    hk_lock(&threads.lock, HK_RANK_THREADS);
    struct hk_thread *thread = threads.first;
    /* relaxed: an owner that is gone has stored its own id */
    while (thread != NULL &&
           (thread->number != owner->number || hk_load_relaxed(&thread->id) != owner->id))
        thread = thread->next;
    if (thread != NULL)
        thread_unlink_locked(thread);
    hk_unlock(&threads.lock, HK_RANK_THREADS);
    return thread;
}

/* The owners of the records after the first `skipped` ones. Returns how many. */
static uint32_t threads_owners(uint32_t skipped, struct thread_owner owners[THREAD_SWEEP_BATCH]) {
    uint32_t generation = hk_os_generation();
    uint32_t count = 0;
    hk_lock(&threads.lock, HK_RANK_THREADS);
    for (struct hk_thread *thread = threads.first; thread != NULL && count < THREAD_SWEEP_BATCH;
         thread = thread->next) {
        if (skipped > 0) {
            skipped--;
            continue;
        }
        /* relaxed: threads store their own ids, and vanished ones have stored theirs */
        bool known = hk_load_relaxed(&thread->generation) == generation;
        owners[count++] =
            (struct thread_owner){thread->number, known ? hk_load_relaxed(&thread->id) : 0};
    }
    hk_unlock(&threads.lock, HK_RANK_THREADS);
    return count;
}

void hk_thread_recover_gone(void) {
    struct thread_owner owners[THREAD_SWEEP_BATCH];
    uint32_t count, skipped = 0;
    while ((count = threads_owners(skipped, owners)) > 0) {
        skipped += count;
        for (uint32_t i = 0; i < count; i++) {
            struct hk_thread *thread =
                hk_os_thread_is_gone(owners[i].id) ? threads_take(&owners[i]) : NULL;
            if (thread != NULL) {
                thread_recover(thread);
                skipped--;
            }
        }
    }

    uint32_t next = 2 * hk_thread_count();
    /* relaxed: a threshold */
    hk_store_relaxed(&threads.sweep_at, next > THREAD_SWEEP_MIN ? next : THREAD_SWEEP_MIN);
}

/* At the start of a thread, once the number of records has doubled. So a program never has many
 * more lost caches than threads, and a program whose number of threads is steady does not look for
 * them. */
static void threads_recover_gone_if_many(void) {
    /* relaxed: as above */
    if (hk_thread_count() >= hk_load_relaxed(&threads.sweep_at))
        hk_thread_recover_gone();
}

/* ---- Start of a thread ----------------------------------------------------------------------------- */

/* Tells the record which thread of which process owns it. */
static void thread_identify(struct hk_thread *thread) {
    /* relaxed: for threads that start later */
    hk_store_relaxed(&thread->generation, hk_os_generation());
    hk_store_relaxed(&thread->id, hk_os_thread_id());
}

/* A record for the calling thread, not yet in the list; NULL without memory. */
static struct hk_thread *thread_create(void) {
    struct hk_thread *thread = hk_meta_alloc(sizeof *thread);
    if (thread == NULL)
        return NULL;
    memset(thread, 0, sizeof *thread);
    for (size_t class = 0; class < HK_CLASS_COUNT; ++class)
        thread_reset_bin(thread, class);
    thread->cache.kind = HK_CACHE_OWN;
    thread->trim_seen = hk_load_relaxed(&threads.trims); /* relaxed: a request, orders nothing */
    thread->number = hk_lock_self();
    thread->signal_mask = hk_os_signal_mask();
    thread_identify(thread);
    return thread;
}

/* Adds a record to the list and gives it a heap. False without memory. */
static bool thread_attach(struct hk_thread *thread) {
    struct hk_heap *spare = threads_spare_heap();
    hk_lock(&threads.lock, HK_RANK_THREADS);
    thread->heap = threads_choose_heap(&spare);
    if (thread->heap != NULL) {
        thread->heap->threads++;
        thread->next = threads.first;
        if (threads.first != NULL)
            threads.first->prev = thread;
        hk_fence_stores(); /* a forked child finds a whole record in the list */
        threads.first = thread;
        hk_add_relaxed(&threads.count, 1); /* relaxed: stored under the lock */
    }
    hk_unlock(&threads.lock, HK_RANK_THREADS);
    threads_drop_spare(spare);
    return thread->heap != NULL;
}

/* The cache that was parked last, for the calling thread; NULL if there is none. */
static struct hk_thread *thread_adopt(void) {
    if (hk_load_relaxed(&threads.parked) == NULL) /* relaxed: a look; decided under the lock */
        return NULL;
    uint32_t number = hk_lock_self();
    struct hk_heap *spare = NULL;
    hk_lock(&threads.lock, HK_RANK_THREADS);
    struct hk_thread *thread = threads.parked;
    if (thread != NULL) {
        thread->number = number;
        threads_unpark_locked(thread);
        thread->heap->threads--;
        thread->heap = threads_choose_heap(&spare);
        thread->heap->threads++;
        thread_identify(thread);
    }
    hk_unlock(&threads.lock, HK_RANK_THREADS);
    if (thread == NULL)
        return NULL;

    thread->signal_mask = hk_os_signal_mask();
    thread->end_rounds = 0;
    thread->frees_in_a_row = 0;
    return thread;
}

/* A record for the calling thread, in the list and with a heap: a parked one or a new one. NULL
 * without memory. */
static struct hk_thread *thread_adopt_or_create(void) {
    struct hk_thread *thread = thread_adopt();
    if (thread != NULL)
        return thread;
    thread = thread_create();
    if (thread != NULL && !thread_attach(thread)) {
        hk_meta_free(thread, sizeof *thread);
        return NULL;
    }
    return thread;
}

static HK_SLOW struct hk_thread *thread_begin(void) {
    if (!threads_start())
        return NULL;
    if (hk_option(HK_OPTION_checks) == HK_CHECKS_FULL || !threads.has_key) {
        hk_thread_disable_cache();
        return NULL;
    }
    if (threads_may_have_vanished())
        threads_recover();
    threads_recover_gone_if_many();

    struct hk_thread *thread = thread_adopt_or_create();
    if (thread == NULL)
        return NULL;
    thread_set_budget(thread);
    hk_cache = &thread->cache;
    /* This may allocate; the cache is in place by now. */
    if (pthread_setspecific(threads.key, thread) != 0) { /* nothing would notice its end */
        hk_thread_disable_cache();
        thread_release(thread);
        return NULL;
    }
    hk_prewarm_thread(thread, (enum hak_prewarm_set)hk_option(HK_OPTION_prewarm));
    return thread;
}

struct hk_thread *hk_thread_get(void) {
    struct hk_cache *cache = hk_cache;
    if (hk_likely(cache->kind == HK_CACHE_OWN))
        return (struct hk_thread *)(void *)cache;
    return cache->kind == HK_CACHE_UNINITIALIZED ? thread_begin() : NULL;
}

/* ---- Slow paths ------------------------------------------------------------------------------------ */

/* What every slow call does besides its own work. */
static void thread_tick(struct hk_thread *thread) {
    uint32_t trims = hk_load_relaxed(&threads.trims); /* relaxed: a request, orders nothing */
    if (hk_unlikely(trims != thread->trim_seen)) {
        thread->trim_seen = trims;
        hk_thread_empty(thread);
    }
    if (hk_likely(++thread->slow_calls % THREAD_CLOCK_CALLS != 0))
        return;
    if (hk_unlikely(threads_may_have_vanished()))
        threads_recover();
    thread_set_budget(thread);
    uint64_t now = hk_os_now_ms();
    hk_purge_tick(now);
    if (now - thread->scanned_ms >= THREAD_SCAN_MS) {
        thread->scanned_ms = now;
        thread_scan(thread);
    }
}

void hk_thread_ask_trim(void) { hk_add_relaxed(&threads.trims, 1); /* relaxed: a request */ }

uint32_t hk_thread_fill(struct hk_thread *thread, size_t class, uint32_t count) {
    uint32_t depth = thread_depth(thread, class);
    uint32_t have = thread_blocks(thread, class);
    uint32_t want = have + count < depth ? have + count : depth;
    if (want > thread->capacity[class])
        thread_raise_capacity(thread, class, want, thread_limit());
    want = want < thread->capacity[class] ? want : thread->capacity[class];
    uint32_t added = 0;
    while (have + added < want) {
        void **top = thread->cache.bins[class].top;
        uint32_t got = hk_heap_take(thread->heap, class, top, want - have - added);
        if (got == 0)
            break;
        hk_bin_set_top(&thread->cache.bins[class], top + got);
        added += got;
    }
    return added;
}

/* Counts the refill of a class that follows, or a large block. It is regret if the thread has flushed
 * such blocks since its last refill. */
static void thread_note_refill(struct hk_thread *thread, size_t class, size_t bytes) {
    thread->moved_bytes += bytes;
    if (!hk_bit_get(thread->flushed, (uint32_t) class))
        return;
    hk_bit_clear(thread->flushed, (uint32_t) class);
    thread->regret_bytes += bytes;
}

static struct hk_block thread_take_one(struct hk_heap *heap, size_t class) {
    struct hk_block block = {NULL, false};
    return hk_transfer_take(class, &block.start, 1) > 0 ? block : hk_heap_take_one(heap, class);
}

/* Blocks in a refill: half of what the bin has room for. With many threads a quarter, because a thread
 * that only allocates ends with half of its last batch unused. */
static uint32_t thread_batch(const struct hk_thread *thread, uint32_t capacity) {
    uint32_t part = thread->depth_shift == 0 ? 2 : 4;
    return (capacity + part - 1) / part;
}

void *hk_thread_refill(size_t class) {
    struct hk_thread *thread = hk_thread_get();
    if (hk_unlikely(thread == NULL))
        return hk_thread_take_one(class).start;
    thread_tick(thread);
    hk_scavenger_want(thread->signal_mask);
    thread_note_refill(thread, class,
                       thread_batch(thread, thread->capacity[class]) *
                           (size_t)hk_classes[class].block_bytes);
    bool first = thread->seen[class] != NULL; /* slow call since the last scan */
    thread->seen[class] = NULL;
    thread->frees_in_a_row = 0;

    /* A thread that started just now may be pre-warmed or have adopted a cache. */
    void *block = hk_bin_pop(&thread->cache.bins[class]);
    if (block != NULL)
        return block;

    if (!first || thread->capacity[class] > 0) /* one block may be all that is wanted */
        thread_grow(thread, class);
    uint32_t capacity = thread->capacity[class];
    if (capacity == 0)
        return thread_take_one(thread->heap, class).start;

    uint32_t batch = thread_batch(thread, capacity);
    void **top = thread->cache.bins[class].top;
    uint32_t got = hk_transfer_take(class, top, batch);
    if (got == 0)
        got = hk_heap_take(thread->heap, class, top, batch);
    if (hk_unlikely(got == 0))
        return NULL;
    hk_bin_set_top(&thread->cache.bins[class], top + got - 1);
    return top[got - 1];
}

struct hk_block hk_thread_take_one(size_t class) {
    struct hk_thread *thread = hk_thread_get();
    struct hk_heap *heap = thread != NULL ? thread->heap : hk_thread_any_heap();
    struct hk_block none = {NULL, false};
    return heap != NULL ? thread_take_one(heap, class) : none;
}

/* The record for a free; a thread that has only freed a little is not worth one yet. */
static struct hk_thread *thread_get_to_free(void) {
    if (hk_cache->kind == HK_CACHE_UNINITIALIZED && thread_first_frees++ < THREAD_FIRST_FREES)
        return NULL;
    return hk_thread_get();
}

/* Whether a block is live as far as can be seen. Reports it otherwise. By default a full bin is
 * compared as a push compares it, and only a bin of large blocks that holds less than that asks the
 * slab, because small blocks always get a larger bin with the first free. HK_CHECKS_FAST searches all
 * of the bin and asks always, so that it misses nothing but the bins of other threads. */
static bool thread_check(const struct hk_thread *thread, const char *function, size_t class,
                         const void *block) {
    bool exact = hk_option(HK_OPTION_checks) == HK_CHECKS_FAST;
    void *const *at = exact ? thread->floor[class] : thread->cache.bins[class].top - HK_BIN_BELOW;
    for (; at < thread->cache.bins[class].top; at++) {
        if (hk_unlikely(*at == block)) {
            hk_bad_pointer(function, block, HK_CAUSE_FREE);
            return false;
        }
    }
    bool few =
        thread->capacity[class] <= HK_BIN_BELOW && hk_classes[class].block_bytes > HK_TINY_MAX;
    return (exact || few) ? hk_heap_check_fast(function, block) : true;
}

/* As thread_give, for a single block, which was checked. */
static void thread_give_one(const char *function, size_t class, void *block) {
    struct hk_transfer_put put = {0, false};
    if (threads_are_many()) {
        put = hk_transfer_put(class, &block, 1, block);
        hk_dirty_signal();
    }
    if (hk_unlikely(put.freed_is_there)) {
        hk_bad_pointer(function, block, HK_CAUSE_FREE);
    } else if (put.count == 0) {
        hk_heap_give_one(function, class, block);
        hk_purge_balance();
    }
}

static bool thread_is_full(const struct hk_thread *thread, size_t class) {
    return thread->cache.bins[class].top == thread->cache.bins[class].ceil;
}

void hk_thread_flush(const char *function, size_t class, void *block) {
    struct hk_thread *thread = thread_get_to_free();
    if (hk_unlikely(thread == NULL)) {
        hk_heap_give_one(function, class, block);
        hk_purge_balance();
        return;
    }
    if (hk_unlikely(!thread_check(thread, function, class, block)))
        return;
    if (hk_bin_push(&thread->cache.bins[class], block)) /* HK_CHECKS_FAST, or pre-warmed just now */
        return;
    thread_tick(thread);
    thread->seen[class] = NULL;
    bool only_frees = ++thread->frees_in_a_row > THREAD_ONLY_FREES;
    if (only_frees && thread->frees_in_a_row % THREAD_ONLY_FREES == 0)
        thread_halve_all(thread);
    if (thread_is_full(thread, class) &&
        (!only_frees ||
         thread->capacity[class] * (size_t)hk_classes[class].block_bytes < THREAD_ONLY_FREES_BYTES))
        thread_grow(thread, class);
    uint32_t capacity = thread->capacity[class];
    if (capacity == 0) {
        hk_bit_set(thread->flushed, (uint32_t) class);
        thread_give_one(function, class, block);
        return;
    }

    /* A thread that only frees never reuses its cache, so it flushes all of it. */
    uint32_t batch = only_frees ? capacity : (capacity + 1) / 2;
    if (thread_is_full(thread, class) &&
        !thread_flush_oldest(thread, function, class, batch, block))
        return;
    bool pushed = hk_bin_push(&thread->cache.bins[class], block);
    hk_assert(pushed);
    (void)pushed;
    hk_purge_balance();
}

struct hk_block hk_thread_take_large(size_t size, size_t align) {
    struct hk_block none = {NULL, false};
    struct hk_thread *thread = hk_thread_get();
    struct hk_heap *heap = thread != NULL ? thread->heap : hk_thread_any_heap();
    if (thread != NULL) {
        thread_tick(thread);
        struct hk_span *span = hk_keep_take(&thread->keep, size, align);
        if (span != NULL)
            return (struct hk_block){(void *)span->base, false};
    }
    if (thread != NULL) {
        thread_note_refill(thread, HK_CLASS_NONE, size);
        hk_scavenger_want(thread->signal_mask);
    }
    return heap != NULL ? hk_large_alloc(&heap->arena, heap, size, align) : none;
}

/* Keeps a freed large block if the thread asks for such blocks and may hold so much. One that has
 * freed many since it asked last wants none, not even those that it kept. */
static bool thread_keep(struct hk_thread *thread, struct hk_span *span) {
    if (thread->keep.puts == HK_KEEP_MAX) {
        thread_drop_all_kept(thread);
        return false;
    }
    if (thread->capacity_bytes + span->bytes > thread->budget ||
        !hk_keep_wants(&thread->keep, span))
        return false;
    while (thread_held(thread) + span->bytes > thread->budget)
        thread_drop_kept(thread);
    hk_keep_put(&thread->keep, span);
    return true;
}

void hk_thread_free_large(struct hk_span *span) {
    struct hk_thread *thread = thread_get_to_free();
    if (thread != NULL) {
        thread_tick(thread);
        if (thread_keep(thread, span))
            return;
        hk_bit_set(thread->flushed, HK_CLASS_NONE);
    }
    hk_large_free(span);
    hk_purge_balance();
}

/* ---- Looking --------------------------------------------------------------------------------------- */

void hk_thread_each(void (*visit)(void *arg, struct hk_thread *thread), void *arg) {
    if (threads_may_have_vanished())
        threads_recover();
    hk_lock(&threads.lock, HK_RANK_THREADS);
    for (struct hk_thread *thread = threads.first; thread != NULL; thread = thread->next) {
        hk_lock(&thread->lock, HK_RANK_THREAD);
        visit(arg, thread);
        hk_unlock(&thread->lock, HK_RANK_THREAD);
    }
    hk_unlock(&threads.lock, HK_RANK_THREADS);
}

uint32_t hk_thread_cached(const struct hk_thread *thread, size_t class) {
    /* relaxed: only counted */
    return (uint32_t)(hk_load_relaxed(&thread->cache.bins[class].top) - thread->floor[class]);
}

/* ---- Fork ------------------------------------------------------------------------------------------ */

/* The forking thread goes on in the child under another id. Nothing else is written here: a child
 * that runs another program at once should not pay for the caches of the parent. */
void hk_thread_fork_child(void) {
    /* relaxed: the child has one thread */
    hk_store_relaxed(&threads.vanished, 1);
    uint32_t running = THREADS_START_RUNNING;
    if (hk_lock_thread_vanished(hk_load_relaxed(&threads.starter)))
        hk_cas_relaxed(&threads.started, &running, THREADS_START_NOT); /* relaxed: as above */
    if (hk_cache->kind == HK_CACHE_OWN)
        thread_identify((struct hk_thread *)(void *)hk_cache);
}

/* The list is whole from `first` on by `next`; the rest follows from it. */
void hk_threads_repair(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < hk_load_relaxed(&threads.heap_count);
         i++) /* relaxed: under the lock */
        threads.heaps[i]->threads = 0;
    struct hk_thread *prev = NULL;
    hk_store_relaxed(&threads.parked_bytes, 0); /* relaxed: under the lock */
    hk_store_relaxed(&threads.parked, NULL);    /* relaxed: as in threads_park_locked */
    for (struct hk_thread *thread = threads.first; thread != NULL; thread = thread->next) {
        thread->prev = prev;
        prev = thread;
        thread->heap->threads++;
        count++;
        if (thread->is_parked) {
            threads_park_locked(thread);
            count--;
        }
    }
    hk_store_relaxed(&threads.count, count); /* relaxed: stored under the lock */
}

/* The bin named by `moving` may be half exchanged. */
void hk_thread_repair(struct hk_thread *thread) {
    size_t class = hk_load_relaxed(&thread->moving); /* relaxed: its thread is gone */
    if (class != HK_CLASS_NONE)
        thread_reset_bin(thread, class);
}
