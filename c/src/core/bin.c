/* core/bin.c - the bin without an array. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "bin.h"

void *const hk_bin_nothing[HK_BIN_BELOW] = {NULL};
