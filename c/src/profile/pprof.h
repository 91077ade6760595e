/* profile/pprof.h - profiles in the format of pprof.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a writer of the uncompressed protobuf message Profile of github.com/google/pprof. It
 * contains addresses and the build IDs of their modules, but no symbols. So the profile of a
 * stripped program can be symbolized on another machine.
 * Owns: nothing. Threads: any, no lock held. Boundary: profile/snapshot, profile/output.
 */
#ifndef HK_PROFILE_PPROF_H
#define HK_PROFILE_PPROF_H

#include "output.h"
#include "snapshot.h"

HK_COLD void hk_pprof_write(struct hk_snapshot *snapshot, struct hk_output *output);

#endif
