/* purge/retry.h - purges for allocations that failed.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: before an allocation fails, it gives back all free memory and tries again. If that
 * does not help, it is not repeated at once.
 * Owns: the time of the next attempt. Threads: any, no lock held. Boundary: purge/decay, thread,
 * core/usage.
 */
#ifndef HK_PURGE_RETRY_H
#define HK_PURGE_RETRY_H

#include "../base/compiler.h"

/* Called after an allocation of `bytes` failed. Gives back all free memory, unless that was tried
 * just now and did not help. Returns true if the allocation is worth another attempt. */
bool hk_purge_for(size_t bytes);

/* Called when the second attempt succeeded. */
void hk_purge_helped(void);

#endif
