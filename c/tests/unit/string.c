/* unit/string.c - the core's own functions of string.h do the same as those of libc.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "test.h"

#include <string.h>

void *hk_memcpy(void *to, const void *from, size_t bytes);
void *hk_memmove(void *to, const void *from, size_t bytes);
void *hk_memset(void *to, int value, size_t bytes);
int hk_memcmp(const void *a, const void *b, size_t bytes);
void *hk_memchr(const void *from, int value, size_t bytes);
size_t hk_strnlen(const char *text, size_t most);
int hk_strncmp(const char *a, const char *b, size_t most);
char *hk_strchr(const char *text, int value);
char *hk_strrchr(const char *text, int value);
char *hk_strstr(const char *text, const char *part);
size_t hk_strspn(const char *text, const char *set);
size_t hk_strcspn(const char *text, const char *set);

enum { ROOM = 300, MOST = 100 };

static void fill(char *to) {
    for (int i = 0; i < ROOM; i++)
        to[i] = (char)(i * 7 + 1);
}

TEST(copies_of_every_length_and_distance_are_those_of_libc) {
    static char ours[ROOM], theirs[ROOM];
    for (size_t bytes = 0; bytes < MOST; bytes++) {
        for (size_t from = 0; from < MOST; from += 1 + from / 9) {
            fill(ours);
            fill(theirs);
            CHECK(hk_memmove(ours + 50, ours + from, bytes) == ours + 50);
            memmove(theirs + 50, theirs + from, bytes);
            CHECK(memcmp(ours, theirs, ROOM) == 0);
        }

        CHECK(hk_memcpy(ours + 1, theirs + 150, bytes) == ours + 1);
        memcpy(theirs + 1, theirs + 150, bytes);
        CHECK(memcmp(ours, theirs, ROOM) == 0);
        CHECK(hk_memset(ours + 3, 0x1a5, bytes) == ours + 3);
        memset(theirs + 3, 0x1a5, bytes);
        CHECK(memcmp(ours, theirs, ROOM) == 0);
    }
}

static int sign(int value) { return (value > 0) - (value < 0); }

TEST(comparisons_are_those_of_libc) {
    static const char *const texts[] = {"", "a", "ab", "abc", "abd", "\xff", "a\xff", "b"};
    for (size_t i = 0; i < TEST_COUNT(texts); i++) {
        for (size_t k = 0; k < TEST_COUNT(texts); k++) {
            for (size_t most = 0; most < 5; most++)
                CHECK_EQ(sign(hk_strncmp(texts[i], texts[k], most)),
                         sign(strncmp(texts[i], texts[k], most)));
            CHECK_EQ(sign(hk_memcmp(texts[i], texts[k], 1)), sign(memcmp(texts[i], texts[k], 1)));
            CHECK(hk_strstr(texts[i], texts[k]) == strstr(texts[i], texts[k]));
        }
    }
}

TEST(searches_are_those_of_libc) {
    static const char text[] = "0::/system.slice,a=b\xff";
    static const char *const sets[] = {"", ":", "0:", ",=", "\xff", "0123456789"};
    for (int letter = 0; letter < 256; letter++) {
        CHECK(hk_strchr(text, letter) == strchr(text, letter));
        CHECK(hk_strrchr(text, letter) == strrchr(text, letter));
        for (size_t bytes = 0; bytes < sizeof text; bytes++)
            CHECK(hk_memchr(text, letter, bytes) == memchr(text, letter, bytes));
    }

    for (size_t i = 0; i < TEST_COUNT(sets); i++) {
        CHECK_EQ(hk_strspn(text, sets[i]), strspn(text, sets[i]));
        CHECK_EQ(hk_strcspn(text, sets[i]), strcspn(text, sets[i]));
        CHECK_EQ(hk_strnlen(text, i), strnlen(text, i));
    }
}
