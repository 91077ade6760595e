/* core/usage.c - the count of memory in use. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "usage.h"

#include "options.h"

/* All accesses are relaxed, because the count publishes nothing. */
static uint64_t usage_bytes; /* atomic */

bool hk_usage_add(size_t bytes) {
    uint64_t limit = hk_option(HK_OPTION_limit_hard);
    uint64_t now = hk_load_relaxed(&usage_bytes); /* relaxed: see above */
    do {
        if (hk_unlikely(limit != 0 && bytes != 0 && now + bytes > limit))
            return false;
    } while (!hk_cas_relaxed(&usage_bytes, &now, now + bytes)); /* relaxed: see above */
    return true;
}

void hk_usage_note(size_t bytes) { hk_add_relaxed(&usage_bytes, bytes); /* relaxed: see above */ }

void hk_usage_sub(size_t bytes) { hk_sub_relaxed(&usage_bytes, bytes); /* relaxed: see above */ }

uint64_t hk_usage_bytes(void) { return hk_load_relaxed(&usage_bytes); /* relaxed: see above */ }

bool hk_usage_is_high(void) {
    uint64_t limit = hk_option(HK_OPTION_limit_soft);
    return limit != 0 && hk_usage_bytes() > limit;
}
