/* purge/balance.h - a limit on free memory without a scavenger.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a limit on the free memory of a program without a scavenger. A free that exceeds it
 * gives memory back at its end. The limit rises for a program that frees and allocates the same
 * memory in turn.
 * Owns: the limit. Threads: any, no lock held. Takes the PURGE lock if no other thread has it.
 * Boundary: purge/decay, purge/scavenger, core/arena, core/extent.
 */
#ifndef HK_PURGE_BALANCE_H
#define HK_PURGE_BALANCE_H

#include "../thread/hooks.h"

/* Gives back the excess over the limit, at a bounded cost, unless the scavenger will do it. Called
 * at the end of a free or of a shrinking reallocation that may have made memory dirty. While a
 * program frees small blocks, more memory may stay in huge pages that are partly in use. Returns
 * true if it gave anything back. */
bool hk_purge_balance(enum hk_freed kind);

#endif
