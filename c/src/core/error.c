/* core/error.c - the program's mistakes. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "error.h"

#include "../os/check.h"
#include "../os/lock.h"
#include "../os/os.h"
#include "options.h"

enum { ERROR_LINE_BYTES = 256 };

uint64_t hk_errors;

static void error_print(const char *function, const void *pointer, const char *cause) {
    char line[ERROR_LINE_BYTES];
    struct hk_text text = {line, line + sizeof line - 1};

    hk_text_add(&text, "hakmem: ");
    hk_text_add(&text, function);
    hk_text_add(&text, "(): ");
    hk_text_add_pointer(&text, pointer);
    hk_text_add(&text, ": ");
    hk_text_add(&text, cause);
    *text.at++ = '\n';

    hk_os_write_error(line, (size_t)(text.at - line));
}

void hk_bad_pointer(const char *function, const void *pointer, const char *cause) {
    hk_bad_pointer_with(function, pointer, cause, NULL);
}

void hk_bad_pointer_with(const char *function, const void *pointer, const char *cause,
                         void (*print_more)(const void *pointer)) {
    enum { ON_ERROR_ABORT = 0 };
    if (HK_DEBUG)
        hk_lock_note_none_held();

    error_print(function, pointer, cause);
    if (print_more != NULL)
        print_more(pointer);

    hk_stat_add(&hk_errors, 1);
    if (hk_option(HK_OPTION_on_error) == ON_ERROR_ABORT)
        hk_os_abort();
}

void hk_mistakes_add(struct hk_mistakes *mistakes, const void *pointer, const char *cause) {
    uint32_t at = mistakes->count++;
    if (at >= HK_MISTAKES_MAX)
        return;
    mistakes->pointers[at] = pointer;
    mistakes->causes[at] = cause;
}

void hk_mistakes_report(const char *function, const struct hk_mistakes *mistakes) {
    for (uint32_t i = 0; i < mistakes->count && i < HK_MISTAKES_MAX; i++)
        hk_bad_pointer(function, mistakes->pointers[i], mistakes->causes[i]);
    if (mistakes->count > HK_MISTAKES_MAX)
        hk_stat_add(&hk_errors, mistakes->count - HK_MISTAKES_MAX);
}
