/* profile/dump.h - profiles of unmodified programs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the options profile, profile_rate, profile_file and profile_signal. A profile starts
 * with the process. It is written at process exit and on each signal, to a file or, with
 * profile=leaks, to standard error. The signal handler only wakes a thread of ours, which writes. A
 * forked child has no such thread. It starts one at its first sample after a signal.
 * Owns: that thread, the number of the next file. Threads: those that run the constructor and the
 * destructor, those that take samples, and its own.
 * Boundary: profile/profile, profile/write, hk_os_create_file, hk_os_handle_signal,
 * hk_os_start_thread.
 */
#ifndef HK_PROFILE_DUMP_H
#define HK_PROFILE_DUMP_H

#include "../base/compiler.h"

/* Starts the profile and the thread, if the options say so. Called from the constructor. */
HK_COLD void hk_dump_start(void);

/* Starts the thread in a forked child, if a signal has arrived there. Called after a sample. */
HK_COLD void hk_dump_after_sample(void);

/* Writes the profile at process exit, if the options say so. */
HK_COLD void hk_dump_at_exit(void);

#endif
