/* profile/pprof.h - profiles in the format of pprof.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a writer of the protobuf message Profile of github.com/google/pprof, not compressed.
 * It has addresses and the build IDs of their modules, and no symbols, so that a stripped program
 * can be resolved elsewhere.
 * Owns: nothing. Threads: any, no lock held. Boundary: profile/snapshot, profile/output.
 */
#ifndef HK_PROFILE_PPROF_H
#define HK_PROFILE_PPROF_H

#include "output.h"
#include "snapshot.h"

HK_COLD void hk_pprof_write(struct hk_snapshot *snapshot, struct hk_output *output);

#endif
