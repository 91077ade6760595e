/* profile/snapshot.h - a copy of a profile, for writers.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: all stacks with their values, and the loaded modules, in a mapping of their own. So
 * the function that receives the text may allocate, free, and even start another profile.
 * Owns: the mapping. Threads: a snapshot belongs to its caller. No lock held. Takes SAMPLES.
 * Boundary: profile/samples, core/usage, hk_os_map_guarded, hk_os_modules.
 */
#ifndef HK_PROFILE_SNAPSHOT_H
#define HK_PROFILE_SNAPSHOT_H

#include "../os/os.h"
#include "profile.h"
#include "samples.h"

struct hk_row {
    uint64_t values[HK_VALUES]; /* objects and bytes, rounded */
    uint32_t depth;
    const uintptr_t *frames; /* addresses of the calls, innermost first */
};

struct hk_snapshot {
    struct hk_profile_times times;
    struct hk_row *rows;
    size_t row_count;
    uintptr_t *frames; /* of all rows */
    size_t frame_count;
    uintptr_t *locations; /* the distinct frames, sorted; see hk_snapshot_locate */
    size_t location_count;
    struct hk_os_module *modules; /* the program first */
    size_t module_count;
    char *names; /* of the modules */
    size_t name_bytes;
    size_t bytes; /* of the mapping, which starts at `rows` */
};

/* Takes a snapshot. Returns false if out of memory. */
HK_COLD bool hk_snapshot_take(struct hk_snapshot *snapshot);
HK_COLD void hk_snapshot_drop(struct hk_snapshot *snapshot);

/* Sorts the rows by a value, the largest first. */
HK_COLD void hk_snapshot_sort(struct hk_snapshot *snapshot, enum hk_value value);

/* Fills `locations`. */
HK_COLD void hk_snapshot_locate(struct hk_snapshot *snapshot);

/* The index of an address among the locations. */
HK_COLD size_t hk_snapshot_location(const struct hk_snapshot *snapshot, uintptr_t address);

/* Prints the build ID of a module in hexadecimal digits. The text is empty if it has none. */
enum { HK_BUILD_ID_TEXT = 2 * 32 + 1 };
HK_COLD void hk_build_id_print(const struct hk_os_module *module, char text[HK_BUILD_ID_TEXT]);

/* The module that contains an address, or NULL. */
HK_COLD const struct hk_os_module *hk_snapshot_module(const struct hk_snapshot *snapshot,
                                                      uintptr_t address);

#endif
