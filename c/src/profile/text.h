/* profile/text.h - profiles as text.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: three formats. Collapsed stacks are the input of flame graphs. The lists of the
 * largest sites and of the live blocks are for human readers.
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
