/* names.c - the library replaces all allocation functions of glibc, and they behave as documented.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive preload shared static
// flags: -Wno-deprecated-declarations -Wno-unused-result -Wno-use-after-free
#include "test.h"

#include <dlfcn.h>
#include <malloc.h>

void cfree(void *ptr) __attribute__((weak));
void free_sized(void *ptr, size_t size) __attribute__((weak));
void free_aligned_sized(void *ptr, size_t alignment, size_t size) __attribute__((weak));
/* Old headers do not declare it. */
struct mallinfo2 mallinfo2(void) __attribute__((weak));
/* Defined if the library is linked. If it is only preloaded, the program has to look it up. */
void *hak_malloc(size_t size) __attribute__((weak));

#define NAME(name)                                                                                 \
    { #name, (void *)name }
static const struct {
    const char *name;
    void *address;
} names[] = {
    NAME(malloc),      NAME(calloc),       NAME(realloc),        NAME(reallocarray),
    NAME(free),        NAME(cfree),        NAME(posix_memalign), NAME(aligned_alloc),
    NAME(memalign),    NAME(valloc),       NAME(pvalloc),        NAME(malloc_usable_size),
    NAME(malloc_trim), NAME(mallopt),      NAME(mallinfo),       NAME(mallinfo2),
    NAME(malloc_info), NAME(malloc_stats), NAME(free_sized),     NAME(free_aligned_sized),
};

TEST(every_name_is_the_library_s) {
    Dl_info own, found;
    void *reference = hak_malloc ? (void *)hak_malloc : dlsym(RTLD_DEFAULT, "hak_malloc");
    REQUIRE(reference);
    if (!dladdr(reference, &own))
        SKIP("a static executable has no dynamic symbols");
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        if (!names[i].address || !dladdr(names[i].address, &found))
            CHECK_STR("(not found)", names[i].name);
        else if (found.dli_fbase != own.dli_fbase)
            CHECK_STR(found.dli_fname, names[i].name);
    }
}

TEST(memalign_aligns) {
    for (size_t align = 1; align <= 1 << 21; align *= 2)
        for (size_t size = 1; size < 3000000; size = size * 10 + 3) {
            unsigned char *p = HIDE(memalign(align, size));
            AT("align size", align, size);
            REQUIRE(p);
            CHECK_EQ((uintptr_t)p % align, 0);
            p[0] = p[size - 1] = 1;
            free(p);
        }
}

/* glibc rounds such an alignment up. An error would break programs that rely on this. */
TEST(memalign_takes_alignments_that_are_no_power_of_two) {
    unsigned char *p = HIDE(memalign(HIDE((size_t)48), 100));
    CHECK(p);
    CHECK_EQ((uintptr_t)p % 64, 0);
    free(p);
}

TEST(valloc_and_pvalloc_align_to_pages) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size < 3 * page; size += 97) {
        unsigned char *v = HIDE(valloc(size)), *p = HIDE(pvalloc(size));
        AT("size", size);
        REQUIRE(v && p);
        CHECK_EQ((uintptr_t)v % page, 0);
        CHECK_EQ((uintptr_t)p % page, 0);
        CHECK_GE(malloc_usable_size(v), size);
        CHECK_GE(malloc_usable_size(p), (size + page - 1) / page * page);
        free(v);
        free(p);
    }
}

TEST(aligned_alloc_takes_sizes_that_are_no_multiple) {
    unsigned char *p = HIDE(aligned_alloc(64, 65));
    REQUIRE(p);
    CHECK_EQ((uintptr_t)p % 64, 0);
    CHECK_GE(malloc_usable_size(p), 65);
    free(p);
}

TEST(posix_memalign_aligns) {
    for (size_t align = sizeof(void *); align <= 1 << 21; align *= 2) {
        void *p = NULL;
        CHECK_EQ(posix_memalign(&p, align, 1000), 0);
        CHECK_EQ((uintptr_t)HIDE(p) % align, 0);
        free(p);
    }
}

TEST(reallocarray_resizes_and_refuses_overflow) {
    unsigned char *p = reallocarray(NULL, 10, 10);
    REQUIRE(p);
    test_fill(p, 100, 1);
    p = reallocarray(p, 1000, 100);
    REQUIRE(p);
    CHECK_EQ(test_intact(p, 100, 1), 100);
    errno = 0;
    CHECK(!reallocarray(p, HIDE(SIZE_MAX / 2), 3));
    CHECK_EQ(errno, ENOMEM);
    free(p);
}

TEST(cfree_and_the_sized_frees_free) {
    if (!cfree || !free_sized || !free_aligned_sized)
        SKIP("not declared by the libc that this program was linked with");
    for (size_t i = 0; i < 100000; i++) {
        cfree(malloc(10000));
        free_sized(malloc(10000), 10000);
        free_aligned_sized(aligned_alloc(128, 10000), 128, 10000);
    }
    CHECK_LE(test_rss(), 100 * 1024 * 1024);
}

TEST(mallinfo2_knows_what_is_allocated) {
    REQUIRE(mallinfo2);
    struct mallinfo2 before = mallinfo2();
    void *p = malloc(1000000), *q = malloc(100);
    struct mallinfo2 with = mallinfo2();
    size_t bytes = malloc_usable_size(p) + malloc_usable_size(q);
    CHECK_EQ(with.uordblks + with.hblkhd - before.uordblks - before.hblkhd, bytes);
    free(p);
    free(q);
}

TEST(mallinfo_knows_what_is_allocated) {
    struct mallinfo before = mallinfo();
    void *p = malloc(1000000);
    struct mallinfo with = mallinfo();
    CHECK_EQ((with.uordblks + with.hblkhd) - (before.uordblks + before.hblkhd),
             malloc_usable_size(p));
    free(p);
}

TEST(mallinfo_counts_free_blocks_and_mappings) {
    enum { SMALL = 2000, LARGE = 10 };
    static void *small[SMALL], *large[LARGE];
    for (size_t i = 0; i < SMALL; i++)
        small[i] = malloc(500);
    struct mallinfo2 used = mallinfo2();
    for (size_t i = 0; i < SMALL; i += 2)
        free(small[i]);
    struct mallinfo2 before = mallinfo2();
    CHECK_GE(before.ordblks, used.ordblks + SMALL / 2);
    CHECK_EQ(mallinfo().ordblks, before.ordblks);

    for (size_t i = 0; i < LARGE; i++)
        large[i] = malloc((size_t)40 << 20);
    struct mallinfo2 with = mallinfo2();
    CHECK_EQ(with.hblks, before.hblks + LARGE);
    CHECK_GE(with.hblkhd, before.hblkhd + LARGE * ((size_t)40 << 20));
    CHECK_EQ(mallinfo().hblks, with.hblks);
    for (size_t i = 0; i < LARGE; i++)
        free(large[i]);
    CHECK_EQ(mallinfo2().hblks, before.hblks);
    CHECK_EQ(mallinfo2().hblkhd, before.hblkhd);
    for (size_t i = 1; i < SMALL; i += 2)
        free(small[i]);
}

TEST(mallopt_accepts_the_options_of_glibc) {
    CHECK_EQ(mallopt(M_MMAP_THRESHOLD, 65536), 1);
    CHECK_EQ(mallopt(M_TRIM_THRESHOLD, 65536), 1);
    CHECK_EQ(mallopt(M_ARENA_MAX, 1), 1);
}

TEST(malloc_trim_returns_one_when_it_gave_memory_back) {
    enum { COUNT = 5000 };
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = memset(malloc(4096), 1, 4096);
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
    CHECK_EQ(malloc_trim(0), 1);
    CHECK_EQ(malloc_trim(0), 0);
}

TEST(malloc_info_writes_xml) {
    static char text[65536];
    FILE *file = fmemopen(text, sizeof text, "w");
    REQUIRE(file);
    CHECK_EQ(malloc_info(0, file), 0);
    fclose(file);
    /* Elements that readers of glibc's document expect. */
    static const char *const parts[] = {
        "<malloc version=\"1\">",
        "<heap nr=\"0\">",
        "<sizes>",
        "<size from=\"",
        "\" to=\"",
        "</sizes>",
        "<total type=\"fast\" count=",
        "<total type=\"rest\" count=",
        "<system type=\"current\" size=",
        "<system type=\"max\" size=",
        "<aspace type=\"total\"",
        "<aspace type=\"mprotect\"",
        "</heap>",
        "<total type=\"mmap\"",
        "</malloc>\n",
    };
    for (size_t i = 0; i < TEST_COUNT(parts); i++)
        CHECK_CONTAINS(text, parts[i]);
}

static int after_statistics;
static FILE *statistics;

/* The thread is cancelled before it starts, so it ends at its first cancellation point. */
static void *print_all_statistics(void *arg) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_barrier_wait(arg);
    pthread_barrier_wait(arg);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    malloc_stats();
    malloc_info(0, statistics);
    after_statistics = 1;
    pthread_testcancel();
    return NULL;
}

static void cancel_thread_that_prints(void *arg) {
    pthread_barrier_t barrier;
    void *result;
    (void)arg;
    statistics = tmpfile();
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_t thread = test_thread(print_all_statistics, &barrier);
    pthread_barrier_wait(&barrier);
    pthread_cancel(thread);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, &result);
    CHECK(after_statistics);
    CHECK(result == PTHREAD_CANCELED);
}

TEST(a_cancelled_thread_prints_its_statistics_to_the_end) {
    struct test_child child = test_in_child(cancel_thread_that_prints, NULL);
    CHECK_EXITED(child);
}

TEST(malloc_info_refuses_options) {
    FILE *file = tmpfile();
    REQUIRE(file);
    errno = 0;
    int result = malloc_info(1, file);
    CHECK(result == EINVAL || (result == -1 && errno == EINVAL));
    fclose(file);
}

static void print_stats(void *arg) {
    (void)arg;
    malloc_stats();
}

TEST(malloc_stats_writes_to_standard_error) {
    struct test_child child = test_in_child(print_stats, NULL);
    CHECK_EXITED(child);
    CHECK_CONTAINS(child.errors, "live");
}

TEST(strange_requests_behave_as_glibc_s) {
    void *p = malloc(0);
    CHECK(p);
    CHECK(!realloc(p, 0));
    errno = 0;
    CHECK(!malloc(HIDE(SIZE_MAX)));
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(!calloc(HIDE(SIZE_MAX / 2), 4));
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(malloc_usable_size(NULL), 0);
    free(NULL);
}
