/* limits.c - sizes of zero, absurd sizes, bad alignments, errno.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// variant: HAKMEM_CHECKS=1
// flags: -Wno-alloc-size-larger-than -Wno-use-after-free
#include "blocks.h"

#include <malloc.h>

/* Hides from the compiler that the sizes are absurd. */
static size_t absurd(unsigned index) {
    const size_t sizes[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX,         SIZE_MAX - 15,
                            SIZE_MAX - 4095,         SIZE_MAX / 2 + 2, (size_t)PTRDIFF_MAX};
    return index < TEST_COUNT(sizes) ? HIDE(sizes[index]) : 0;
}

#define CHECK_REFUSED(call, error)                                                                 \
    do {                                                                                           \
        errno = 0;                                                                                 \
        void *refused = HIDE(call);                                                                \
        int refused_errno = errno;                                                                 \
        CHECK_EQ(refused, 0);                                                                      \
        CHECK_EQ(refused_errno, error);                                                            \
    } while (0)

TEST(a_size_of_zero_gives_distinct_blocks) {
    enum { COUNT = 9 };
    void *p[COUNT] = {
        malloc(0),
        calloc(0, 8),
        calloc(8, 0),
        realloc(NULL, 0),
        hak_malloc(0),
        aligned_alloc(64, 0),
        hak_alloc(0, 1),
        hak_alloc_zeroed(0, 4096),
        hak_aligned_alloc(32, 0),
    };
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(p[i]);
        for (size_t j = 0; j < i; j++)
            CHECK(HIDE(p[i]) != HIDE(p[j]));
    }
    CHECK_EQ((uintptr_t)p[5] % 64, 0);
    CHECK_EQ((uintptr_t)p[7] % 4096, 0);
    for (size_t i = 0; i < 6; i++)
        free(p[i]);
    hak_dealloc(p[6], 0, 1);
    hak_dealloc(p[7], 0, 4096);
    hak_free_aligned_sized(p[8], 32, 0);
    void *out = NULL;
    CHECK_EQ(posix_memalign(&out, 16, 0), 0);
    CHECK(out);
    hak_free(out);
}

TEST(absurd_sizes_give_null_and_enomem) {
    for (unsigned i = 0; absurd(i); i++) {
        size_t size = absurd(i);
        AT("size", size);
        CHECK_REFUSED(malloc(size), ENOMEM);
        CHECK_REFUSED(hak_malloc(size), ENOMEM);
        CHECK_REFUSED(calloc(size, 1), ENOMEM);
        CHECK_REFUSED(calloc(1, size), ENOMEM);
        CHECK_REFUSED(hak_calloc(1, size), ENOMEM);
        CHECK_REFUSED(realloc(NULL, size), ENOMEM);
        CHECK_REFUSED(valloc(size), ENOMEM);
        CHECK_REFUSED(pvalloc(size), ENOMEM);
        for (size_t align = 1; align <= 4 * MIB; align *= 4) {
            AT("size align", size, align);
            CHECK_REFUSED(aligned_alloc(align, size), ENOMEM);
            CHECK_REFUSED(memalign(align, size), ENOMEM);
            CHECK_REFUSED(hak_aligned_alloc(align, size), ENOMEM);
            CHECK_REFUSED(hak_alloc(size, align), ENOMEM);
            CHECK_REFUSED(hak_alloc_zeroed(size, align), ENOMEM);
        }
    }
    CHECK_EQ(hak_validate(), 0);
}

TEST(absurd_alignments_give_null_and_enomem) {
    for (size_t align = (size_t)1 << 48; align; align *= 2) {
        AT("align", align);
        CHECK_REFUSED(hak_aligned_alloc(HIDE(align), 16), ENOMEM);
        CHECK_REFUSED(hak_alloc(HIDE((size_t)16), HIDE(align)), ENOMEM);
        CHECK_REFUSED(hak_aligned_alloc(HIDE(align), HIDE((size_t)PTRDIFF_MAX)), ENOMEM);
    }
}

TEST(an_overflowing_product_gives_null_and_enomem) {
    static const size_t factors[][2] = {
        {SIZE_MAX, 2},
        {2, SIZE_MAX},
        {SIZE_MAX, SIZE_MAX},
        {(size_t)1 << 32, (size_t)1 << 32},
        {((size_t)1 << 32) + 1, (size_t)1 << 32},
        {SIZE_MAX / 16 + 2, 16},
        {SIZE_MAX / 3 + 1, 3},
    };
    uint64_t live = bytes_live();
    unsigned char *old = hak_malloc(100);
    test_fill(old, 100, 1);
    for (size_t i = 0; i < TEST_COUNT(factors); i++) {
        size_t count = HIDE(factors[i][0]), size = HIDE(factors[i][1]);
        AT("count size", count, size);
        CHECK_REFUSED(calloc(count, size), ENOMEM);
        CHECK_REFUSED(hak_calloc(count, size), ENOMEM);
        CHECK_REFUSED(reallocarray(NULL, count, size), ENOMEM);
        CHECK_REFUSED(hak_reallocarray(NULL, count, size), ENOMEM);
        CHECK_REFUSED(reallocarray(old, count, size), ENOMEM);
        CHECK_REFUSED(hak_reallocarray(old, count, size), ENOMEM);
        CHECK_EQ(test_intact(old, 100, 1), 100);
    }
    hak_free_sized(old, 100);
    CHECK_EQ(bytes_live(), live);
}

TEST(a_refused_realloc_leaves_the_block_intact) {
    static const size_t sizes[] = {1, 16, 100, 1000, 9000, 60000, 256 * KIB, MIB, 40 * MIB};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        for (unsigned a = 0; absurd(a); a++) {
            size_t size = sizes[i];
            AT("size to", size, absurd(a));
            unsigned char *p = hak_malloc(size);
            REQUIRE(p);
            test_fill(p, size, 5);
            CHECK_REFUSED(realloc(p, absurd(a)), ENOMEM);
            CHECK_REFUSED(hak_realloc(p, absurd(a)), ENOMEM);
            CHECK_EQ(test_intact(p, size, 5), size);
            hak_free_sized(p, size);
            for (size_t align = 1; align <= 4096; align *= 64) {
                p = hak_alloc(size, align);
                REQUIRE(p);
                test_fill(p, size, 6);
                CHECK_REFUSED(hak_realloc_layout(p, size, align, absurd(a)), ENOMEM);
                CHECK_EQ(test_intact(p, size, 6), size);
                hak_dealloc(p, size, align);
            }
        }
    CHECK_EQ(hak_validate(), 0);
}

TEST(alignments_that_are_no_power_of_two_give_einval) {
    static const size_t bad[] = {0,   3,    6,    12,      24,       48,
                                 100, 4095, 4097, 3 * MIB, SIZE_MAX, SIZE_MAX - 1};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        size_t align = HIDE(bad[i]);
        AT("align", align);
        CHECK_REFUSED(hak_aligned_alloc(align, 100), EINVAL);
        CHECK_REFUSED(aligned_alloc(align, 100), EINVAL);
    }
}

/* The next power of two does not fit size_t. */
TEST(memalign_refuses_alignments_that_it_cannot_round_up) {
    CHECK_REFUSED(memalign(HIDE(SIZE_MAX / 2 + 2), 100), EINVAL);
    CHECK_REFUSED(memalign(HIDE(SIZE_MAX), 100), EINVAL);
}

TEST(posix_memalign_refuses_bad_alignments_and_touches_nothing) {
    static const size_t bad[] = {0, 1, 2, 4, 3, 9, 12, 24, 4095, SIZE_MAX};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        AT("align", bad[i]);
        void *const before = (void *)0x1234;
        void *out = before;
        errno = 77;
        CHECK_EQ(hak_posix_memalign(&out, HIDE(bad[i]), 100), EINVAL);
        CHECK_EQ(out, before);
        CHECK_EQ(posix_memalign(&out, HIDE(bad[i]), 100), EINVAL);
        CHECK_EQ(out, before);
        CHECK_EQ(errno, 77);
    }
}

TEST(posix_memalign_refuses_absurd_sizes_and_touches_nothing) {
    for (unsigned i = 0; absurd(i); i++)
        for (size_t align = 8; align <= 4 * MIB; align *= 8) {
            AT("size align", absurd(i), align);
            void *const before = (void *)0x1234;
            void *out = before;
            errno = 77;
            CHECK_EQ(hak_posix_memalign(&out, align, absurd(i)), ENOMEM);
            CHECK_EQ(posix_memalign(&out, align, absurd(i)), ENOMEM);
            CHECK_EQ(out, before);
            CHECK_EQ(errno, 77);
        }
}

TEST(freeing_keeps_errno) {
    static const size_t sizes[] = {1, 100, 9000, 60000, 256 * KIB, MIB, 8 * MIB, 64 * MIB};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        for (unsigned round = 0; round < 50; round++) {
            void *p = hak_malloc(sizes[i]), *q = malloc(sizes[i]), *r = hak_alloc(sizes[i], 64);
            AT("size", sizes[i]);
            errno = 77;
            hak_free(p);
            free(q);
            hak_dealloc(r, sizes[i], 64);
            hak_free(NULL);
            free(NULL);
            CHECK_EQ(errno, 77);
        }
    hak_trim();
}

TEST(a_successful_allocation_keeps_errno) {
    for (size_t size = 1; size < 64 * MIB; size = size * 3 + 1) {
        errno = 77;
        void *p = hak_malloc(size);
        p = hak_realloc(p, size * 2);
        AT("size", size);
        CHECK(p);
        CHECK_EQ(errno, 77);
        hak_free(p);
    }
}

TEST(usable_size_of_null_is_zero) {
    CHECK_EQ(hak_usable_size(NULL), 0);
    CHECK_EQ(malloc_usable_size(NULL), 0);
}

TEST(the_version_is_that_of_the_header) {
    CHECK_STR(hak_version(), HAK_VERSION_STRING);
    char numbers[32];
    snprintf(numbers, sizeof numbers, "%d.%d.%d", HAK_VERSION_MAJOR, HAK_VERSION_MINOR,
             HAK_VERSION_PATCH);
    CHECK_STR(hak_version(), numbers);
}
