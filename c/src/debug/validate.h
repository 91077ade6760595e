/* debug/validate.h - checks of the invariants.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: checks of the invariants that are stated next to the fields of every structure, one
 * lock at a time, while the program runs. Owns: nothing. Threads: any, no lock held.
 * Boundary: thread, heap/heap, core, hk_os_write_error.
 */
#ifndef HK_DEBUG_VALIDATE_H
#define HK_DEBUG_VALIDATE_H

#include "../base/compiler.h"

/* Returns the number of faults. Each fault is reported on one line. */
HK_COLD size_t hk_validate(void);

#endif
