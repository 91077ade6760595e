/* thread/large_cache.c - cached large blocks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "large_cache.h"

#include "../base/string.h"

/* Takes the span out of its place. A forked child may see any intermediate state. The place is
 * therefore emptied first and filled last, so that a span is never both in the cache and
 * outside. */
static struct hk_span *large_cache_remove(struct hk_large_cache *cache, uint32_t place) {
    struct hk_span *span = cache->spans[place];
    cache->spans[place] = NULL;
    hk_fence_stores();
    hk_stat_set(&cache->bytes, cache->bytes - span->bytes);
    return span;
}

struct hk_span *hk_large_cache_take(struct hk_large_cache *cache, size_t size, size_t align) {
    cache->puts = 0;
    cache->wanted[cache->next_wanted++ % HK_LARGE_CACHE_WANTED] = size;

    for (uint32_t place = 0; place < HK_LARGE_CACHE_MAX; place++) {
        struct hk_span *span = cache->spans[place];
        if (span != NULL && hk_large_suits(span, size, align)) {
            large_cache_remove(cache, place);
            hk_large_reuse(span, size);
            return span;
        }
    }
    return NULL;
}

bool hk_large_cache_wants(const struct hk_large_cache *cache, const struct hk_span *span) {
    for (uint32_t i = 0; i < HK_LARGE_CACHE_WANTED; i++) {
        if (cache->wanted[i] != 0 && hk_large_suits(span, cache->wanted[i], 1))
            return true;
    }
    return false;
}

void hk_large_cache_put(struct hk_large_cache *cache, struct hk_span *span) {
    uint32_t place = 0;
    while (place < HK_LARGE_CACHE_MAX && cache->spans[place] != NULL)
        place++;
    if (place == HK_LARGE_CACHE_MAX) {
        place = cache->next % HK_LARGE_CACHE_MAX;
        hk_large_cache_drop(cache);
    }

    cache->puts++;
    hk_large_retire(span);
    hk_stat_set(&cache->bytes, cache->bytes + span->bytes);
    hk_fence_stores();
    cache->spans[place] = span;
}

struct hk_span *hk_large_cache_remove(struct hk_large_cache *cache) {
    for (uint32_t i = 0; i < HK_LARGE_CACHE_MAX; i++) {
        uint32_t place = cache->next++ % HK_LARGE_CACHE_MAX;
        if (cache->spans[place] != NULL)
            return large_cache_remove(cache, place);
    }
    return NULL;
}

bool hk_large_cache_drop(struct hk_large_cache *cache) {
    struct hk_span *span = hk_large_cache_remove(cache);
    if (span != NULL)
        hk_large_free(span);
    return span != NULL;
}

void hk_large_cache_drop_all(struct hk_large_cache *cache) {
    while (hk_large_cache_drop(cache)) {
    }
}

void hk_large_cache_scan(struct hk_large_cache *cache) {
    memset(cache->wanted, 0, sizeof cache->wanted);
    for (uint32_t place = 0; place < HK_LARGE_CACHE_MAX; place++) {
        if (cache->spans[place] != NULL && cache->spans[place]->scans++ > 0)
            hk_large_free(large_cache_remove(cache, place));
    }
}
