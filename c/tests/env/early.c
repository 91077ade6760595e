/* env/early.c - options apply even if memory is allocated before `environ` is set.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_CHECKS=1 HAKMEM_HEAPS=3 HAKMEM_LARGE_CACHE_MB=7 HAKMEM_LIMIT_SOFT=1.5G
#include "test.h"

#include <hakmem.h>

extern char **environ;

/* Runs before the library's constructor, and may be the first allocation. */
__attribute__((constructor(101))) static void allocate_without_environ(void) {
    char **saved = environ;
    environ = NULL;
    free(HIDE(malloc(10)));
    environ = saved;
}

static const char *option(const char *name) {
    static char value[32];
    return hak_option_get(name, value, sizeof value) == 0 ? value : "none";
}

TEST(all_options_of_the_environment_apply) {
    CHECK_STR(option("checks"), "1");
    CHECK_STR(option("heaps"), "3");
    CHECK_STR(option("large_cache_mb"), "7");
    CHECK_STR(option("limit_soft"), "1610612736");
}

TEST(the_options_are_in_effect) {
    struct hak_stats stats;
    for (size_t i = 0; i < 1000; i++)
        free(HIDE(malloc(100)));
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(stats.bytes_cached, 0);
    CHECK_EQ(stats.limit_soft, 1610612736);
}
