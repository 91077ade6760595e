/* os/check.c - assertions, text. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "check.h"

#include "../base/string.h"
#include "os.h"

enum { CHECK_LINE_BYTES = 256 };

void hk_text_add_bytes(struct hk_text *text, const char *words, size_t bytes) {
    size_t room = (size_t)(text->end - text->at);
    bytes = bytes < room ? bytes : room;
    memcpy(text->at, words, bytes);
    text->at += bytes;
}

void hk_text_add(struct hk_text *text, const char *words) {
    hk_text_add_bytes(text, words, strlen(words));
}

static void text_add_digits(struct hk_text *text, uint64_t number, unsigned base) {
    char digits[20];
    char *at = digits + sizeof digits;
    do {
        *--at = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    hk_text_add_bytes(text, at, (size_t)(digits + sizeof digits - at));
}

void hk_text_add_number(struct hk_text *text, uint64_t number) {
    text_add_digits(text, number, 10);
}

void hk_text_add_pointer(struct hk_text *text, const void *pointer) {
    hk_text_add(text, "0x");
    text_add_digits(text, (uintptr_t)pointer, 16);
}

void hk_assert_failed(const char *condition, const char *file, int line_number) {
    char line[CHECK_LINE_BYTES];
    struct hk_text text = {line, line + sizeof line - 1};

    hk_text_add(&text, "hakmem: internal error: ");
    hk_text_add(&text, file);
    hk_text_add(&text, ":");
    hk_text_add_number(&text, (uint64_t)line_number);
    hk_text_add(&text, ": ");
    hk_text_add(&text, condition);
    *text.at++ = '\n';

    hk_os_write_error(line, (size_t)(text.at - line));
    hk_os_abort();
}
