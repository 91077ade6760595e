/* reports.c - bad pointers that are detected long after the program's call, and complex handlers.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_DELAY_MS=100
#include "process.h"

/* ---- A double free that is detected late ----------------------------------------------------- */

/* Frees a block in two threads, so that both have it in their caches. This is not detected before
 * the second cache is emptied. */
static void *free_it(void *block) {
    free(HIDE(malloc(200))); /* has a cache now */
    for (int i = 0; i < 40; i++)
        free(HIDE(malloc(200)));
    free(block);
    return NULL;
}

static volatile sig_atomic_t handled;

static void do_much(int signal) {
    (void)signal;
    handled = 1;
    free(HIDE(malloc(100)));
    load_free(load_make(30 * MIB, 2000));
    load_free(load_make(30 * MIB, 3 * MIB));
    hak_trim();
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    hak_validate();
    pid_t child = fork();
    if (child == 0) {
        load_free(load_make(5 * MIB, 1000));
        hak_trim();
        _exit(0);
    }
    int well = ended_well(child);
    _exit(well && stats.errors >= 1 ? 0 : 98);
}

enum finder { BY_TRIM, BY_SCAVENGER, BY_TICK, BY_THREAD_END };

static void find_late(void *arg) {
    enum finder finder = *(enum finder *)arg;
    signal(SIGABRT, do_much);
    void *block = malloc(200);
    struct load load = {NULL, 0, 0};
    if (finder == BY_SCAVENGER) {
        start_sleeper();
        test_sleep_ms(20);
        load = load_make(40 * MIB, 1000);
        CHECK(BECOMES(scavengers() == 1, 1000));
    }
    pthread_join(test_thread(free_it, block), NULL); /* its exit returns the block to its slab */
    if (finder == BY_THREAD_END) {
        pthread_join(test_thread(free_it, block), NULL);
    } else {
        free_it(block);
        if (finder == BY_TRIM)
            hak_trim();
    }
    for (int i = 0; i < 3000 && !handled; i++) {
        if (finder == BY_TICK)
            for (int k = 0; k < 50; k++)
                free(HIDE(malloc(300000)));
        test_sleep_ms(1);
    }
    hak_trim(); /* at the latest */
    for (int i = 0; i < 10000 && handled;
         i++) /* the handler runs in another thread, and ends the process */
        test_sleep_ms(1);
    load_free(load);
    _exit(97);
}

static void check_finder(enum finder finder) {
    AT("finder", finder);
    struct test_child child = in_child(find_late, &finder);
    AT("finder", finder);
    CHECK_EXITED(child);
    CHECK_CONTAINS(child.errors, "hakmem: ");
}

TEST(a_handler_may_allocate_trim_and_fork_after_a_report_of_a_trim) { check_finder(BY_TRIM); }
TEST(so_it_may_after_a_report_while_the_scavenger_exists) { check_finder(BY_SCAVENGER); }
TEST(so_it_may_after_a_report_of_a_slow_call) { check_finder(BY_TICK); }
TEST(so_it_may_after_a_report_of_a_thread_that_ends) { check_finder(BY_THREAD_END); }

static void count_errors(void *unused) {
    (void)unused;
    enum { ERRORS = 20 };
    REQUIRE(hak_option_set("on_error", "continue") == 0);
    for (int i = 0; i < ERRORS; i++) {
        void *block = malloc(200);
        pthread_join(test_thread(free_it, block), NULL);
        pthread_join(test_thread(free_it, block), NULL);
    }
    hak_trim();
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(stats.errors, ERRORS);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_program_that_goes_on_finds_all_its_errors_counted) {
    CHECK_EXITED(in_child(count_errors, NULL));
}

/* ---- Scans of many holes --------------------------------------------------------------------- */

static uint64_t longest_ns;

static void note_time(uint64_t start) {
    uint64_t took = test_now_ns() - start;
    longest_ns = took > longest_ns ? took : longest_ns;
}

static void *allocate_in_between(void *arg) {
    while (going()) {
        uint64_t start = test_now_ns();
        free(HIDE(malloc(300000)));
        free(HIDE(malloc(4096)));
        note_time(start);
        struct hak_stats stats;
        start = test_now_ns();
        hak_stats(&stats, sizeof stats);
        note_time(start);
        test_sleep_ms(1);
    }
    return arg;
}

static void scan_holes(void *unused) {
    (void)unused;
    enum { BLOCKS = 150000, LONGEST_MS = 150 };
    free(HIDE(malloc(1)));
    start_hand(allocate_in_between, NULL);
    struct load load = load_make((size_t)BLOCKS * 4096, 4096);
    CHECK(BECOMES(scavengers() == 1, 1000));
    for (size_t i = 0; i < load.count; i += 2)
        free(load.list[i]);
    longest_ns = 0;
    uint64_t end = test_now_ns() + UINT64_C(1500000000);
    while (test_now_ns() < end) {
        uint64_t start = test_now_ns();
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        note_time(start);
        ended_well(child);
        test_sleep_ms(10);
    }
    CHECK_LE(longest_ns / 1000000, LONGEST_MS);
    stop_hands();
}

TEST(forks_statistics_and_allocations_get_in_between_a_scan_of_75000_holes) {
    CHECK_EXITED(in_child(scan_holes, NULL));
}

/* ---- Allocations that fail ------------------------------------------------------------------- */

struct failing {
    size_t bytes;  /* of the attempts */
    size_t around; /* of the small work in between */
    int hard;      /* with the option limit_hard instead of RLIMIT_AS */
};

static void fail_often(void *arg) {
    struct failing failing = *(struct failing *)arg;
    enum { ATTEMPTS = 300 };
    struct load load = load_make(120 * MIB, 1000);
    for (size_t i = 0; i < 40000; i++)
        free(load.list[i]);
    if (failing.hard) {
        REQUIRE(hak_option_set("limit_hard", "160000000") == 0);
    } else {
        struct rlimit limit = {600 * MIB, 600 * MIB};
        REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    }
    free(HIDE(malloc(failing.bytes)));
    size_t count = 2 * MIB / failing.around;
    char **list = test_map(count * sizeof *list);
    memset(list, 0, count * sizeof *list);
    long start = faults();
    for (int i = 0; i < ATTEMPTS; i++) {
        errno = 0;
        CHECK(!HIDE(malloc(failing.bytes)));
        CHECK_EQ(errno, ENOMEM);
        for (size_t k = 0; k < count; k++)
            memset(list[k] = malloc(failing.around), 1, failing.around);
        for (size_t k = 0; k < count; k++)
            free(list[k]);
    }
    AT("bytes around hard", failing.bytes, failing.around, failing.hard);
    CHECK_LE(faults() - start, 6000);
}

TEST(hundreds_of_failed_allocations_cost_few_page_faults) {
    static const size_t sizes[] = {1024 * MIB, 700 * MIB};
    static const size_t around[] = {100, 1000, 30000, 200000};
    for (size_t i = 0; i < TEST_COUNT(sizes) * TEST_COUNT(around) * 2; i++) {
        struct failing failing = {sizes[i % 2], around[i / 2 % 4], i / 8 != 0};
        CHECK_EXITED(in_child(fail_often, &failing));
    }
}

static void succeed_again(void *hard) {
    struct load load = load_make(100 * MIB, 1000);
    if (hard) {
        REQUIRE(hak_option_set("limit_hard", "150000000") == 0);
    } else {
        struct rlimit limit = {test_statm(0) + 60 * MIB, test_statm(0) + 60 * MIB};
        REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    }
    for (int i = 0; i < 100; i++)
        CHECK(!HIDE(malloc(110 * MIB)));
    load_free(load);
    void *block = malloc(110 * MIB);
    CHECK(block);
    free(block);
    block = calloc(1, 110 * MIB);
    CHECK(block);
    block = realloc(block, 115 * MIB);
    CHECK(block);
    free(block);
    load_free(load_make(100 * MIB, 1000));
}

TEST(memory_that_was_freed_after_a_failure_makes_the_next_attempt_succeed) {
    CHECK_EXITED(in_child(succeed_again, NULL));
    CHECK_EXITED(in_child(succeed_again, (void *)1));
}
