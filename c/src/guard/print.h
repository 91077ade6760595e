/* guard/print.h - reports about guarded blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the report of a mistake with a guarded block: the stacks of the access, the
 * allocation and the free, and the modules of these stacks with their build IDs. Only one report is
 * printed at a time.
 * Owns: the current report. Threads: any. A fault is reported in the signal handler of the thread
 * that caused it. So the report allocates nothing, and waits at most a second for a lock.
 * Boundary: guard/slots, core/pagemap, hk_os_find_modules, hk_os_write_error.
 */
#ifndef HK_GUARD_PRINT_H
#define HK_GUARD_PRINT_H

#include "../os/os.h"

/* Reports a fault in a slot. Ignores all other faults. */
HK_COLD void hk_print_fault(const struct hk_os_fault *fault);

/* Prints the stacks of the guarded block at or around `block`, below the line of a mistake. */
HK_COLD void hk_print_block(const void *block);

#endif
