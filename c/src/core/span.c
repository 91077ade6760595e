/* core/span.c - descriptors. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "span.h"

#include "../base/string.h"
#include "meta.h"

/* Any large block may be sampled. */
static size_t span_samples(size_t class, enum hk_span_kind kind) {
    if (class == HK_CLASS_NONE)
        return 1;
    return kind == HK_SPAN_SAMPLED ? hk_classes[class].blocks : 0;
}

static size_t span_bytes(size_t class, enum hk_span_kind kind) {
    return sizeof(struct hk_span) + HK_WORDS(hk_classes[class].blocks) * sizeof(uint64_t) +
           span_samples(class, kind) * sizeof(void *);
}

struct hk_span *hk_span_create(size_t class, enum hk_span_kind kind) {
    size_t bytes = span_bytes(class, kind);
    struct hk_span *span = hk_meta_alloc(bytes);
    if (span != NULL) {
        memset(span, 0, bytes);
        span->class = (uint8_t) class;
        span->blocks = hk_classes[class].blocks;
        span->kind = (uint8_t)kind;
    }
    return span;
}

size_t hk_span_metadata(const struct hk_span *span) {
    return span_bytes(span->class, (enum hk_span_kind)span->kind);
}

void hk_span_destroy(struct hk_span *span) { hk_meta_free(span, hk_span_metadata(span)); }
