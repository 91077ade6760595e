/* debug/report.h - statistics for people and for programs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the report as text, as JSON and for Prometheus. All list the rows of stats.def. The
 * first two list the options and the classes too, and for Prometheus a format of its own adds the
 * classes. Owns: nothing. Threads: any. No lock is held while `write` runs.
 * Boundary: debug/stats, core/options, hk_os_write_error.
 */
#ifndef HK_DEBUG_REPORT_H
#define HK_DEBUG_REPORT_H

#include <hakmem.h>

#include "../base/compiler.h"

HK_COLD void hk_report(enum hak_report_format format,
                       void (*write)(void *arg, const char *, size_t), void *arg);

#endif
