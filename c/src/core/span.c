/* core/span.c - descriptors. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "span.h"

#include <string.h>

#include "meta.h"

static size_t span_bytes(size_t class) {
    return sizeof(struct hk_span) + HK_WORDS(hk_classes[class].blocks) * sizeof(uint64_t);
}

struct hk_span *hk_span_create(size_t class) {
    struct hk_span *span = hk_meta_alloc(span_bytes(class));
    if (span != NULL) {
        memset(span, 0, span_bytes(class));
        span->class = (uint8_t) class;
        span->blocks = hk_classes[class].blocks;
    }
    return span;
}

void hk_span_destroy(struct hk_span *span) { hk_meta_free(span, span_bytes(span->class)); }

size_t hk_span_metadata(const struct hk_span *span) { return span_bytes(span->class); }
