/* purge/pressure.h - the purge delay under memory pressure.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the kernel reports how long threads had to wait for memory (pressure stall
 * information), in the process's cgroup or in the whole system. Under pressure, free memory of
 * hakmem is worth more to others than the page faults that it saves. So the purge delay is then
 * short.
 * Owns: the last reading. Threads: any may ask for the delay, the scavenger reads the pressure. No
 * lock held.
 * Boundary: core/options, core/arena, core/extent, hk_os_memory_pressure.
 */
#ifndef HK_PURGE_PRESSURE_H
#define HK_PURGE_PRESSURE_H

#include "../base/compiler.h"

/* Reads the pressure, if that is due, there is free memory, and no sandbox may forbid it. */
void hk_pressure_look(uint64_t now_ms);

/* Milliseconds until the next read is due. */
uint64_t hk_pressure_wait_ms(uint64_t now_ms);

/* The purge delay: the option purge_delay_ms, or less under pressure. */
uint64_t hk_pressure_delay_ms(uint64_t now_ms);

#endif
