/* profile/pprof.c - profiles in the format of pprof. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "pprof.h"

#include "../base/string.h"

/* Field numbers, as in profile.proto. */
enum {
    PROFILE_SAMPLE_TYPE = 1,
    PROFILE_SAMPLE = 2,
    PROFILE_MAPPING = 3,
    PROFILE_LOCATION = 4,
    PROFILE_STRING = 6,
    PROFILE_TIME_NS = 9,
    PROFILE_DURATION_NS = 10,
    PROFILE_PERIOD_TYPE = 11,
    PROFILE_PERIOD = 12,
    PROFILE_DEFAULT_TYPE = 14,
    VALUE_TYPE = 1,
    VALUE_UNIT = 2,
    SAMPLE_LOCATION = 1,
    SAMPLE_VALUE = 2,
    MAPPING_ID = 1,
    MAPPING_START = 2,
    MAPPING_LIMIT = 3,
    MAPPING_OFFSET = 4,
    MAPPING_FILE = 5,
    MAPPING_BUILD_ID = 6,
    LOCATION_ID = 1,
    LOCATION_MAPPING = 2,
    LOCATION_ADDRESS = 3,
};

/* Strings with a fixed index. After them, each module has two: its name and its build ID. */
enum pprof_string {
    STRING_EMPTY,
    STRING_ALLOC_OBJECTS,
    STRING_ALLOC_SPACE,
    STRING_INUSE_OBJECTS,
    STRING_INUSE_SPACE,
    STRING_COUNT,
    STRING_BYTES,
    STRING_SPACE,
    STRING_MODULES
};

static const char *const pprof_strings[STRING_MODULES] = {
    [STRING_EMPTY] = "",
    [STRING_ALLOC_OBJECTS] = "alloc_objects",
    [STRING_ALLOC_SPACE] = "alloc_space",
    [STRING_INUSE_OBJECTS] = "inuse_objects",
    [STRING_INUSE_SPACE] = "inuse_space",
    [STRING_COUNT] = "count",
    [STRING_BYTES] = "bytes",
    [STRING_SPACE] = "space",
};

/* The type and the unit of each value, in the order of enum hk_value. */
static const enum pprof_string pprof_types[HK_VALUES][2] = {
    [HK_VALUE_ALLOC_OBJECTS] = {STRING_ALLOC_OBJECTS, STRING_COUNT},
    [HK_VALUE_ALLOC_SPACE] = {STRING_ALLOC_SPACE, STRING_BYTES},
    [HK_VALUE_INUSE_OBJECTS] = {STRING_INUSE_OBJECTS, STRING_COUNT},
    [HK_VALUE_INUSE_SPACE] = {STRING_INUSE_SPACE, STRING_BYTES},
};

/* ---- Messages -------------------------------------------------------------------------------- */

enum { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_TYPE_BITS = 3, VARINT_BYTES_MAX = 10 };

/* A message without strings. The longest one is a sample with the maximum number of frames. */
struct message {
    size_t used;
    uint8_t bytes[(HK_STACK_FRAMES + 2 * HK_VALUES) * VARINT_BYTES_MAX];
};

static size_t varint_put(uint8_t *to, uint64_t value) {
    size_t used = 0;
    for (; value >= 0x80; value >>= 7)
        to[used++] = (uint8_t)(value | 0x80);
    to[used++] = (uint8_t)value;
    return used;
}

static void message_add_varint(struct message *message, uint64_t value) {
    message->used += varint_put(message->bytes + message->used, value);
}

static void message_add(struct message *message, uint32_t field, uint64_t value) {
    message_add_varint(message, field << WIRE_TYPE_BITS | WIRE_VARINT);
    message_add_varint(message, value);
}

static void pprof_varint(struct hk_output *output, uint64_t value) {
    uint8_t bytes[VARINT_BYTES_MAX];
    hk_output_bytes(output, bytes, varint_put(bytes, value));
}

static void pprof_field(struct hk_output *output, uint32_t field, uint64_t value) {
    pprof_varint(output, field << WIRE_TYPE_BITS | WIRE_VARINT);
    pprof_varint(output, value);
}

static void pprof_bytes(struct hk_output *output, uint32_t field, const void *bytes, size_t count) {
    pprof_varint(output, field << WIRE_TYPE_BITS | WIRE_BYTES);
    pprof_varint(output, count);
    hk_output_bytes(output, bytes, count);
}

static void pprof_message(struct hk_output *output, uint32_t field, const struct message *message) {
    pprof_bytes(output, field, message->bytes, message->used);
}

/* ---- The parts of a profile ------------------------------------------------------------------ */

static void pprof_type(struct hk_output *output, uint32_t field, enum pprof_string type,
                       enum pprof_string unit) {
    struct message message = {0};
    message_add(&message, VALUE_TYPE, type);
    message_add(&message, VALUE_UNIT, unit);
    pprof_message(output, field, &message);
}

/* The length of a packed field, in bytes. */
static size_t pprof_packed_bytes(const uint64_t *numbers, size_t count) {
    uint8_t bytes[VARINT_BYTES_MAX];
    size_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += varint_put(bytes, numbers[i]);
    return sum;
}

static void message_add_packed(struct message *message, uint32_t field, const uint64_t *numbers,
                               size_t count) {
    message_add_varint(message, field << WIRE_TYPE_BITS | WIRE_BYTES);
    message_add_varint(message, pprof_packed_bytes(numbers, count));
    for (size_t i = 0; i < count; i++)
        message_add_varint(message, numbers[i]);
}

static void pprof_sample(const struct hk_snapshot *snapshot, struct hk_output *output,
                         const struct hk_row *row) {
    struct message message;
    uint64_t locations[HK_STACK_FRAMES];
    message.used = 0;
    for (uint32_t i = 0; i < row->depth; i++)
        locations[i] = hk_snapshot_location(snapshot, row->frames[i]) + 1;
    message_add_packed(&message, SAMPLE_LOCATION, locations, row->depth);
    message_add_packed(&message, SAMPLE_VALUE, row->values, HK_VALUES);
    pprof_message(output, PROFILE_SAMPLE, &message);
}

static void pprof_mapping(const struct hk_snapshot *snapshot, struct hk_output *output, size_t i) {
    const struct hk_os_module *module = &snapshot->modules[i];
    struct message message = {0};
    message_add(&message, MAPPING_ID, i + 1);
    message_add(&message, MAPPING_START, module->start);
    message_add(&message, MAPPING_LIMIT, module->end);
    message_add(&message, MAPPING_OFFSET, module->offset);
    message_add(&message, MAPPING_FILE, STRING_MODULES + 2 * i);
    message_add(&message, MAPPING_BUILD_ID, STRING_MODULES + 2 * i + 1);
    pprof_message(output, PROFILE_MAPPING, &message);
}

static void pprof_location(const struct hk_snapshot *snapshot, struct hk_output *output, size_t i) {
    const struct hk_os_module *module = hk_snapshot_module(snapshot, snapshot->locations[i]);
    struct message message = {0};
    message_add(&message, LOCATION_ID, i + 1);
    if (module != NULL)
        message_add(&message, LOCATION_MAPPING, (size_t)(module - snapshot->modules) + 1);
    message_add(&message, LOCATION_ADDRESS, snapshot->locations[i]);
    pprof_message(output, PROFILE_LOCATION, &message);
}

static void pprof_string(struct hk_output *output, const char *text) {
    pprof_bytes(output, PROFILE_STRING, text, strlen(text));
}

static void pprof_all_strings(const struct hk_snapshot *snapshot, struct hk_output *output) {
    for (size_t i = 0; i < STRING_MODULES; i++)
        pprof_string(output, pprof_strings[i]);
    for (size_t i = 0; i < snapshot->module_count; i++) {
        char build_id[HK_BUILD_ID_TEXT];
        hk_build_id_print(&snapshot->modules[i], build_id);
        pprof_string(output, snapshot->modules[i].name);
        pprof_string(output, build_id);
    }
}

void hk_pprof_write(struct hk_snapshot *snapshot, struct hk_output *output) {
    enum { NS_PER_MS = 1000000 };
    hk_snapshot_locate(snapshot);

    for (size_t i = 0; i < HK_VALUES; i++)
        pprof_type(output, PROFILE_SAMPLE_TYPE, pprof_types[i][0], pprof_types[i][1]);
    for (size_t i = 0; i < snapshot->row_count; i++)
        pprof_sample(snapshot, output, &snapshot->rows[i]);
    for (size_t i = 0; i < snapshot->module_count; i++)
        pprof_mapping(snapshot, output, i);
    for (size_t i = 0; i < snapshot->location_count; i++)
        pprof_location(snapshot, output, i);
    pprof_all_strings(snapshot, output);

    pprof_field(output, PROFILE_TIME_NS, snapshot->times.calendar_ns);
    pprof_field(output, PROFILE_DURATION_NS, snapshot->times.duration_ms * NS_PER_MS);
    pprof_type(output, PROFILE_PERIOD_TYPE, STRING_SPACE, STRING_BYTES);
    pprof_field(output, PROFILE_PERIOD, snapshot->times.mean);
    pprof_field(output, PROFILE_DEFAULT_TYPE, STRING_INUSE_SPACE);
    hk_output_flush(output);
}
