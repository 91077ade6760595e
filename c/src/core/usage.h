/* core/usage.h - how much memory is in use, and how much may be.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one count of the bytes that pages of memory may stand behind: granules that were
 * touched and not given back, large mappings, metadata. The options limit_soft and limit_hard are
 * held against it.
 * Owns: the count. Threads: any; no lock. Boundary: core/options.
 */
#ifndef HK_CORE_USAGE_H
#define HK_CORE_USAGE_H

#include "../base/compiler.h"

/* Counts `bytes` more; false, nothing counted, if that would pass the hard limit. */
bool hk_usage_add(size_t bytes);

/* Counts `bytes` more that exist already, whatever the limit. */
void hk_usage_note(size_t bytes);

/* Counts `bytes` less. */
void hk_usage_sub(size_t bytes);

uint64_t hk_usage_bytes(void);

/* More is in use than the soft limit says. */
bool hk_usage_is_high(void);

#endif
