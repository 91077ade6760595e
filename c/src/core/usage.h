/* core/usage.h - the count of memory in use, and its limits.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one count of the bytes that may be resident: committed granules, large mappings,
 * metadata. The options limit_soft and limit_hard apply to it.
 * Owns: the count. Threads: any. No lock. Boundary: core/options.
 */
#ifndef HK_CORE_USAGE_H
#define HK_CORE_USAGE_H

#include "../base/compiler.h"

/* Adds `bytes` to the count. If that would exceed the hard limit, returns false and adds
 * nothing. */
bool hk_usage_add(size_t bytes);

/* Adds `bytes` that already exist to the count, regardless of the limit. */
void hk_usage_note(size_t bytes);

/* Subtracts `bytes` from the count. */
void hk_usage_sub(size_t bytes);

uint64_t hk_usage_bytes(void);

/* Whether usage exceeds the soft limit. */
bool hk_usage_is_high(void);

#endif
