/* core/span.c - descriptors. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "span.h"

#include <string.h>

#include "meta.h"

/* Any large block may be sampled. */
static size_t span_samples(size_t class, bool sampled) {
    return class == HK_CLASS_NONE ? 1 : sampled * (size_t)hk_classes[class].blocks;
}

static size_t span_bytes(size_t class, bool sampled) {
    return sizeof(struct hk_span) + HK_WORDS(hk_classes[class].blocks) * sizeof(uint64_t) +
           span_samples(class, sampled) * sizeof(void *);
}

static struct hk_span *span_create(size_t class, bool sampled) {
    size_t bytes = span_bytes(class, sampled);
    struct hk_span *span = hk_meta_alloc(bytes);
    if (span != NULL) {
        memset(span, 0, bytes);
        span->class = (uint8_t) class;
        span->blocks = hk_classes[class].blocks;
        span->sampled = sampled;
    }
    return span;
}

struct hk_span *hk_span_create(size_t class) {
    return span_create(class, false);
}
struct hk_span *hk_span_create_sampled(size_t class) {
    return span_create(class, true);
}

size_t hk_span_metadata(const struct hk_span *span) {
    return span_bytes(span->class, span->sampled);
}

void hk_span_destroy(struct hk_span *span) { hk_meta_free(span, hk_span_metadata(span)); }
