/* guard/print.h - reports about guarded blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the text of a mistake with a guarded block: the access, the stacks of the allocation
 * and of the free, and the modules of the stacks with their build IDs. One report at a time.
 * Owns: the text of the report. Threads: any. A report of a fault runs in the signal handler of the
 * thread that caused it, so it allocates nothing and waits for no lock for more than a second.
 * Boundary: guard/slots, core/pagemap, hk_os_find_modules, hk_os_write_error.
 */
#ifndef HK_GUARD_PRINT_H
#define HK_GUARD_PRINT_H

#include "../os/os.h"

/* Reports a fault in a slot. Ignores any other. */
HK_COLD void hk_print_fault(const struct hk_os_fault *fault);

/* Prints the stacks of the guarded block at or around `block`, after a line about a mistake. */
HK_COLD void hk_print_block(const void *block);

#endif
