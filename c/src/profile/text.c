/* profile/text.c - profiles as text. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "text.h"

#include "../base/string.h"

enum { TEXT_SITES = 20, TEXT_COLUMN = 14 };

static const char *text_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Writes "module+0x1234", with the address in the file of the module, as addr2line expects it. */
static void text_place(const struct hk_snapshot *snapshot, struct hk_output *output,
                       uintptr_t address) {
    const struct hk_os_module *module = hk_snapshot_module(snapshot, address);
    if (module == NULL) {
        hk_output_hex(output, address);
        return;
    }
    hk_output_text(output, text_base_name(module->name));
    hk_output_text(output, "+");
    hk_output_hex(output, address - module->base);
}

/* ---- Collapsed stacks ------------------------------------------------------------------------ */

static void text_collapsed_row(const struct hk_snapshot *snapshot, struct hk_output *output,
                               const struct hk_row *row) {
    for (uint32_t i = row->depth; i-- > 0;) {
        const char *symbol = hk_os_symbol(row->frames[i]);
        if (symbol != NULL)
            hk_output_text(output, symbol);
        else
            text_place(snapshot, output, row->frames[i]);
        hk_output_text(output, i > 0 ? ";" : " ");
    }
    hk_output_number(output, row->values[HK_VALUE_INUSE_SPACE]);
    hk_output_text(output, "\n");
}

void hk_text_write_collapsed(struct hk_snapshot *snapshot, struct hk_output *output) {
    for (size_t i = 0; i < snapshot->row_count; i++) {
        if (snapshot->rows[i].values[HK_VALUE_INUSE_SPACE] > 0)
            text_collapsed_row(snapshot, output, &snapshot->rows[i]);
    }
    hk_output_flush(output);
}

/* ---- Sites ----------------------------------------------------------------------------------- */

static void text_frames(const struct hk_snapshot *snapshot, struct hk_output *output,
                        const struct hk_row *row) {
    for (uint32_t i = 0; i < row->depth; i++) {
        const char *symbol = hk_os_symbol(row->frames[i]);
        hk_output_text(output, "    ");
        if (symbol != NULL) {
            hk_output_text(output, symbol);
            hk_output_text(output, " ");
        }
        text_place(snapshot, output, row->frames[i]);
        hk_output_text(output, "\n");
    }
}

static void text_total(const struct hk_snapshot *snapshot, struct hk_output *output) {
    static const char *const words[HK_VALUES] = {
        [HK_VALUE_ALLOC_OBJECTS] = " blocks allocated, ",
        [HK_VALUE_ALLOC_SPACE] = " bytes allocated\n",
        [HK_VALUE_INUSE_OBJECTS] = " blocks in use, ",
        [HK_VALUE_INUSE_SPACE] = " bytes in use; ",
    };
    static const enum hk_value order[HK_VALUES] = {HK_VALUE_INUSE_OBJECTS, HK_VALUE_INUSE_SPACE,
                                                   HK_VALUE_ALLOC_OBJECTS, HK_VALUE_ALLOC_SPACE};

    hk_output_text(output, "heap profile, one sample per ");
    hk_output_number(output, snapshot->times.mean);
    hk_output_text(output, " bytes: ");
    for (size_t i = 0; i < HK_VALUES; i++) {
        uint64_t sum = 0;
        for (size_t row = 0; row < snapshot->row_count; row++)
            sum += snapshot->rows[row].values[order[i]];
        hk_output_number(output, sum);
        hk_output_text(output, words[order[i]]);
    }
}

void hk_text_write_sites(struct hk_snapshot *snapshot, struct hk_output *output) {
    static const enum hk_value columns[HK_VALUES] = {HK_VALUE_INUSE_SPACE, HK_VALUE_INUSE_OBJECTS,
                                                     HK_VALUE_ALLOC_SPACE, HK_VALUE_ALLOC_OBJECTS};
    hk_snapshot_sort(snapshot, HK_VALUE_INUSE_SPACE);
    text_total(snapshot, output);
    hk_output_text(output, "  bytes in use blocks in use  bytes in all blocks in all\n");

    for (size_t i = 0; i < snapshot->row_count && i < TEXT_SITES; i++) {
        for (size_t k = 0; k < HK_VALUES; k++)
            hk_output_column(output, snapshot->rows[i].values[columns[k]], TEXT_COLUMN);
        hk_output_text(output, "\n");
        text_frames(snapshot, output, &snapshot->rows[i]);
    }
    hk_output_flush(output);
}

/* ---- Live blocks ----------------------------------------------------------------------------- */

static void text_modules(const struct hk_snapshot *snapshot, struct hk_output *output) {
    for (size_t i = 0; i < snapshot->module_count; i++) {
        char build_id[HK_BUILD_ID_TEXT];
        hk_build_id_print(&snapshot->modules[i], build_id);
        hk_output_text(output, "module ");
        hk_output_text(output, text_base_name(snapshot->modules[i].name));
        hk_output_text(output, " build-id ");
        hk_output_text(output, build_id[0] != 0 ? build_id : "unknown");
        hk_output_text(output, " ");
        hk_output_text(output, snapshot->modules[i].name);
        hk_output_text(output, "\n");
    }
}

void hk_text_write_leaks(struct hk_snapshot *snapshot, struct hk_output *output) {
    hk_snapshot_sort(snapshot, HK_VALUE_INUSE_SPACE);
    text_total(snapshot, output);
    for (size_t i = 0; i < snapshot->row_count; i++) {
        const struct hk_row *row = &snapshot->rows[i];
        if (row->values[HK_VALUE_INUSE_OBJECTS] == 0)
            break;
        hk_output_number(output, row->values[HK_VALUE_INUSE_SPACE]);
        hk_output_text(output, " bytes in ");
        hk_output_number(output, row->values[HK_VALUE_INUSE_OBJECTS]);
        hk_output_text(output, " blocks\n");
        text_frames(snapshot, output, row);
    }
    text_modules(snapshot, output);
    hk_output_flush(output);
}
