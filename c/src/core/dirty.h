/* core/dirty.h - the signal that memory became dirty.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one word that says whether free memory waits to be given back. The modules that free
 * memory raise it, and the scavenger sleeps on it. It lives in core so that they can raise it
 * without knowing who listens.
 * Owns: the word. Threads: any, no lock held below PURGE.
 * Boundary: hk_os_wait, hk_os_wake.
 */
#ifndef HK_CORE_DIRTY_H
#define HK_CORE_DIRTY_H

#include "../base/compiler.h"

/* Says that blocks, granules or an extent became free. Every path that makes memory dirty ends
 * here, after it released its locks. */
void hk_dirty_signal(void);

/* Takes the signal back, before a scan that will see all that was freed before. */
void hk_dirty_clear(void);

/* Sleeps until there is a signal, for at most `ms` milliseconds; false if there was none. One
 * thread at a time. */
bool hk_dirty_wait_ms(uint64_t ms);

#endif
