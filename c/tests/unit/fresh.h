/* unit/fresh.h - tests that each start with an unused core.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *     TEST_FRESH(first_block_comes_from_first_chunk) { ... }
 *
 * Such a test runs in a forked child, so that it has no effect on later tests. The test fails if it
 * leaves text on standard error, that is, does not take it with fake_os_take_errors.
 */
#ifndef UNIT_FRESH_H
#define UNIT_FRESH_H

#include "../fake_os.h"
#include "../test.h"

#define TEST_FRESH(name_)                                                                          \
    static void fresh_##name_(void);                                                               \
    static void fresh_child_##name_(void *unused) {                                                \
        (void)unused;                                                                              \
        fresh_##name_();                                                                           \
        CHECK_STR(fake_os_take_errors(), "");                                                      \
    }                                                                                              \
    TEST(name_) {                                                                                  \
        struct test_child child = test_in_child(fresh_child_##name_, NULL);                        \
        CHECK_EXITED(child);                                                                       \
    }                                                                                              \
    static void fresh_##name_(void)

#endif
