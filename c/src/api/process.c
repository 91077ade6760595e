/* api/process.c - the start and exit of the process.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Allocation works without these functions, because the first one may come long before constructors
 * run.
 */
#include <hakmem.h>

#include "../core/options.h"
#include "../guard/guard.h"
#include "../profile/dump.h"
#include "../thread/thread.h"
#include "fork.h"

HK_CONSTRUCTOR static void process_begin(void) {
    hk_thread_start_late();
    hk_fork_install();
    hk_dump_start();
    hk_guard_start_by_option();
}

HK_DESTRUCTOR static void process_end(void) {
    hk_dump_at_exit();
    if (hk_option(HK_OPTION_stats))
        hak_report(HAK_REPORT_TEXT, NULL, NULL);
}
