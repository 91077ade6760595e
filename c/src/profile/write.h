/* profile/write.h - profiles in all formats.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the selection of a writer by format.
 * Owns: nothing. Threads: any, no lock held. Boundary: profile/snapshot, profile/pprof,
 * profile/text.
 */
#ifndef HK_PROFILE_WRITE_H
#define HK_PROFILE_WRITE_H

#include <hakmem.h>

#include "../base/compiler.h"

/* The implementation of hak_profile_write. */
HK_COLD int hk_profile_write(enum hak_profile_format format,
                             void (*write)(void *arg, const char *text, size_t bytes), void *arg);

#endif
