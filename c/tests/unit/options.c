/* unit/options.c - sources of options, and errors in options.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "core/options.h"

#include <hakmem.h>

#include "fresh.h"
#include "thread/slow.h"
#include "thread/thread.h"
#include "thread/threads.h"

const char *hak_conf;

static uint64_t fallback(enum hk_option option) {
    static const uint64_t fallbacks[] = {
#define OPTION(name, fallback, ...) fallback,
#include "core/options.def"
#undef OPTION
    };
    return fallbacks[option];
}

/* Reads hak_conf and an environment with these entries. */
#define READ(conf, ...)                                                                            \
    do {                                                                                           \
        char *environment[] = {__VA_ARGS__};                                                       \
        hak_conf = (conf);                                                                         \
        fake_os.environment = environment;                                                         \
        hk_options_read();                                                                         \
        fake_os.environment = NULL;                                                                \
    } while (0)

TEST_FRESH(without_settings_every_option_has_its_default) {
    READ(NULL, "PATH=/bin", "HAKMEMX=1", "hakmem_heaps=7", NULL);
    for (int i = 0; i < HK_OPTION_COUNT; i++)
        CHECK_EQ(hk_option(i), fallback(i));
}

TEST_FRESH(the_environment_sets_numbers_and_choices) {
    READ(NULL, "HAKMEM_HEAPS=7", "HAKMEM_PREWARM=adaptive", "HAKMEM_ON_ERROR=continue",
         "HAKMEM_POOL_TLS_ARENA_MB_INIT=64", "OTHER=1", "HAKMEM_PURGE_DELAY_MS=0", NULL);
    CHECK_EQ(hk_option(HK_OPTION_heaps), 7);
    CHECK_EQ(hk_option(HK_OPTION_prewarm), HAK_PREWARM_ADAPTIVE);
    CHECK_EQ(hk_option(HK_OPTION_on_error), 1);
    CHECK_EQ(hk_option(HK_OPTION_pool_tls_arena_mb_init), 64);
    CHECK_EQ(hk_option(HK_OPTION_purge_delay_ms), 0);
    CHECK_EQ(hk_option(HK_OPTION_large_cache_mb), fallback(HK_OPTION_large_cache_mb));
}

TEST_FRESH(a_text_has_at_most_255_bytes_and_replaces_the_default) {
    char value[256], longest[300] = "HAKMEM_PROFILE_FILE=", too_long[300] = "HAKMEM_PROFILE_FILE=";
    CHECK_EQ(hak_option_get("profile_file", value, sizeof value), 0);
    CHECK_STR(value, "heap.%p.%n.pb");
    CHECK_EQ(hak_option_get("profile_file", value, sizeof "heap.%p.%n.pb" - 1), ERANGE);
    size_t at = strlen(longest);
    memset(longest + at, 'a', 255);
    memset(too_long + at, 'b', 256);

    READ(NULL, longest, NULL);
    CHECK_STR(hk_option_text(HK_OPTION_profile_file), longest + at);
    CHECK_EQ(hak_option_get("profile_file", value, sizeof value), 0);
    CHECK_STR(value, longest + at);
    CHECK_EQ(hak_option_get("profile_file", value, sizeof value - 1), ERANGE);
    CHECK_EQ(hak_option_set("profile_file", "other"), EBUSY);

    READ(NULL, too_long, NULL);
    CHECK_STR(hk_option_text(HK_OPTION_profile_file), longest + at);
    CHECK_CONTAINS(fake_os_take_errors(), "not a text of at most 255 bytes; ");
    READ(NULL, "HAKMEM_PROFILE_FILE=", "HAKMEM_PROFILE_FILE", NULL);
    CHECK_STR(hk_option_text(HK_OPTION_profile_file), longest + at);
    CHECK_CONTAINS(fake_os_take_errors(), "not a text of at most 255 bytes; ");
}

TEST_FRESH(hak_conf_sets_options_and_the_environment_overrides_it) {
    READ("heaps=3,,stats=1 prewarm=tiny,", "HAKMEM_HEAPS=5", NULL);
    CHECK_EQ(hk_option(HK_OPTION_heaps), 5);
    CHECK_EQ(hk_option(HK_OPTION_stats), 1);
    CHECK_EQ(hk_option(HK_OPTION_prewarm), HAK_PREWARM_TINY);
}

TEST_FRESH(without_a_trusted_environment_hak_conf_still_counts) {
    hak_conf = "heaps=3";
    fake_os.environment = NULL;
    hk_options_read();
    CHECK_EQ(hk_option(HK_OPTION_heaps), 3);
}

TEST_FRESH(a_number_that_does_not_parse_warns_once_and_leaves_the_default) {
    /* clang-format off */
    static const char *const values[] = {
        "", "x", "12x", "-1", "+1", " 1", "1 ", "0x10", "1.5", "257", "18446744073709551616",
        "99999999999999999999999",
    };
    /* clang-format on */
    for (size_t i = 0; i < TEST_COUNT(values); i++) {
        char entry[64], line[160];
        snprintf(entry, sizeof entry, "HAKMEM_HEAPS=%s", values[i]);
        snprintf(line, sizeof line, "hakmem: %s: not a number from 0 to 256; 0 is used\n", entry);
        AT("value", i);
        READ(NULL, entry, NULL);
        CHECK_STR(fake_os_take_errors(), line);
        CHECK_EQ(hk_option(HK_OPTION_heaps), 0);
    }
}

TEST_FRESH(a_number_at_its_limits_is_taken_and_beyond_them_is_not) {
    READ(NULL, "HAKMEM_HEAPS=256", "HAKMEM_POOL_TLS_ARENA_MB_MAX=1", NULL);
    CHECK_EQ(hk_option(HK_OPTION_heaps), 256);
    CHECK_EQ(hk_option(HK_OPTION_pool_tls_arena_mb_max), 1);
    READ(NULL, "HAKMEM_HEAPS=257", "HAKMEM_POOL_TLS_ARENA_MB_MAX=0", NULL);
    CHECK_EQ(hk_option(HK_OPTION_heaps), 256);
    CHECK_EQ(hk_option(HK_OPTION_pool_tls_arena_mb_max), 1);
    CHECK_STR(fake_os_take_errors(),
              "hakmem: HAKMEM_HEAPS=257: not a number from 0 to 256; 256 is used\n"
              "hakmem: HAKMEM_POOL_TLS_ARENA_MB_MAX=0: not a number from 1 to 64; 1 is used\n");
}

TEST_FRESH(a_choice_is_a_whole_word_of_the_list) {
    static char *const entries[] = {"HAKMEM_PREWARM=",     "HAKMEM_PREWARM=al",
                                    "HAKMEM_PREWARM=alll", "HAKMEM_PREWARM=tiny|pool",
                                    "HAKMEM_PREWARM=1",    "HAKMEM_PREWARM=ALL"};
    for (size_t i = 0; i < TEST_COUNT(entries); i++) {
        char line[160];
        snprintf(line, sizeof line,
                 "hakmem: %s: not one of off|tiny|pool|all|adaptive; off is used\n", entries[i]);
        READ(NULL, entries[i], NULL);
        CHECK_STR(fake_os_take_errors(), line);
        CHECK_EQ(hk_option(HK_OPTION_prewarm), HAK_PREWARM_OFF);
    }
}

TEST_FRESH(a_limit_is_bytes_or_per_cent_of_the_memory_of_the_process) {
    fake_os.memory_limit = 1000000;
    READ(NULL, "HAKMEM_LIMIT_SOFT=80%", "HAKMEM_LIMIT_HARD=900001", NULL);
    CHECK_EQ(hk_option(HK_OPTION_limit_soft), 800000);
    CHECK_EQ(hk_option(HK_OPTION_limit_hard), 900001);
    char value[32];
    CHECK_EQ(hk_option_get("limit_soft", value, sizeof value), 0);
    CHECK_STR(value, "800000");
    static const char *const wrong[] = {
        "", "%", "101%", "-1%", "80%%", "8 %", "9223372036854775808"};
    for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
        AT("wrong", i);
        CHECK_EQ(hk_option_set("limit_soft", wrong[i]), EINVAL);
    }
    CHECK_EQ(hk_option_set("limit_soft", "100%"), 0);
    CHECK_EQ(hk_option(HK_OPTION_limit_soft), 1000000);
    fake_os.memory_limit = 0;
    CHECK_EQ(hk_option_set("limit_soft", "80%"), 0);
    CHECK_EQ(hk_option(HK_OPTION_limit_soft), 0);
    CHECK_CONTAINS(fake_os_take_errors(), "hakmem: 80%: no control group limits the memory");
    READ(NULL, "HAKMEM_LIMIT_HARD=lots", NULL);
    CHECK_CONTAINS(fake_os_take_errors(), "hakmem: HAKMEM_LIMIT_HARD=lots: not a number of bytes");
}

TEST_FRESH(a_limit_may_have_a_unit_and_a_fraction) {
    static const struct {
        const char *text;
        uint64_t bytes;
    } right[] = {
        {"200M", 200 << 20},
        {"200m", 200 << 20},
        {"200MB", 200 << 20},
        {"200MiB", 200 << 20},
        {"64KiB", 64 << 10},
        {"1k", 1024},
        {"1.5G", 3 << 29},
        {"0.000001T", 1099511},
        {"2.25kib", 2304},
        {"7T", (uint64_t)7 << 40},
        {"0M", 0},
        {"8388606T", (uint64_t)8388606 << 40},
    };
    static const char *const wrong[] = {
        "M",        ".5G",   "1.G", "1.5",  "1.5%",       "1G5",
        "1 G",      "1GiBs", "1Gi", "1MM",  "1.0000001G", "16777216T",
        "8388608T", "1e3",   "-1M", "1,5G", "5KK",        "99999999999999999999K"};
    for (size_t i = 0; i < TEST_COUNT(right); i++) {
        AT("right", i);
        CHECK_EQ(hk_option_set("limit_hard", right[i].text), 0);
        CHECK_EQ(hk_option(HK_OPTION_limit_hard), right[i].bytes);
    }
    for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
        AT("wrong", i);
        CHECK_EQ(hk_option_set("limit_hard", wrong[i]), EINVAL);
    }
}

TEST_FRESH(per_cent_without_a_limit_warns_in_the_first_process_of_a_tree) {
    READ(NULL, "HAKMEM_LIMIT_HARD=90%", NULL);
    CHECK_STR(fake_os_take_errors(), "hakmem: HAKMEM_LIMIT_HARD=90%: no control group limits the "
                                     "memory of this process; there is no limit\n");
    CHECK(fake_os.tree_is_marked);
    fake_os.memory_limit = 1000;
    READ(NULL, "HAKMEM_LIMIT_HARD=90%", NULL);
    CHECK_STR(fake_os_take_errors(), "");
}

TEST_FRESH(a_process_of_a_marked_tree_does_not_repeat_warnings) {
    fake_os.tree_is_marked = true;
    READ(NULL, "HAKMEM_LIMIT_HARD=90%", "HAKMEM_STAT=1", NULL);
    CHECK_STR(fake_os_take_errors(), "");
}

TEST_FRESH(a_name_within_two_letters_of_an_option_warns) {
    static char *const like[] = {"HAKMEM_STAT=1",    "HAKMEM_STATSS=1", "HAKMEM_HAEPS=1",
                                 "HAKMEM_HEAP=1",    "HAKMEM_CHCKS=1",  "HAKMEM_ONERROR=abort",
                                 "HAKMEM_PREWARN=1", "HAKMEM_limithard"};
    static char *const unlike[] = {"HAKMEM_DIR=/x",      "HAKMEM_HOME=1",  "HAKMEM_=1",
                                   "HAKMEM_TEST_SEED=1", "HAKMEM_VERSION", "HAKMEM_STATISTICS=1"};
    for (size_t i = 0; i < TEST_COUNT(like); i++) {
        AT("like", i);
        READ(NULL, like[i], NULL);
        CHECK_CONTAINS(fake_os_take_errors(), ": there is no such option; the nearest is ");
    }
    for (size_t i = 0; i < TEST_COUNT(unlike); i++) {
        AT("unlike", i);
        READ(NULL, unlike[i], NULL);
        CHECK_STR(fake_os_take_errors(), "");
    }
    READ(NULL, "HAKMEM_LARGE_CACHE_BM=1", NULL);
    CHECK_STR(fake_os_take_errors(), "hakmem: HAKMEM_LARGE_CACHE_BM: there is no such option; the "
                                     "nearest is large_cache_mb\n");
}

TEST_FRESH(an_option_without_a_value_or_without_a_row_warns) {
    READ("heap=1 heapss=1 =1 stats", "HAKMEM_HEAPS", "HAKMEM_=1", NULL);
    CHECK_STR(fake_os_take_errors(),
              "hakmem: heap: there is no such option\n"
              "hakmem: heapss: there is no such option\n"
              "hakmem: : there is no such option\n"
              "hakmem: stats: not a number from 0 to 1; 0 is used\n"
              "hakmem: HAKMEM_HEAPS: not a number from 0 to 256; 0 is used\n");
}

TEST_FRESH(a_long_entry_is_cut_off_in_its_warning) {
    char entry[600] = "HAKMEM_HEAPS=";
    memset(entry + strlen(entry), 'y', sizeof entry - strlen(entry) - 1);
    entry[sizeof entry - 1] = 0;
    READ(NULL, entry, NULL);
    const char *line = fake_os_take_errors();
    CHECK(strlen(line) < 256);
    CHECK_CONTAINS(line, "HAKMEM_HEAPS=yyy");
    CHECK_CONTAINS(line, "; 0 is used\n");
}

TEST_FRESH(setting_by_name_answers_with_what_is_wrong) {
    CHECK_EQ(hk_option_set("large_cache_mb", "5"), 0);
    CHECK_EQ(hk_option(HK_OPTION_large_cache_mb), 5);
    CHECK_EQ(hk_option_set("LARGE_cache_MB", "6"), 0);
    CHECK_EQ(hk_option(HK_OPTION_large_cache_mb), 6);
    CHECK_EQ(hk_option_set("no_such", "5"), ENOENT);
    CHECK_EQ(hk_option_set("", "5"), ENOENT);
    CHECK_EQ(hk_option_set("large_cache_mb", "five"), EINVAL);
    CHECK_EQ(hk_option_set("large_cache_mb", "1048577"), EINVAL);
    CHECK_EQ(hk_option_set("heaps", "5"), EBUSY);
    CHECK_EQ(hk_option_set("heaps", "five"), EINVAL);
    CHECK_EQ(hk_option(HK_OPTION_large_cache_mb), 6);
    CHECK_EQ(hk_option(HK_OPTION_heaps), 0);
}

TEST_FRESH(getting_by_name_prints_what_setting_would_take) {
    char value[32];
    CHECK_EQ(hk_option_set("prewarm", "pool"), 0);
    CHECK_EQ(hk_option_get("prewarm", value, sizeof value), 0);
    CHECK_STR(value, "pool");
    CHECK_EQ(hk_option_get("prewarm", value, 5), 0);
    CHECK_EQ(hk_option_get("prewarm", value, 4), ERANGE);
    CHECK_EQ(hk_option_get("prewarm", value, 0), ERANGE);
    CHECK_EQ(hk_option_get("prewar", value, sizeof value), ENOENT);
    CHECK_EQ(hk_option_get("purge_delay_ms", value, sizeof value), 0);
    CHECK_STR(value, "1000");
    for (int i = 0; i < HK_OPTION_COUNT; i++) {
        const char *name;
        CHECK(hk_option_describe(i, &name, value, sizeof value));
        int set = hk_option_set(name, value);
        CHECK(set == 0 || set == EBUSY);
    }
    const char *name;
    CHECK(!hk_option_describe(HK_OPTION_COUNT, &name, value, sizeof value));
}

TEST_FRESH(the_first_call_of_the_process_reads_the_environment) {
    char *environment[] = {"HAKMEM_HEAPS=9", NULL};
    fake_os.environment = environment;
    hak_free(hak_malloc(1));
    CHECK_EQ(hk_option(HK_OPTION_heaps), 9);
    CHECK_EQ(hak_option_set("stats", "0"), 0);
}

TEST_FRESH(an_environment_that_comes_late_is_read_when_it_is_there) {
    char *environment[] = {"HAKMEM_LARGE_CACHE_MB=9", NULL};
    fake_os.environment_is_early = true;
    hak_free(hak_malloc(1));
    CHECK_EQ(hk_option(HK_OPTION_large_cache_mb), fallback(HK_OPTION_large_cache_mb));
    fake_os.environment_is_early = false;
    fake_os.environment = environment;
    hk_thread_start_late();
    CHECK_EQ(hk_option(HK_OPTION_large_cache_mb), 9);
    CHECK_EQ(hak_option_set("large_cache_mb", "4"), 0);
    hk_thread_start_late();
    CHECK_EQ(hk_option(HK_OPTION_large_cache_mb), 4);
}

TEST_FRESH(an_option_of_the_start_in_a_late_environment_keeps_its_value_and_warns) {
    char *environment[] = {"HAKMEM_CHECKS=1", "HAKMEM_HEAPS=0", "HAKMEM_PURGE_DELAY_MS=5", NULL};
    fake_os.environment_is_early = true;
    hak_free(hak_malloc(1));
    fake_os.environment_is_early = false;
    fake_os.environment = environment;
    hk_thread_start_late();
    CHECK_EQ(hk_option(HK_OPTION_checks), 0);
    CHECK_EQ(hk_option(HK_OPTION_purge_delay_ms), 5);
    CHECK_STR(fake_os_take_errors(),
              "hakmem: HAKMEM_CHECKS=1: memory was allocated before the environment could be read; "
              "0 is used\n");
}

TEST_FRESH(what_the_program_sets_is_not_overwritten_by_the_environment) {
    char *environment[] = {"HAKMEM_LARGE_CACHE_MB=9", NULL};
    fake_os.environment = environment;
    CHECK_EQ(hak_option_set("large_cache_mb", "4"), 0);
    hak_free(hak_malloc(1));
    CHECK_EQ(hk_option(HK_OPTION_large_cache_mb), 4);
}
