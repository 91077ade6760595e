/* unit/purge.c - when memory is returned: ticks, the scavenger, trim.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The clock stands still unless a test advances it.
 */
// link: fake_os
#include "purge/tick.h"
#include "purge/decay.h"
#include "purge/balance.h"

#include <hakmem.h>

#include "core/options.h"
#include "debug/validate.h"
#include "fresh.h"
#include "purge/pressure.h"
#include "purge/scavenger.h"
#include "thread/slow.h"
#include "thread/thread.h"
#include "thread/threads.h"

#define MIB ((size_t)1 << 20)

static void set(const char *name, const char *value) { CHECK_EQ(hak_option_set(name, value), 0); }

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

static void pass_ms(uint64_t ms) { __atomic_add_fetch(&fake_os.now_ms, ms, __ATOMIC_SEQ_CST); }

/* Leaves `mib` MiB of dirty arena granules. */
static void leave_dirty(size_t mib) {
    enum { MAX = 64 };
    void *blocks[MAX];
    for (size_t i = 0; i < mib; i++) {
        blocks[i] = hak_malloc(MIB);
        test_fill(blocks[i], MIB, i);
    }
    for (size_t i = 0; i < mib; i++)
        hak_free(blocks[i]);
}

TEST_FRESH(memory_goes_back_after_half_a_delay_to_a_whole_one) {
    set("purge_thread_mb", "0");
    hk_purge_tick(hk_os_now_ms());
    leave_dirty(8);
    pass_ms(501);
    hk_purge_tick(hk_os_now_ms()); /* the first scan that finds it */
    CHECK_EQ(hk_os_counts.bytes_purged, 0);
    hk_purge_tick(hk_os_now_ms());
    pass_ms(500);
    hk_purge_tick(hk_os_now_ms()); /* too early for another scan */
    CHECK_EQ(hk_os_counts.bytes_purged, 0);
    pass_ms(1);
    hk_purge_tick(hk_os_now_ms());
    CHECK_EQ(hk_os_counts.bytes_purged, 8 * MIB);
    CHECK_EQ(stats().bytes_dirty, 0);
}

TEST_FRESH(the_delay_is_an_option) {
    set("purge_thread_mb", "0");
    set("purge_delay_ms", "100");
    hk_purge_tick(hk_os_now_ms());
    leave_dirty(4);
    for (int look = 0; look < 2; look++) {
        pass_ms(51);
        hk_purge_tick(hk_os_now_ms());
    }
    CHECK_EQ(hk_os_counts.bytes_purged, 4 * MIB);
}

TEST_FRESH(a_shorter_delay_applies_to_the_next_scan) {
    set("purge_thread_mb", "0");
    set("purge_delay_ms", "86400000");
    pass_ms(86400000);
    hk_purge_tick(hk_os_now_ms());
    leave_dirty(4);
    set("purge_delay_ms", "100");
    for (int look = 0; look < 2; look++) {
        pass_ms(51);
        hk_purge_tick(hk_os_now_ms());
    }
    CHECK_EQ(hk_os_counts.bytes_purged, 4 * MIB);
}

TEST_FRESH(slow_paths_of_a_busy_program_look_by_themselves) {
    set("purge_thread_mb", "0");
    leave_dirty(8);
    for (int i = 0; i < 4; i++) {
        pass_ms(600);
        for (int k = 0; k < 65; k++) {
            void *block = hak_malloc(300000);
            hak_free(block);
        }
    }
    CHECK(hk_os_counts.bytes_purged >= 7 * MIB);
}

TEST_FRESH(kept_mappings_go_back_after_the_delay) {
    set("purge_thread_mb", "0");
    hak_free(hak_malloc(10 * MIB));
    CHECK_EQ(stats().bytes_large_cached, 10 * MIB);
    hk_purge_tick(hk_os_now_ms());
    CHECK_EQ(stats().bytes_large_cached, 10 * MIB);
    pass_ms(1001);
    hk_purge_tick(hk_os_now_ms());
    CHECK_EQ(stats().bytes_large_cached, 0);
}

TEST_FRESH(a_step_says_whether_anything_is_left_to_wait_for) {
    set("purge_thread_mb", "0");
    leave_dirty(2);
    int steps = 0;
    while (hk_decay_step() != HK_DECAY_DONE) {
        pass_ms(501);
        REQUIRE(++steps < 10);
    }
    CHECK(steps > 0);
    CHECK_EQ(stats().bytes_dirty, 0);
    CHECK_EQ(hk_decay_step(), HK_DECAY_DONE);
}

/* ---- The scavenger --------------------------------------------------------------------------- */

static unsigned scavengers(void) { return __atomic_load_n(&fake_os.sleepers, __ATOMIC_SEQ_CST); }

static bool scavenger_sleeps(void) {
    for (int ms = 0; ms < 2000 && scavengers() == 0; ms++)
        test_sleep_ms(1);
    return scavengers() > 0;
}

TEST_FRESH(a_scavenger_gives_memory_back_while_the_program_is_idle) {
    set("background", "always");
    set("purge_thread_mb", "8");
    leave_dirty(20);
    void *live = hak_malloc(300000);
    REQUIRE(scavenger_sleeps());
    CHECK_EQ(hk_os_counts.bytes_purged, 0);
    for (int ms = 0; ms < 5000 && stats().bytes_purged < 19 * MIB; ms++) {
        pass_ms(100);
        test_sleep_ms(1);
    }
    CHECK_GE(stats().bytes_purged, 19 * MIB); /* except for the part that the live block reused */
    hak_free(live);
}

static void grow_in_child(void *unused) {
    (void)unused;
    __atomic_store_n(&fake_os.sleepers, 0, __ATOMIC_SEQ_CST); /* the parent's */
    leave_dirty(20);
    hak_free(hak_malloc(300000));
    CHECK(scavenger_sleeps());
}

TEST_FRESH(a_forked_child_has_no_scavenger_until_it_wants_one) {
    set("background", "always");
    set("purge_thread_mb", "8");
    leave_dirty(20);
    hak_free(hak_malloc(300000));
    REQUIRE(scavenger_sleeps());
    struct test_child child = test_in_child(grow_in_child, NULL);
    CHECK_EXITED(child);
}

TEST_FRESH(a_scavenger_ends_when_the_process_has_become_small) {
    set("background", "always");
    set("purge_thread_mb", "8");
    leave_dirty(20);
    hak_free(hak_malloc(300000));
    REQUIRE(scavenger_sleeps());
    for (int ms = 0; ms < 5000 && hk_scavenger_is_present(); ms++) {
        pass_ms(100);
        test_sleep_ms(1);
    }
    CHECK(!hk_scavenger_is_present());
    CHECK_EQ(scavengers(), 0);
}

static void *hold_large(void *arg) {
    leave_dirty(20);
    hak_free(hak_malloc(300000));
    CHECK(scavenger_sleeps());
    return arg;
}

TEST_FRESH(the_second_thread_ends_after_the_scavenger_even_if_that_takes_a_while) {
    set("purge_thread_mb", "8");
    hk_thread_get();
    fake_os.gone_late = 3;
    pthread_join(test_thread(hold_large, NULL), NULL);
    CHECK(!hk_scavenger_is_present());
    CHECK_EQ(fake_os.gone_late, 0);
    CHECK_EQ(scavengers(), 0);
}

TEST_FRESH(a_small_process_has_no_scavenger) {
    set("background", "always");
    set("purge_thread_mb", "64");
    leave_dirty(20);
    hak_free(hak_malloc(300000));
    test_sleep_ms(30);
    CHECK_EQ(scavengers(), 0);
}

TEST_FRESH(with_the_option_at_zero_there_is_no_scavenger) {
    set("background", "always");
    set("purge_thread_mb", "0");
    leave_dirty(40);
    hak_free(hak_malloc(300000));
    test_sleep_ms(30);
    CHECK_EQ(scavengers(), 0);
}

/* ---- Memory pressure ------------------------------------------------------------------------- */

static void press(uint32_t hundredths) {
    __atomic_store_n(&fake_os.memory_pressure, hundredths, __ATOMIC_SEQ_CST);
}

static uint64_t pressure_reads(void) {
    return __atomic_load_n(&fake_os.pressure_reads, __ATOMIC_SEQ_CST);
}

/* Lets `ms` pass. Does the work of a scavenger every tenth of a second. */
static void scan_for_ms(uint64_t ms) {
    for (uint64_t passed = 0; passed < ms; passed += 100) {
        hk_pressure_look(hk_os_now_ms());
        hk_decay_step();
        pass_ms(100);
    }
}

TEST_FRESH(under_pressure_mappings_go_back_after_a_tenth_of_a_second) {
    set("purge_thread_mb", "0");
    set("purge_delay_ms", "60000");
    hak_free(hak_malloc(10 * MIB));
    press(99);
    scan_for_ms(5000);
    CHECK_EQ(stats().bytes_large_cached, 10 * MIB);

    press(100);
    scan_for_ms(1200);
    CHECK_EQ(stats().bytes_large_cached, 0);

    press(0);
    hak_free(hak_malloc(10 * MIB));
    scan_for_ms(100); /* the old reading is still good */
    pass_ms(1000);
    scan_for_ms(100);
    hak_free(hak_malloc(10 * MIB));
    scan_for_ms(5000);
    CHECK_EQ(stats().bytes_large_cached, 10 * MIB);
}

TEST_FRESH(a_short_purge_delay_stays_under_pressure) {
    set("purge_thread_mb", "0");
    set("purge_delay_ms", "50");
    press(5000);
    leave_dirty(8);
    uint64_t now = hk_os_now_ms();
    hk_pressure_look(now);
    CHECK_EQ(hk_pressure_delay_ms(now), 50);
    set("purge_delay_ms", "3600000");
    CHECK_EQ(hk_pressure_delay_ms(now), 100);
    CHECK_EQ(hk_pressure_delay_ms(now + 1999), 100);
    CHECK_EQ(hk_pressure_delay_ms(now + 2000), 3600000); /* a reading gets old */
}

TEST_FRESH(the_pressure_is_read_once_a_second_and_not_without_free_memory) {
    set("purge_thread_mb", "0");
    set("purge_delay_ms", "3600000");
    scan_for_ms(5000);
    CHECK_EQ(pressure_reads(), 0);
    hak_free(hak_malloc(10 * MIB));
    scan_for_ms(5000);
    CHECK_EQ(pressure_reads(), 5);
    press(HK_OS_PRESSURE_UNKNOWN);
    scan_for_ms(1000);
    uint64_t reads = pressure_reads();
    scan_for_ms(50000);
    CHECK_EQ(pressure_reads(), reads);
    scan_for_ms(20000);
    CHECK_EQ(pressure_reads(), reads + 1);
}

TEST_FRESH(a_scavenger_gives_memory_back_early_under_pressure) {
    set("background", "always");
    set("purge_thread_mb", "8");
    set("purge_delay_ms", "3600000");
    leave_dirty(20);
    void *live = hak_malloc(300000);
    REQUIRE(scavenger_sleeps());
    for (int ms = 0; ms < 50; ms++) {
        pass_ms(100);
        test_sleep_ms(1);
    }
    CHECK_EQ(stats().bytes_purged, 0);

    press(200);
    for (int ms = 0; ms < 100 && stats().bytes_purged < 19 * MIB; ms++) {
        pass_ms(100);
        test_sleep_ms(2);
    }
    CHECK_GE(stats().bytes_purged, 19 * MIB);
    hak_free(live);
}

/* ---- Limits ---------------------------------------------------------------------------------- */

TEST_FRESH(above_the_soft_limit_everything_free_goes_at_the_next_look) {
    set("purge_thread_mb", "0");
    set("limit_soft", "8388608");
    leave_dirty(7);
    hk_purge_tick(hk_os_now_ms());
    CHECK_EQ(hk_os_counts.bytes_purged, 0);
    void *live = hak_malloc(10 * MIB);
    pass_ms(1);
    hk_purge_tick(hk_os_now_ms());
    CHECK_EQ(stats().bytes_dirty, 0);
    memset(live, 1, 10 * MIB);
    hak_free(live);
}

TEST_FRESH(beyond_the_hard_limit_allocations_fail_and_succeed_again_after_frees) {
    set("purge_thread_mb", "0");
    set("limit_hard", "16777216");
    void *blocks[40];
    int count = 0;
    while (count < 40 && (blocks[count] = hak_malloc(MIB)) != NULL)
        count++;
    CHECK(count >= 12 && count <= 16);
    errno = 0;
    CHECK(hak_malloc(MIB) == NULL);
    CHECK_EQ(errno, ENOMEM);
    hak_free(blocks[--count]);
    CHECK((blocks[count++] = hak_malloc(MIB)) != NULL);
    while (count > 0)
        hak_free(blocks[--count]);
    void *other = hak_malloc(12 * MIB); /* needs the memory that the others freed */
    CHECK(other != NULL);
    hak_free(other);
    CHECK_EQ(hk_validate(), 0);
}

/* ---- Trim ------------------------------------------------------------------------------------ */

TEST_FRESH(a_trim_gives_back_all_that_is_free_and_says_how_much) {
    set("purge_thread_mb", "0");
    leave_dirty(8);
    hak_free(hak_malloc(10 * MIB));
    hak_free(hak_malloc(100));
    size_t bytes = hak_trim();
    CHECK_GE(bytes, 18 * MIB);
    struct hak_stats after = stats();
    CHECK_EQ(after.bytes_dirty, 0);
    CHECK_EQ(after.bytes_cached, 0);
    CHECK_EQ(after.bytes_slabs, 0);
    CHECK_EQ(after.bytes_large_cached, 0);
    CHECK(after.bytes_mapped <= after.bytes_metadata + MIB); /* the pagemap's leaves */
    CHECK_EQ(hak_trim(), 0);
}

TEST_FRESH(a_trim_leaves_live_blocks_alone) {
    set("purge_thread_mb", "0");
    enum { BLOCKS = 2000 };
    static unsigned char *blocks[BLOCKS];
    static const size_t sizes[] = {16, 300, 1024, 5000, 20000, 70000, 300000};
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = sizes[i % TEST_COUNT(sizes)];
        blocks[i] = hak_malloc(size);
        test_fill(blocks[i], size, (uint64_t)i);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (i % 16 != 0)
            hak_free(blocks[i]);
    CHECK(hak_trim() > 0);
    for (int i = 0; i < BLOCKS; i += 16) {
        size_t size = sizes[i % TEST_COUNT(sizes)];
        AT("block", i);
        CHECK_EQ(test_intact(blocks[i], size, (uint64_t)i), size);
        hak_free(blocks[i]);
    }
    CHECK_EQ(hk_validate(), 0);
    hak_trim();
    CHECK_EQ(stats().bytes_slabs, 0);
}

TEST_FRESH(a_trim_that_the_os_refuses_reports_nothing_and_breaks_nothing) {
    set("purge_thread_mb", "0");
    void *kept = hak_malloc(MIB);
    leave_dirty(1);
    fake_os.purge_fails = true;
    hak_trim();
    CHECK_EQ(hk_os_counts.bytes_purged, 0);
    CHECK_EQ(hk_validate(), 0);
    memset(kept, 1, MIB);
    hak_free(kept);
}
