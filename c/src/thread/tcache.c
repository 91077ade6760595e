/* thread/tcache.c - the constant caches. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "tcache.h"

/* A cache with bins that are both empty and full. The kind is necessary, because a linker or
 * compiler that merges equal constants would otherwise give both sentinels one address. */
#define TCACHE_SENTINEL(kind)                                                                      \
    { {[0 ... HK_CLASS_COUNT - 1] = {HK_BIN_WITHOUT_ARRAY, HK_BIN_WITHOUT_ARRAY}}, kind }
static const struct hk_cache tcache_uninitialized = TCACHE_SENTINEL(HK_CACHE_UNINITIALIZED);
static const struct hk_cache tcache_disabled = TCACHE_SENTINEL(HK_CACHE_DISABLED);

/* The constant caches are never written, because their bins are empty and full. */
#define TCACHE_CONSTANT(cache) ((struct hk_cache *)(void *)(uintptr_t)(const void *)(&(cache)))

HK_THREAD_LOCAL struct hk_cache *hk_cache = TCACHE_CONSTANT(tcache_uninitialized);

struct hk_thread *hk_tcache_drained;

void hk_thread_disable_cache(void) { hk_cache = TCACHE_CONSTANT(tcache_disabled); }
