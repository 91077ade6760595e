/* purge/retry.h - purges for allocations that failed.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: an allocation that finds no memory gives back everything that is free before it gives
 * up. One in vain is not repeated at once.
 * Owns: the time of the next attempt. Threads: any, no lock held. Boundary: purge/decay, thread,
 * core/usage.
 */
#ifndef HK_PURGE_RETRY_H
#define HK_PURGE_RETRY_H

#include "../base/compiler.h"

/* After an allocation of `bytes` failed: gives back everything if that was not tried in vain just
 * now, and says whether another attempt makes sense. */
bool hk_purge_for(size_t bytes);

/* The second attempt succeeded. */
void hk_purge_helped(void);

#endif
