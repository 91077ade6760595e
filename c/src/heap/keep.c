/* heap/keep.c - kept large blocks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "keep.h"

#include <string.h>

/* Takes the span out of its place. A forked child may see any state between: the place is emptied
 * first and filled last, so that no span is ever in it and out. */
static struct hk_span *keep_remove(struct hk_keep *keep, uint32_t place) {
    struct hk_span *span = keep->spans[place];
    keep->spans[place] = NULL;
    hk_fence_stores();
    hk_store_relaxed(&keep->bytes, keep->bytes - span->bytes); /* relaxed: a statistic */
    return span;
}

struct hk_span *hk_keep_take(struct hk_keep *keep, size_t size, size_t align) {
    keep->puts = 0;
    keep->wanted[keep->next_wanted++ % HK_KEEP_WANTED] = size;
    for (uint32_t place = 0; place < HK_KEEP_MAX; place++) {
        struct hk_span *span = keep->spans[place];
        if (span != NULL && hk_large_suits(span, size, align)) {
            keep_remove(keep, place);
            hk_large_reuse(span, size);
            return span;
        }
    }
    return NULL;
}

bool hk_keep_wants(const struct hk_keep *keep, const struct hk_span *span) {
    for (uint32_t i = 0; i < HK_KEEP_WANTED; i++) {
        if (keep->wanted[i] != 0 && hk_large_suits(span, keep->wanted[i], 1))
            return true;
    }
    return false;
}

void hk_keep_put(struct hk_keep *keep, struct hk_span *span) {
    uint32_t place = 0;
    while (place < HK_KEEP_MAX && keep->spans[place] != NULL)
        place++;
    if (place == HK_KEEP_MAX) {
        place = keep->next % HK_KEEP_MAX;
        hk_keep_drop(keep);
    }
    keep->puts++;
    hk_large_retire(span);
    hk_store_relaxed(&keep->bytes, keep->bytes + span->bytes); /* relaxed: a statistic */
    hk_fence_stores();
    keep->spans[place] = span;
}

bool hk_keep_drop(struct hk_keep *keep) {
    for (uint32_t i = 0; i < HK_KEEP_MAX; i++) {
        uint32_t place = keep->next++ % HK_KEEP_MAX;
        if (keep->spans[place] != NULL) {
            hk_large_free(keep_remove(keep, place));
            return true;
        }
    }
    return false;
}

void hk_keep_scan(struct hk_keep *keep) {
    memset(keep->wanted, 0, sizeof keep->wanted);
    for (uint32_t place = 0; place < HK_KEEP_MAX; place++) {
        if (keep->spans[place] != NULL && keep->spans[place]->scans++ > 0)
            hk_large_free(keep_remove(keep, place));
    }
}
