/* core/dirty.c - the signal that memory became dirty. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "dirty.h"

void hk_dirty_signal(void) {}
