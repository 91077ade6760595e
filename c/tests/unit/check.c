/* unit/check.c - lines of text, failed assertions, reports of bad pointers.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "core/error.h"
#include "core/options.h"
#include "fresh.h"
#include "os/check.h"

/* Returns the addition of one call to a text of `bytes` bytes that already contains "ab". */
#define ADDED(bytes, call)                                                                         \
    __extension__({                                                                                \
        static char line[128];                                                                     \
        struct hk_text text = {line, line + (bytes)};                                              \
        memset(line, '#', sizeof line);                                                            \
        hk_text_add(&text, "ab");                                                                  \
        call;                                                                                      \
        CHECK(text.at <= text.end);                                                                \
        CHECK_EQ(line[bytes], '#');                                                                \
        *text.at = 0;                                                                              \
        (const char *)line;                                                                        \
    })

TEST(text_is_appended_and_cut_off_at_the_end) {
    CHECK_STR(ADDED(10, hk_text_add(&text, "cde")), "abcde");
    CHECK_STR(ADDED(5, hk_text_add(&text, "cde")), "abcde");
    CHECK_STR(ADDED(4, hk_text_add(&text, "cde")), "abcd");
    CHECK_STR(ADDED(2, hk_text_add(&text, "cde")), "ab");
    CHECK_STR(ADDED(1, hk_text_add(&text, "cde")), "a");
    CHECK_STR(ADDED(10, hk_text_add(&text, "")), "ab");
    CHECK_STR(ADDED(10, hk_text_add_bytes(&text, "cde", 2)), "abcd");
}

TEST(numbers_are_decimal_and_complete) {
    CHECK_STR(ADDED(30, hk_text_add_number(&text, 0)), "ab0");
    CHECK_STR(ADDED(30, hk_text_add_number(&text, 9)), "ab9");
    CHECK_STR(ADDED(30, hk_text_add_number(&text, 10)), "ab10");
    CHECK_STR(ADDED(30, hk_text_add_number(&text, UINT64_MAX)), "ab18446744073709551615");
    CHECK_STR(ADDED(5, hk_text_add_number(&text, 123456)), "ab123");
}

TEST(pointers_are_hexadecimal) {
    CHECK_STR(ADDED(30, hk_text_add_pointer(&text, NULL)), "ab0x0");
    CHECK_STR(ADDED(30, hk_text_add_pointer(&text, (void *)0x7f00deadbeefu)), "ab0x7f00deadbeef");
    CHECK_STR(ADDED(30, hk_text_add_pointer(&text, (void *)UINTPTR_MAX)), "ab0xffffffffffffffff");
}

TEST_FRESH(a_failed_assertion_names_file_line_and_condition) {
    CHECK(!FAKE_OS_ABORTS(hk_assert(1 + 1 == 2)));
    CHECK(FAKE_OS_ABORTS(hk_assert_failed("1 + 1 == 3", "box.c", 42)));
    CHECK_STR(fake_os_take_errors(), "hakmem: internal error: box.c:42: 1 + 1 == 3\n");
}

TEST_FRESH(a_line_that_is_too_long_still_ends_in_a_newline) {
    char words[1000];
    memset(words, 'x', sizeof words - 1);
    words[sizeof words - 1] = 0;
    CHECK(FAKE_OS_ABORTS(hk_assert_failed(words, "box.c", 42)));
    const char *line = fake_os_take_errors();
    CHECK(strlen(line) < sizeof words);
    CHECK_EQ(line[strlen(line) - 1], '\n');
    CHECK(FAKE_OS_ABORTS(hk_bad_pointer(words, NULL, words)));
    line = fake_os_take_errors();
    CHECK_EQ(line[strlen(line) - 1], '\n');
    CHECK_EQ(strchr(line, '\n') - line, strlen(line) - 1);
}

TEST_FRESH(a_bad_pointer_is_reported_in_one_line_and_aborts) {
    CHECK(FAKE_OS_ABORTS(hk_bad_pointer("free", (void *)0x1234, HK_CAUSE_INSIDE)));
    CHECK_STR(fake_os_take_errors(), "hakmem: free(): 0x1234: inside a block, not its start\n");
    CHECK_EQ(hk_errors, 1);
}

TEST_FRESH(with_on_error_continue_a_bad_pointer_is_only_reported) {
    CHECK_EQ(hk_option_set("on_error", "continue"), 0);
    CHECK(!FAKE_OS_ABORTS(hk_bad_pointer("realloc", NULL, HK_CAUSE_FREE)));
    CHECK_STR(fake_os_take_errors(), "hakmem: realloc(): 0x0: already free (double free)\n");
    CHECK_EQ(hk_errors, 1);
}
