/* profile/profile.h - reading heap profiles in tests.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef TEST_PROFILE_H
#define TEST_PROFILE_H

#include <hakmem.h>

#include "../test.h"

enum { PROFILE_TEXT_BYTES = 1 << 22 };

struct profile_text {
    size_t bytes;
    char text[PROFILE_TEXT_BYTES];
};

static struct profile_text profile_text;

static TEST_UNUSED void profile_take(void *arg, const char *text, size_t bytes) {
    struct profile_text *to = (struct profile_text *)arg;
    REQUIRE(to->bytes + bytes < sizeof to->text);
    memcpy(to->text + to->bytes, text, bytes);
    to->bytes += bytes;
    to->text[to->bytes] = 0;
}

/* The profile in the given format, as text that is valid until the next call. */
static TEST_UNUSED const char *profile_write(enum hak_profile_format format) {
    profile_text.bytes = 0;
    profile_text.text[0] = 0;
    CHECK_EQ(hak_profile_write(format, profile_take, &profile_text), 0);
    return profile_text.text;
}

/* The bytes in use of all stacks with `frame`, or of all stacks if it is NULL. */
static TEST_UNUSED uint64_t profile_in_use(const char *frame) {
    char *line = (char *)(uintptr_t)profile_write(HAK_PROFILE_COLLAPSED);
    uint64_t sum = 0;
    while (*line != 0) {
        char *end = strchr(line, '\n');
        *end = 0;
        if (frame == TEST_NULL || strstr(line, frame) != TEST_NULL)
            sum += strtoull(strrchr(line, ' ') + 1, TEST_NULL, 10);
        line = end + 1;
    }
    return sum;
}

static TEST_UNUSED void profile_start(uint64_t rate) {
    struct hak_profile_options options = {0, 0};
    options.rate = rate;
    CHECK_EQ(hak_profile_start(&options, sizeof options), 0);
}

#endif
