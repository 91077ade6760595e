/* core/extent.c - mapped address space without an owner. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "extent.h"

#include "../base/bits.h"
#include "../os/check.h"
#include "../os/lock.h"
#include "../os/os.h"
#include "chunk.h"
#include "dirty.h"
#include "large.h"
#include "meta.h"
#include "options.h"
#include "size_class.h"
#include "usage.h"

enum {
    EXTENT_CACHED_MAX = 64,     /* cached extents, approximately */
    EXTENT_RAISE_PART = 2,      /* the limit rises by at most 1/2 of the live large mappings */
    EXTENT_REGRET_DECAY = 5,    /* purge delays after which the raise of the limit is halved */
    EXTENT_SEARCH = 1024,       /* refused extents examined by one search */
    EXTENT_RETRIES = 8,         /* refusals after which a purge stops trying to unmap */
    EXTENT_FEW_MAPPINGS = 2048, /* with fewer live large mappings, unmapping is always allowed */
};

struct hk_extent {
    uintptr_t base;         /* lock:EXTENT; the fields below as well */
    struct hk_extent *next; /* in its list */
    size_t bytes;
    uint64_t freed_ms;
    uint32_t mapping;
    uint32_t node_bytes; /* metadata of this node */
    bool dirty;          /* counted in core/usage */
};
_Static_assert(sizeof(struct hk_extent) <= HK_EXTENT_NODE_BYTES,
               "a node fits the metadata of a span");

struct hk_extent_list hk_extents[HK_EXTENTS_KINDS];
static struct hk_lock extents_lock;
static uint32_t extents_mappings; /* atomic; their numbers so far */

uint64_t hk_extent_cached_bytes(void) { return hk_peek(&hk_extents[HK_EXTENTS_CACHED].bytes); }
uint64_t hk_extent_refused_bytes(void) { return hk_peek(&hk_extents[HK_EXTENTS_REFUSED].bytes); }

uint32_t hk_extent_number(void) {
    uint32_t number;
    do
        number = hk_add_relaxed(&extents_mappings, 1); /* relaxed: any other number will do */
    while (number == HK_EXTENT_MAPPINGS);
    return number;
}

/* Prepares the node of a range that is in no list. */
static struct hk_extent *extent_create(struct hk_range range, void *node, size_t node_bytes) {
    struct hk_extent *extent = node;
    hk_assert(node_bytes >= sizeof *extent);
    extent->base = range.base;
    extent->next = NULL;
    extent->bytes = range.bytes;
    extent->freed_ms = 0;
    extent->mapping = range.mapping;
    extent->node_bytes = (uint32_t)node_bytes;
    extent->dirty = range.dirty;
    return extent;
}

static void extent_destroy(struct hk_extent *extent) {
    if (extent != NULL)
        hk_meta_free(extent, extent->node_bytes);
}

/* ---- The lists (under the lock) -------------------------------------------------------------- */

static void list_append(struct hk_extent_list *list, struct hk_extent *extent) {
    struct hk_extent **link = &list->first;
    while (*link != NULL)
        link = &(*link)->next;
    extent->next = NULL;
    hk_fence_stores();
    *link = extent;
    hk_add_locked(&list->bytes, extent->bytes);
}

static void list_push(struct hk_extent_list *list, struct hk_extent *extent) {
    extent->next = list->first;
    hk_fence_stores();
    list->first = extent;
    hk_add_locked(&list->bytes, extent->bytes);
}

static struct hk_extent *list_remove(struct hk_extent_list *list, struct hk_extent **link) {
    struct hk_extent *extent = *link;
    *link = extent->next;
    hk_fence_stores();
    hk_sub_locked(&list->bytes, extent->bytes);
    return extent;
}

static uint32_t list_count(const struct hk_extent_list *list) {
    uint32_t count = 0;
    for (const struct hk_extent *extent = list->first; extent != NULL; extent = extent->next)
        count++;
    return count;
}

/* Removes the neighbours of an extent from a list and merges them into it. Returns their nodes,
 * linked. */
static struct hk_extent *list_merge(struct hk_extent_list *list, struct hk_extent *extent) {
    struct hk_extent *merged = NULL;
    struct hk_extent **link = &list->first;

    for (uint32_t seen = 0; *link != NULL && seen < EXTENT_SEARCH; seen++) {
        struct hk_extent *near = *link;
        bool before = near->base + near->bytes == extent->base;
        bool behind = extent->base + extent->bytes == near->base;
        if ((!before && !behind) || near->dirty != extent->dirty) {
            link = &near->next;
            continue;
        }

        list_remove(list, link);
        extent->base = before ? near->base : extent->base;
        extent->bytes += near->bytes;
        if (extent->mapping != near->mapping)
            extent->mapping = HK_EXTENT_MAPPINGS;
        near->next = merged;
        merged = near;
    }

    return merged;
}

static void extents_destroy(struct hk_extent *extent) {
    while (extent != NULL) {
        struct hk_extent *next = extent->next;
        extent_destroy(extent);
        extent = next;
    }
}

/* ---- The limit of the cache ------------------------------------------------------------------ */

/* The limit of the cache rises when it proves too low, that is, when new memory is mapped soon
 * after the cache was too full to keep as much. It falls again once that stops happening. (20 live
 * blocks of 5 to 25 MB, replaced at random: 24,500 page faults instead of 127,600.) */
static struct {
    uint64_t raise; /* lock:EXTENT; bytes evicted and then missed */
    uint64_t
        evicted;    /* atomic, stored under EXTENT; bytes that were not kept, and not missed yet */
    uint64_t live;  /* lock:EXTENT; peak bytes of live large mappings */
    uint64_t since; /* lock:EXTENT; time of the last miss, or of the last decay */
} cache_limit;

/* The limit of the cache in bytes: whole granules, because extents are cut there. Under the
 * lock. */
static uint64_t cache_most(void) {
    uint64_t base = hk_option(HK_OPTION_large_cache_mb) << 20;
    uint64_t raise = hk_min(cache_limit.raise, cache_limit.live / EXTENT_RAISE_PART);
    return base == 0 ? 0 : base + (raise & ~(HK_GRANULE_BYTES - 1));
}

/* Notes that `bytes` were mapped because the cache did not have them. */
static void cache_note_miss(size_t bytes) {
    if (hk_likely(hk_peek(&cache_limit.evicted) == 0))
        return;
    hk_lock(&extents_lock, HK_RANK_EXTENT);
    uint64_t missed = hk_min(bytes, cache_limit.evicted);
    cache_limit.raise += missed;
    hk_sub_locked(&cache_limit.evicted, missed);
    cache_limit.since = hk_os_now_ms();
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
}

/* Notes that a mapping of `bytes` is freed at `now`. Under the lock. */
static void cache_note_give(size_t bytes, uint64_t now) {
    uint64_t count, live;
    hk_large_mapped(&count, &live);
    if (now - cache_limit.since > EXTENT_REGRET_DECAY * hk_option(HK_OPTION_purge_delay_ms)) {
        cache_limit.raise /= 2;
        cache_limit.live /= 2;
        hk_store_locked(&cache_limit.evicted, 0);
        cache_limit.since = now;
    }
    cache_limit.live = hk_max(cache_limit.live, live + bytes);
}

/* ---- Taking ---------------------------------------------------------------------------------- */

/* A request for a range. */
struct extent_want {
    size_t bytes;
    size_t align;
    bool counted; /* if the range is not dirty, it is counted in core/usage */
};

/* The start of a range in an extent, or 0 if there is no room for it. */
static uintptr_t extent_place(const struct hk_extent *extent, const struct extent_want *want) {
    uintptr_t start = hk_round_up(extent->base, want->align);
    size_t front = start - extent->base;
    return front < extent->bytes && want->bytes <= extent->bytes - front ? start : 0;
}

/* The link of the smallest extent with room, or NULL if there is none. */
static struct hk_extent **list_find(struct hk_extent_list *list, const struct extent_want *want) {
    struct hk_extent **best = NULL;
    struct hk_extent **link = &list->first;
    for (uint32_t seen = 0; *link != NULL && seen < EXTENT_SEARCH; seen++, link = &(*link)->next) {
        if (best != NULL && (*link)->bytes >= (*best)->bytes)
            continue;
        if (extent_place(*link, want) != 0)
            best = link;
    }
    return best;
}

/* Cuts a range out of an extent. The parts on both sides stay in the list. If there are two, the
 * second one takes its node from *spare. A node that is no longer needed is added to *spare.
 * Returns false and changes nothing if a node is missing. Between any two stores, the list holds
 * only memory that was in it before. */
static bool list_cut(struct hk_extent_list *list, struct hk_extent **link, struct hk_range range,
                     struct hk_extent **spare) {
    struct hk_extent *extent = *link;
    size_t front = range.base - extent->base;
    size_t back = extent->bytes - front - range.bytes;
    if (front != 0 && back != 0 && *spare == NULL)
        return false;

    if (front == 0 && back == 0) {
        list_remove(list, link);
        extent->next = *spare;
        *spare = extent;
        return true;
    }

    if (front == 0) {
        extent->bytes = back;
        hk_fence_stores();
        extent->base = range.base + range.bytes;
    } else if (back == 0) {
        extent->bytes = front;
    } else {
        struct hk_extent *behind = *spare;
        *spare = behind->next;
        uint32_t node_bytes = behind->node_bytes;
        *behind = *extent;
        behind->node_bytes = node_bytes;
        behind->base = range.base + range.bytes;
        behind->bytes = back;
        hk_fence_stores();
        extent->bytes = front;
        hk_fence_stores();
        extent->next = behind;
    }

    hk_sub_locked(&list->bytes, range.bytes);
    return true;
}

/* Takes a range out of the extent at *link. The base is 0 if the hard limit or a missing node
 * forbids it. */
static struct hk_range list_take(struct hk_extent_list *list, struct hk_extent **link,
                                 const struct extent_want *want, struct hk_extent **spare) {
    const struct hk_extent *extent = *link;
    struct hk_range none = {0, 0, 0, false};
    struct hk_range range = {extent_place(extent, want), want->bytes, extent->mapping,
                             extent->dirty};

    size_t count = want->counted && !range.dirty ? range.bytes : 0;
    if (count != 0 && !hk_usage_add(count))
        return none;
    if (hk_likely(list_cut(list, link, range, spare)))
        return range;
    hk_usage_sub(count);
    return none;
}

static bool extents_are_none(void) {
    return hk_extent_cached_bytes() == 0 && hk_extent_refused_bytes() == 0;
}

/* Tries cached extents first, because their pages exist. */
/* NOLINTNEXTLINE(misc-no-recursion): metadata takes granules, which need no spare node */
static struct hk_range extents_take(const struct extent_want *want) {
    struct hk_range range = {0, 0, 0, false};
    if (extents_are_none())
        return range;

    struct hk_extent *spare = NULL;
    if (want->align > HK_GRANULE_BYTES && (spare = hk_meta_alloc(sizeof *spare)) != NULL)
        extent_create(range, spare, sizeof *spare);

    hk_lock(&extents_lock, HK_RANK_EXTENT);
    for (int kind = 0; kind < HK_EXTENTS_KINDS && range.base == 0; kind++) {
        struct hk_extent **link = list_find(&hk_extents[kind], want);
        if (link != NULL)
            range = list_take(&hk_extents[kind], link, want, &spare);
    }
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
    extents_destroy(spare);
    return range;
}

uintptr_t hk_extent_map(size_t bytes, size_t align) {
    bool huge = bytes >= HK_HUGE_BYTES && hk_huge_is_wanted(hk_usage_bytes());
    if (huge)
        align = hk_max(align, HK_HUGE_BYTES);
    void *start = hak_os_map_boundary(bytes, align);
    if (huge && start != NULL)
        hk_os_set_huge(start, bytes, HK_OS_HUGE_WANTED);
    return (uintptr_t)start;
}

struct hk_range hk_extent_take(size_t bytes, size_t align) {
    struct extent_want want = {bytes, align, true};
    struct hk_range range = extents_take(&want);
    if (range.base != 0 || !hk_usage_add(bytes))
        return range;

    cache_note_miss(bytes);
    range.base = hk_extent_map(bytes, align);
    range.bytes = bytes;
    range.mapping = hk_extent_number();
    if (range.base == 0)
        hk_usage_sub(bytes);
    return range;
}

/* Takes `bytes` from the start of the extent at `base`, if it is in the list. Under the lock. */
static struct hk_range list_take_at(struct hk_extent_list *list, uintptr_t base, size_t bytes,
                                    struct hk_extent **spare) {
    struct extent_want want = {bytes, HK_GRANULE_BYTES, true};
    struct hk_extent **link = &list->first;
    for (uint32_t seen = 0; *link != NULL && seen < EXTENT_SEARCH; seen++, link = &(*link)->next) {
        if ((*link)->base == base && (*link)->bytes >= bytes)
            return list_take(list, link, &want, spare);
    }
    return (struct hk_range){0, 0, 0, false};
}

struct hk_range hk_extent_take_at(uintptr_t base, size_t bytes) {
    struct hk_range range = {0, 0, 0, false};
    if (extents_are_none())
        return range;

    struct hk_extent *spare = NULL;
    hk_lock(&extents_lock, HK_RANK_EXTENT);
    range = list_take_at(&hk_extents[HK_EXTENTS_CACHED], base, bytes, &spare);
    if (range.base == 0)
        range = list_take_at(&hk_extents[HK_EXTENTS_REFUSED], base, bytes, &spare);
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
    extents_destroy(spare);
    return range;
}

/* Bytes of the longest extent of a list, up to `most`. Under the lock. */
static size_t list_longest(const struct hk_extent_list *list, size_t most) {
    size_t longest = 0;
    const struct hk_extent *extent = list->first;
    for (uint32_t seen = 0; extent != NULL && longest < most && seen < EXTENT_SEARCH; seen++) {
        longest = extent->bytes > longest ? extent->bytes : longest;
        extent = extent->next;
    }
    return longest < most ? longest : most;
}

/* NOLINTNEXTLINE(misc-no-recursion): see extents_take */
struct hk_range hk_extent_take_kept(size_t least, size_t most) {
    struct hk_range range = {0, 0, 0, false};
    if (extents_are_none())
        return range;

    hk_lock(&extents_lock, HK_RANK_EXTENT);
    size_t cached = list_longest(&hk_extents[HK_EXTENTS_CACHED], most);
    size_t refused = list_longest(&hk_extents[HK_EXTENTS_REFUSED], most);
    hk_unlock(&extents_lock, HK_RANK_EXTENT);

    size_t bytes = cached > refused ? cached : refused;
    if (bytes < least)
        return range;
    struct extent_want want = {bytes, HK_GRANULE_BYTES, false};
    return extents_take(&want);
}

bool hk_extent_has(size_t bytes, size_t align) {
    if (hk_extent_cached_bytes() == 0)
        return false;
    struct extent_want want = {bytes, align, true};
    hk_lock(&extents_lock, HK_RANK_EXTENT);
    bool has = list_find(&hk_extents[HK_EXTENTS_CACHED], &want) != NULL;
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
    return has;
}

/* ---- Unmapping ------------------------------------------------------------------------------- */

/* Whether a hole may be punched into the mappings of the process. The kernel merges neighbouring
 * mappings, and each hole between two live ones costs one more. So the number of live mappings
 * bounds the cost of holes. Beyond half of vm.max_map_count, ranges are kept without their pages
 * instead. */
static bool extents_may_unmap(void) {
    uint64_t count, bytes;
    hk_large_mapped(&count, &bytes);
    return hk_likely(count < EXTENT_FEW_MAPPINGS) || count < hk_os_mappings_max() / 2;
}

/* Lists an extent as refused. */
static void extent_keep(struct hk_extent *extent) {
    hk_lock(&extents_lock, HK_RANK_EXTENT);
    struct hk_extent *merged = list_merge(&hk_extents[HK_EXTENTS_REFUSED], extent);
    list_push(&hk_extents[HK_EXTENTS_REFUSED], extent);
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
    extents_destroy(merged);
}

void hk_extent_keep(struct hk_range range, void *node, size_t node_bytes) {
    extent_keep(extent_create(range, node, node_bytes));
}

/* Gives back the pages of an extent that is not unmapped, and lists it as refused. Returns the
 * bytes given back. */
static size_t extent_refuse(struct hk_extent *extent, struct hk_purge_budget *budget) {
    size_t purged = 0;
    if (extent->dirty) {
        bool done = hk_os_purge((void *)extent->base, extent->bytes);
        purged = done ? extent->bytes : 0;
        hk_usage_sub(purged);
        extent->dirty = !done;
        hk_purge_spend(budget, 1, purged);
    }
    extent_keep(extent);
    return purged;
}

/* Unmaps an extent that is in no list. Returns false and changes nothing if that is refused. */
static bool extent_try_unmap(const struct hk_extent *extent, struct hk_purge_budget *budget) {
    if (!extents_may_unmap())
        return false;
    bool done = hk_os_unmap((void *)extent->base, extent->bytes);
    size_t given = done && extent->dirty ? extent->bytes : 0;
    hk_usage_sub(given);
    hk_purge_spend(budget, 1, given);
    return done;
}

/* Unmaps an extent that is in no list, or lists it as refused. Returns the bytes given back. */
static size_t extent_release(struct hk_extent *extent, struct hk_purge_budget *budget) {
    size_t bytes = extent->dirty ? extent->bytes : 0;
    if (!extent_try_unmap(extent, budget))
        return extent_refuse(extent, budget);
    extent_destroy(extent);
    return bytes;
}

void hk_extent_unmap(struct hk_range range, void *node, size_t node_bytes) {
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    extent_release(extent_create(range, node, node_bytes), &budget);
}

bool hk_extent_drop(struct hk_range range) {
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    if (extents_may_unmap() && hk_os_unmap((void *)range.base, range.bytes)) {
        hk_usage_sub(range.dirty ? range.bytes : 0);
        return true;
    }
    void *node = hk_meta_alloc(HK_EXTENT_NODE_BYTES);
    if (node == NULL)
        return false;
    extent_refuse(extent_create(range, node, HK_EXTENT_NODE_BYTES), &budget);
    return true;
}

/* ---- Caching --------------------------------------------------------------------------------- */

/* Whether the cache has no room for another extent of `bytes`. Under the lock. */
static bool cache_is_full(size_t bytes) {
    const struct hk_extent_list *list = &hk_extents[HK_EXTENTS_CACHED];
    return list->first != NULL && (hk_extent_cached_bytes() + bytes > cache_most() ||
                                   list_count(list) >= EXTENT_CACHED_MAX);
}

/* Removes and returns the oldest cached extent if it was freed before `before_ms`. Otherwise
 * returns NULL. */
static struct hk_extent *cache_remove_old(uint64_t before_ms) {
    struct hk_extent_list *list = &hk_extents[HK_EXTENTS_CACHED];
    struct hk_extent *oldest = NULL;
    hk_lock(&extents_lock, HK_RANK_EXTENT);
    if (list->first != NULL && list->first->freed_ms < before_ms)
        oldest = list_remove(list, &list->first);
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
    return oldest;
}

/* Shortens an extent that is in no list to the cache limit, if it is longer. Returns false if it
 * cannot be cached. */
static bool cache_fit(struct hk_extent *extent) {
    hk_lock(&extents_lock, HK_RANK_EXTENT);
    cache_note_give(extent->bytes, extent->freed_ms);
    size_t limit = cache_most();
    size_t over = extent->bytes > limit ? extent->bytes - limit : 0;
    if (limit > 0)
        hk_add_locked(&cache_limit.evicted, over);
    hk_unlock(&extents_lock, HK_RANK_EXTENT);

    if (over == 0)
        return true;

    struct hk_range rest = {extent->base + limit, over, extent->mapping, extent->dirty};
    if (limit == 0 || !hk_extent_drop(rest))
        return false;
    extent->bytes = limit;
    return true;
}

/* Makes room for an extent and lists it. Returns the evicted extents, linked, and sets *merged to
 * the nodes of its former neighbours. */
static struct hk_extent *cache_append(struct hk_extent *extent, struct hk_extent **merged) {
    struct hk_extent_list *list = &hk_extents[HK_EXTENTS_CACHED];
    struct hk_extent *evicted = NULL;

    hk_lock(&extents_lock, HK_RANK_EXTENT);
    while (hk_unlikely(cache_is_full(extent->bytes))) {
        struct hk_extent *oldest = list_remove(list, &list->first);
        hk_add_locked(&cache_limit.evicted, oldest->bytes);
        oldest->next = evicted;
        evicted = oldest;
    }

    *merged = list_merge(list, extent);
    list_append(list, extent);
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
    return evicted;
}

void hk_extent_give(struct hk_range range, void *node, size_t node_bytes) {
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    struct hk_extent *extent = extent_create(range, node, node_bytes);
    extent->freed_ms = hk_os_now_ms();
    if (!cache_fit(extent)) {
        extent_release(extent, &budget);
        return;
    }

    struct hk_extent *merged;
    struct hk_extent *evicted = cache_append(extent, &merged);
    extents_destroy(merged);
    while (evicted != NULL) {
        struct hk_extent *next = evicted->next;
        extent_release(evicted, &budget);
        evicted = next;
    }

    hk_dirty_signal();
}

/* Removes and returns the refused extent that was tried least recently, or NULL if there is
 * none. */
static struct hk_extent *refused_remove_first(void) {
    struct hk_extent *extent = NULL;
    hk_lock(&extents_lock, HK_RANK_EXTENT);
    if (hk_extents[HK_EXTENTS_REFUSED].first != NULL)
        extent =
            list_remove(&hk_extents[HK_EXTENTS_REFUSED], &hk_extents[HK_EXTENTS_REFUSED].first);
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
    return extent;
}

/* Tries to unmap refused extents until EXTENT_RETRIES of them are refused again. These move to the
 * end of the list. */
static size_t refused_retry(struct hk_purge_budget *budget) {
    size_t bytes = 0;
    uint32_t refusals = 0;
    struct hk_extent *extent;

    while (refusals < EXTENT_RETRIES && !hk_purge_is_spent(budget) &&
           (extent = refused_remove_first()) != NULL) {
        size_t given = extent->dirty ? extent->bytes : 0;
        if (extent_try_unmap(extent, budget)) {
            bytes += given;
            extent_destroy(extent);
            continue;
        }

        refusals++;
        hk_lock(&extents_lock, HK_RANK_EXTENT);
        list_append(&hk_extents[HK_EXTENTS_REFUSED], extent);
        hk_unlock(&extents_lock, HK_RANK_EXTENT);
    }

    return bytes;
}

size_t hk_extent_purge(uint64_t before_ms, struct hk_purge_budget *budget) {
    size_t bytes = 0;
    struct hk_extent *evicted;
    while (!hk_purge_is_spent(budget) && (evicted = cache_remove_old(before_ms)) != NULL)
        bytes += extent_release(evicted, budget);
    if (hk_extent_refused_bytes() != 0 && extents_may_unmap())
        bytes += refused_retry(budget);
    return bytes;
}

/* ---- Repair, validation ---------------------------------------------------------------------- */

static uint64_t list_bytes(const struct hk_extent_list *list) {
    uint64_t bytes = 0;
    for (const struct hk_extent *extent = list->first; extent != NULL; extent = extent->next)
        bytes += extent->bytes;
    return bytes;
}

void hk_extent_repair(void) {
    hk_store_locked(&hk_extents[HK_EXTENTS_CACHED].bytes,
                    list_bytes(&hk_extents[HK_EXTENTS_CACHED]));
    hk_store_relaxed(&hk_extents[HK_EXTENTS_REFUSED].bytes,
                     list_bytes(&hk_extents[HK_EXTENTS_REFUSED]));
}

/* Whether an extent overlaps no other one in the list that starts at `other`. Checks a bounded
 * number of them. */
static bool extent_is_apart(const struct hk_extent *extent, const struct hk_extent *other) {
    bool apart = true;
    for (uint32_t seen = 0; other != NULL && seen < EXTENT_SEARCH; seen++, other = other->next) {
        apart = apart && (other->base + other->bytes <= extent->base ||
                          extent->base + extent->bytes <= other->base);
    }
    return apart;
}

static bool list_valid(const struct hk_extent_list *list, const struct hk_extent_list *other) {
    bool valid = hk_load_relaxed(&list->bytes) == list_bytes(list); /* relaxed: under the lock */
    uint32_t seen = 0;
    const struct hk_extent *extent = list->first;
    for (; extent != NULL && seen < EXTENT_SEARCH; seen++, extent = extent->next) {
        valid = valid && ((extent->base | extent->bytes) & (HK_GRANULE_BYTES - 1)) == 0 &&
                extent_is_apart(extent, extent->next) && extent_is_apart(extent, other->first);
    }
    return valid;
}

bool hk_extent_valid(void) {
    hk_lock(&extents_lock, HK_RANK_EXTENT);
    bool valid = list_valid(&hk_extents[HK_EXTENTS_CACHED], &hk_extents[HK_EXTENTS_REFUSED]) &&
                 list_valid(&hk_extents[HK_EXTENTS_REFUSED], &hk_extents[HK_EXTENTS_CACHED]);
    hk_unlock(&extents_lock, HK_RANK_EXTENT);
    return valid;
}
