/* api/copy.h - structs that programs of other versions pass.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the copy of a struct with a size, in both directions. New fields are only added at
 * the end.
 * Owns: nothing. Threads: any. Boundary: none.
 */
#ifndef HK_API_COPY_H
#define HK_API_COPY_H

#include <stddef.h>

#include "../base/string.h"

/* Copies the fields that both versions of a struct have, and zeroes the rest. */
static inline void hk_copy_struct(void *to, size_t to_bytes, const void *from, size_t from_bytes) {
    size_t bytes = to_bytes < from_bytes ? to_bytes : from_bytes;
    memcpy(to, from, bytes);
    memset((char *)to + bytes, 0, to_bytes - bytes);
}

#endif
