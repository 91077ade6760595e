/* profile/output.c - buffered output. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "output.h"

#include "../base/string.h"

enum { OUTPUT_NUMBER_BYTES = 24 };

void hk_output_flush(struct hk_output *output) {
    size_t used = output->used;
    output->used = 0;
    if (used > 0)
        output->write(output->arg, output->buffer, used);
}

void hk_output_bytes(struct hk_output *output, const void *bytes, size_t count) {
    const char *from = bytes;
    while (count > 0) {
        size_t room = sizeof output->buffer - output->used;
        size_t piece = count < room ? count : room;
        memcpy(output->buffer + output->used, from, piece);
        output->used += piece;
        from += piece;
        count -= piece;
        if (output->used == sizeof output->buffer)
            hk_output_flush(output);
    }
}

void hk_output_text(struct hk_output *output, const char *text) {
    hk_output_bytes(output, text, strlen(text));
}

void hk_output_number(struct hk_output *output, uint64_t number) {
    char digits[OUTPUT_NUMBER_BYTES];
    struct hk_text text = {digits, digits + sizeof digits};
    hk_text_add_number(&text, number);
    hk_output_bytes(output, digits, (size_t)(text.at - digits));
}

void hk_output_hex(struct hk_output *output, uint64_t number) {
    char digits[OUTPUT_NUMBER_BYTES];
    struct hk_text text = {digits, digits + sizeof digits};
    hk_text_add_pointer(&text, (const void *)(uintptr_t)number);
    hk_output_bytes(output, digits, (size_t)(text.at - digits));
}

void hk_output_column(struct hk_output *output, uint64_t number, unsigned width) {
    unsigned digits = 1;
    for (uint64_t n = number; n >= 10; n /= 10)
        digits++;
    for (; digits < width; digits++)
        hk_output_text(output, " ");
    hk_output_number(output, number);
}
