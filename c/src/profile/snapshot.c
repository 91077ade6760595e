/* profile/snapshot.c - a copy of a profile. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "snapshot.h"

#include "../base/string.h"
#include "../core/usage.h"

/* ---- Sizes ----------------------------------------------------------------------------------- */

/* Room in the mapping, with slack for stacks and modules that other threads add meanwhile. */
struct snapshot_room {
    size_t rows;
    size_t frames;
    size_t modules;
    size_t name_bytes;
};

enum { SNAPSHOT_SLACK = 64, SNAPSHOT_ATTEMPTS = 4 };

static void snapshot_count_module(void *arg, const struct hk_os_module *module) {
    struct snapshot_room *room = arg;
    room->modules++;
    room->name_bytes += strlen(module->name) + 1;
}

static struct snapshot_room snapshot_room(void) {
    struct hk_samples_size size = hk_samples_size();
    struct snapshot_room room = {0};
    hk_os_modules(snapshot_count_module, &room);

    room.rows = size.stacks + size.stacks / 8 + SNAPSHOT_SLACK;
    room.frames = size.frames + size.frames / 8 + (size_t)SNAPSHOT_SLACK * HK_STACK_FRAMES;
    room.modules += SNAPSHOT_SLACK;
    room.name_bytes += (size_t)SNAPSHOT_SLACK * SNAPSHOT_SLACK;
    return room;
}

static bool snapshot_map(struct hk_snapshot *snapshot, const struct snapshot_room *room) {
    size_t bytes = room->rows * sizeof(struct hk_row) + 2 * room->frames * sizeof(uintptr_t) +
                   room->modules * sizeof(struct hk_os_module) + room->name_bytes;
    snapshot->bytes = hk_round_up(bytes, hk_os_page_bytes());
    if (!hk_usage_add(snapshot->bytes))
        return false;

    char *at = hk_os_map_guarded(snapshot->bytes);
    if (at == NULL) {
        hk_usage_sub(snapshot->bytes);
        return false;
    }

    snapshot->rows = (struct hk_row *)(void *)at;
    snapshot->frames = (uintptr_t *)(void *)(snapshot->rows + room->rows);
    snapshot->locations = snapshot->frames + room->frames;
    snapshot->modules = (struct hk_os_module *)(void *)(snapshot->locations + room->frames);
    snapshot->names = (char *)(snapshot->modules + room->modules);
    return true;
}

/* ---- Copying --------------------------------------------------------------------------------- */

struct snapshot_copy {
    struct hk_snapshot *snapshot;
    const struct snapshot_room *room;
};

/* A return address is just after its call, so one byte less is an address in the call. */
static bool snapshot_copy_stack(void *arg, const struct hk_stack *stack) {
    struct snapshot_copy *copy = arg;
    struct hk_snapshot *snapshot = copy->snapshot;
    if (snapshot->row_count == copy->room->rows ||
        snapshot->frame_count + stack->depth > copy->room->frames)
        return false;

    uintptr_t *frames = snapshot->frames + snapshot->frame_count;
    struct hk_row *row = &snapshot->rows[snapshot->row_count++];
    snapshot->frame_count += stack->depth;
    row->depth = stack->depth;
    row->frames = frames;
    for (uint32_t i = 0; i < stack->depth; i++)
        frames[i] = stack->frames[i] - 1;
    memcpy(row->values, stack->values, sizeof row->values);
    return true;
}

static void snapshot_copy_module(void *arg, const struct hk_os_module *module) {
    struct snapshot_copy *copy = arg;
    struct hk_snapshot *snapshot = copy->snapshot;
    size_t bytes = strlen(module->name) + 1;
    if (snapshot->module_count == copy->room->modules ||
        snapshot->name_bytes + bytes > copy->room->name_bytes)
        return;

    char *name = memcpy(snapshot->names + snapshot->name_bytes, module->name, bytes);
    struct hk_os_module *to = &snapshot->modules[snapshot->module_count++];
    snapshot->name_bytes += bytes;
    *to = *module;
    to->name = name;
}

static void snapshot_round_objects(struct hk_snapshot *snapshot, enum hk_value value) {
    for (size_t i = 0; i < snapshot->row_count; i++) {
        uint64_t *objects = &snapshot->rows[i].values[value];
        *objects = (*objects + HK_SAMPLER_ONE / 2) / HK_SAMPLER_ONE;
    }
}

/* Returns false if out of memory, or if there was no room for all stacks. */
static bool snapshot_try(struct hk_snapshot *snapshot) {
    struct snapshot_room room = snapshot_room();
    struct snapshot_copy copy = {snapshot, &room};
    memset(snapshot, 0, sizeof *snapshot);
    if (!snapshot_map(snapshot, &room))
        return false;

    if (!hk_samples_each(snapshot_copy_stack, &copy)) {
        hk_snapshot_drop(snapshot);
        return false;
    }

    hk_os_modules(snapshot_copy_module, &copy);
    snapshot_round_objects(snapshot, HK_VALUE_ALLOC_OBJECTS);
    snapshot_round_objects(snapshot, HK_VALUE_INUSE_OBJECTS);
    snapshot->times = hk_profile_times();
    return true;
}

bool hk_snapshot_take(struct hk_snapshot *snapshot) {
    for (int i = 0; i < SNAPSHOT_ATTEMPTS; i++) {
        if (snapshot_try(snapshot))
            return true;
    }
    return false;
}

void hk_snapshot_drop(struct hk_snapshot *snapshot) {
    hk_os_unmap_guarded(snapshot->rows, snapshot->bytes);
    hk_usage_sub(snapshot->bytes);
}

/* ---- Sorting --------------------------------------------------------------------------------- */

/* Heapsort, because qsort of libc may allocate. */
static void snapshot_sift(struct hk_row *rows, size_t at, size_t count, enum hk_value value) {
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && rows[child + 1].values[value] < rows[child].values[value])
            child++;
        if (rows[at].values[value] <= rows[child].values[value])
            return;
        struct hk_row row = rows[at];
        rows[at] = rows[child];
        rows[child] = row;
    }
}

void hk_snapshot_sort(struct hk_snapshot *snapshot, enum hk_value value) {
    struct hk_row *rows = snapshot->rows;
    size_t count = snapshot->row_count;
    for (size_t i = count / 2; i-- > 0;)
        snapshot_sift(rows, i, count, value);
    while (count > 1) {
        struct hk_row least = rows[0];
        rows[0] = rows[--count];
        rows[count] = least;
        snapshot_sift(rows, 0, count, value);
    }
}

static void snapshot_sift_frame(uintptr_t *frames, size_t at, size_t count) {
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && frames[child + 1] > frames[child])
            child++;
        if (frames[at] >= frames[child])
            return;
        uintptr_t frame = frames[at];
        frames[at] = frames[child];
        frames[child] = frame;
    }
}

void hk_snapshot_locate(struct hk_snapshot *snapshot) {
    uintptr_t *frames = snapshot->locations;
    size_t count = snapshot->frame_count;
    size_t kept = 0;

    memcpy(frames, snapshot->frames, count * sizeof *frames);
    for (size_t i = count / 2; i-- > 0;)
        snapshot_sift_frame(frames, i, count);
    for (size_t left = count; left > 1;) {
        uintptr_t most = frames[0];
        frames[0] = frames[--left];
        frames[left] = most;
        snapshot_sift_frame(frames, 0, left);
    }

    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || frames[i] != frames[kept - 1])
            frames[kept++] = frames[i];
    }
    snapshot->location_count = kept;
}

size_t hk_snapshot_location(const struct hk_snapshot *snapshot, uintptr_t address) {
    size_t first = 0;
    size_t end = snapshot->location_count;
    while (end - first > 1) {
        size_t middle = first + (end - first) / 2;
        if (snapshot->locations[middle] <= address)
            first = middle;
        else
            end = middle;
    }
    return first;
}

const struct hk_os_module *hk_snapshot_module(const struct hk_snapshot *snapshot,
                                              uintptr_t address) {
    for (size_t i = 0; i < snapshot->module_count; i++) {
        const struct hk_os_module *module = &snapshot->modules[i];
        if (address >= module->start && address < module->end)
            return module;
    }
    return NULL;
}

void hk_build_id_print(const struct hk_os_module *module, char text[HK_BUILD_ID_TEXT]) {
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < module->build_id_bytes; i++) {
        text[at++] = digits[module->build_id[i] >> 4];
        text[at++] = digits[module->build_id[i] & 15];
    }
    text[at] = 0;
}
