/* profile/text.h - profiles as text.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: three forms. Collapsed stacks are lines for flame graphs. The largest sites and the
 * live blocks are for people.
 * Owns: nothing. Threads: any, no lock held. Boundary: profile/snapshot, profile/output,
 * hk_os_symbol.
 */
#ifndef HK_PROFILE_TEXT_H
#define HK_PROFILE_TEXT_H

#include "output.h"
#include "snapshot.h"

/* Writes a line "outermost;...;innermost bytes" for each stack with live blocks. */
HK_COLD void hk_text_write_collapsed(struct hk_snapshot *snapshot, struct hk_output *output);

/* Writes the stacks with the most live bytes. */
HK_COLD void hk_text_write_sites(struct hk_snapshot *snapshot, struct hk_output *output);

/* Writes all stacks with live blocks, and the modules with their build IDs. */
HK_COLD void hk_text_write_leaks(struct hk_snapshot *snapshot, struct hk_output *output);

#endif
