/* unit/profile.c - the parts of the heap profiler.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "profile/profile.h"

#include <hakmem.h>

#include "core/pagemap.h"
#include "debug/validate.h"
#include "fresh.h"
#include "profile/samples.h"
#include "profile/snapshot.h"

enum { MEAN = 4096, DRAWS = 200000 };

static void check_near(double value, double expected, double tolerance) {
    CHECK(value > expected - tolerance && value < expected + tolerance);
}

/* exp(-x) as a limit, without the code of the sampler. */
static double decay(double x) {
    double each = 1 - x / (1 << 20);
    for (int i = 0; i < 20; i++)
        each *= each;
    return each;
}

TEST_FRESH(the_distances_between_samples_are_exponentially_distributed) {
    struct hk_sampler sampler = {0};
    double sum = 0;
    size_t above[4] = {0};
    for (int i = 0; i < DRAWS; i++) {
        hk_sampler_draw(&sampler, MEAN);
        sum += (double)sampler.left;
        for (size_t k = 0; k < TEST_COUNT(above); k++)
            above[k] += sampler.left > (k + 1) * MEAN / 2;
    }

    /* Half a per cent is more than two standard deviations of the mean. One per cent of all draws
     * is more than four standard deviations of each count. */
    check_near(sum / DRAWS, MEAN + 0.5, 0.01 * MEAN);
    for (size_t k = 0; k < TEST_COUNT(above); k++) {
        AT("half means", k + 1);
        check_near((double)above[k] / DRAWS, decay((double)(k + 1) / 2), 0.01);
    }
}

TEST_FRESH(a_weight_is_the_inverse_of_the_probability_of_a_sample) {
    for (size_t size = 1; size < 100 * MEAN; size = size * 2 + 1) {
        AT("size", size);
        struct hk_weight weight = hk_sampler_weight(size, MEAN);
        double each = 1 / (1 - decay((double)size / MEAN));
        check_near((double)weight.objects / HK_SAMPLER_ONE / each, 1.0, 0.002);
        check_near((double)weight.bytes / (each * (double)size), 1.0, 0.002);
    }
    CHECK_EQ(hk_sampler_weight(0, MEAN).bytes, 0);
    CHECK_EQ(hk_sampler_weight(100, 1).objects, HK_SAMPLER_ONE);
    CHECK_EQ(hk_sampler_weight(100, 1).bytes, 100);
}

static size_t count_stacks(void) { return hk_samples_size().stacks; }

/* Records a sample of every block, with a stack of two frames. */
static void record(void **place, size_t size, uintptr_t frame) {
    struct hk_allocation allocation = {.size = size, .number = 1, .depth = 2};
    allocation.frames[0] = frame;
    allocation.frames[1] = 1000;
    *place = NULL;
    hk_samples_add(place, &allocation, 1);
}

TEST_FRESH(equal_stacks_are_stored_once) {
    void *places[100], *other;
    hk_samples_restart(1);
    for (size_t i = 0; i < TEST_COUNT(places); i++) {
        record(&places[i], i, 2000);
        CHECK(places[i] != NULL);
    }
    CHECK_EQ(count_stacks(), 1);
    record(&other, 7, 2001);
    CHECK_EQ(count_stacks(), 2);
    CHECK_EQ(hk_samples_size().frames, 4);

    for (size_t i = 0; i < TEST_COUNT(places); i++)
        hk_samples_remove(&places[i]);
    CHECK_EQ(count_stacks(), 2);
    hk_samples_restart(2);
    CHECK_EQ(count_stacks(), 0);
    hk_samples_remove(&other);
    CHECK(other == NULL);
}

TEST_FRESH(a_sample_of_another_profile_is_not_recorded) {
    void *place;
    hk_samples_restart(2);
    record(&place, 100, 2000);
    CHECK(place == NULL);
    CHECK_EQ(count_stacks(), 0);
}

struct written {
    char text[4096];
    size_t bytes;
};

static void keep_text(void *arg, const char *text, size_t bytes) {
    struct written *written = arg;
    for (size_t i = 0; i < bytes && written->bytes < sizeof written->text - 1; i++)
        written->text[written->bytes++] = text[i];
}

/* As of code that the program generates. The fake OS knows no modules. */
TEST_FRESH(an_address_outside_of_all_modules_is_written_as_a_number) {
    struct written written = {0};
    void *place;
    CHECK_EQ(hk_profile_start(1, HK_UNWINDER_TABLES), 0);
    record(&place, 100, 2000);
    CHECK_EQ(hak_profile_write(HAK_PROFILE_COLLAPSED, keep_text, &written), 0);
    CHECK_STR(written.text, "0x3e7;0x7cf 100\n"); /* 999 and 1999, in the calls */
}

TEST_FRESH(a_profile_that_would_exceed_the_hard_limit_is_not_written) {
    struct written written = {0};
    CHECK_EQ(hk_profile_start(1, HK_UNWINDER_TABLES), 0);
    hak_free(hak_malloc(100));
    CHECK_EQ(hak_option_set("limit_hard", "4096"), 0);
    CHECK_EQ(hak_profile_write(HAK_PROFILE_PPROF, keep_text, &written), ENOMEM);
    CHECK_EQ(written.bytes, 0);
    CHECK_EQ(hak_option_set("limit_hard", "0"), 0);
    CHECK_EQ(hak_profile_write(HAK_PROFILE_PPROF, keep_text, &written), 0);
    CHECK(written.bytes > 0);
}

TEST_FRESH(sampled_blocks_leave_the_fast_path_and_others_do_not) {
    CHECK_EQ(hk_profile_start(1, HK_UNWINDER_TABLES), 0);
    void *sampled = hak_malloc(100);
    hk_profile_stop();
    void *ordinary = hak_malloc(100);
    CHECK_EQ(hk_class_map_class(sampled), HK_CLASS_NONE);
    CHECK_EQ(hk_class_map_class(ordinary), HK_CLASS_112);
    CHECK_EQ(hak_usable_size(sampled), 112);
    hak_free(sampled);
    hak_free(ordinary);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_second_free_of_a_sampled_block_is_reported) {
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    CHECK_EQ(hk_profile_start(1, HK_UNWINDER_TABLES), 0);
    void *small = hak_malloc(100);
    hak_free(small);
    hak_free(small);
    CHECK_CONTAINS(fake_os_take_errors(), "already free");
    hk_profile_stop();
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(the_rows_of_a_snapshot_are_sorted_and_its_locations_found) {
    enum { STACKS = 1000 };
    struct hk_snapshot snapshot;
    void *place;
    hk_samples_restart(1);
    for (size_t i = 0; i < STACKS; i++)
        record(&place, i * 377 % STACKS, 2000 + i * 7 % STACKS);

    REQUIRE(hk_snapshot_take(&snapshot));
    CHECK_EQ(snapshot.row_count, STACKS);
    hk_snapshot_sort(&snapshot, HK_VALUE_INUSE_SPACE);
    for (size_t i = 0; i < STACKS; i++)
        CHECK_EQ(snapshot.rows[i].values[HK_VALUE_INUSE_SPACE], STACKS - 1 - i);

    hk_snapshot_locate(&snapshot);
    CHECK_EQ(snapshot.location_count, STACKS + 1);
    CHECK_EQ(snapshot.locations[0], 999);
    for (size_t i = 0; i < STACKS; i++) {
        uintptr_t frame = snapshot.rows[i].frames[0];
        CHECK_EQ(snapshot.locations[hk_snapshot_location(&snapshot, frame)], frame);
    }
    hk_snapshot_drop(&snapshot);
}
