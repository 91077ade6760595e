/* purge/tick.h - scans in the program's own threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a function that slow calls of a busy program call now and then. Without a scavenger
 * they do its scans, in small steps. Above the soft limit they give back all free memory.
 * Owns: the times of both. Threads: any, no lock held. Boundary: purge/decay, purge/scavenger,
 * core/usage.
 */
#ifndef HK_PURGE_TICK_H
#define HK_PURGE_TICK_H

#include "../base/compiler.h"

void hk_purge_tick(uint64_t now_ms);

#endif
