/* thread/count.c - the bytes that a thread allocates and frees.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "count.h"

HK_THREAD_LOCAL struct hak_thread_counters hk_counters;
