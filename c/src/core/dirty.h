/* core/dirty.h - the signal that memory became dirty.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one word that says whether free memory waits to be given back. The modules that free
 * memory raise it, and the scavenger sleeps on it. It is part of core so that they can raise it
 * without knowing its listener.
 * Owns: the word. Threads: any, no lock held below PURGE.
 * Boundary: hk_os_wait, hk_os_wake.
 */
#ifndef HK_CORE_DIRTY_H
#define HK_CORE_DIRTY_H

#include "../base/compiler.h"

/* Signals that blocks, granules or an extent became free. Every path that makes memory dirty calls
 * it at its end, after it released its locks. */
void hk_dirty_signal(void);

/* Clears the signal before a scan, which will see all memory that was freed before. */
void hk_dirty_clear(void);

/* Sleeps until there is a signal, for at most `ms` milliseconds. Returns false if there was none.
 * One thread at a time may call it. */
bool hk_dirty_wait_ms(uint64_t ms);

#endif
