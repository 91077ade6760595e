/* thread/tcache.c - the constant caches. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "tcache.h"

/* A cache with bins that are both empty and full. The kind is necessary, because a linker or
 * compiler that merges equal constants would otherwise give all sentinels one address. */
#define TCACHE_SENTINEL(kind)                                                                      \
    { {[0 ... HK_CLASS_COUNT - 1] = {HK_BIN_WITHOUT_ARRAY, HK_BIN_WITHOUT_ARRAY}}, kind }
static const struct hk_cache tcache_uninitialized = TCACHE_SENTINEL(HK_CACHE_UNINITIALIZED);
static const struct hk_cache tcache_disabled = TCACHE_SENTINEL(HK_CACHE_DISABLED);
static const struct hk_cache tcache_watched = TCACHE_SENTINEL(HK_CACHE_WATCHED);

/* The constant caches are never written, because their bins are empty and full. */
#define TCACHE_CONSTANT(cache) ((struct hk_cache *)(void *)(uintptr_t)(const void *)(&(cache)))

HK_THREAD_LOCAL struct hk_cache *hk_cache = TCACHE_CONSTANT(tcache_uninitialized);
HK_THREAD_LOCAL struct hk_thread *hk_thread_own;
uint64_t hk_watch;
HK_THREAD_LOCAL uint32_t hk_watch_own;

struct hk_thread *hk_tcache_drained;

struct hk_cache *hk_tcache_watched(void) {
    return TCACHE_CONSTANT(tcache_watched);
}

void hk_thread_disable_cache(void) {
    hk_thread_own = NULL;
    hk_store_relaxed(&hk_cache, TCACHE_CONSTANT(tcache_disabled)); /* relaxed: see hk_cache_get */
}

void hk_thread_use_cache_locked(struct hk_thread *thread) {
    struct hk_cache *cache = hk_watch_is_on() ? hk_tcache_watched() : &thread->cache;
    hk_thread_own = thread;
    thread->place = &hk_cache;
    hk_store_relaxed(&hk_cache, cache); /* relaxed: see hk_cache_get */
}
