/* unit/os_linux.c - the real OS layer meets the contract of os.h.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "os/os.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "test.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static unsigned char *map(size_t bytes, size_t align) {
    unsigned char *p = hak_os_map_boundary(bytes, align);
    REQUIRE(p != NULL);
    return p;
}

static bool is_mapped(void *page) {
    unsigned char resident;
    return mincore(page, 1, &resident) == 0;
}

TEST(mappings_are_zero_aligned_and_counted) {
    for (size_t align = hk_os_page_bytes(); align <= 64 * MIB; align *= 2) {
        uint64_t before = hk_os_counts.bytes_mapped;
        unsigned char *p = map(192 * KIB, align);
        AT("align", align);
        CHECK_EQ((uintptr_t)p % align, 0);
        CHECK_EQ(test_zeros(p, 192 * KIB), 192 * KIB);
        CHECK_EQ(hk_os_counts.bytes_mapped, before + 192 * KIB);
        memset(p, 1, 192 * KIB);
        hk_os_unmap(p, 192 * KIB);
        CHECK_EQ(hk_os_counts.bytes_mapped, before);
        CHECK(!is_mapped(p));
    }
}

TEST(nothing_beside_an_aligned_mapping_stays_mapped) {
    size_t before = test_statm(0);
    unsigned char *p[16];
    for (size_t i = 0; i < TEST_COUNT(p); i++)
        p[i] = map(MIB, 32 * MIB);
    CHECK_EQ(test_statm(0), before + TEST_COUNT(p) * MIB);
    for (size_t i = 0; i < TEST_COUNT(p); i++)
        hk_os_unmap(p[i], MIB);
    CHECK_EQ(test_statm(0), before);
}

TEST(a_mapping_that_is_too_large_is_refused_and_errno_kept) {
    errno = 7;
    CHECK(hak_os_map_boundary((size_t)1 << 62, 64 * KIB) == NULL);
    CHECK(hak_os_map_boundary(64 * KIB, (size_t)1 << 62) == NULL);
    CHECK(hak_os_map_boundary(SIZE_MAX - 64 * KIB + 1, 64 * KIB) == NULL);
    CHECK_EQ(errno, 7);
}

TEST(part_of_a_mapping_can_be_unmapped) {
    unsigned char *p = map(MIB, 64 * KIB);
    hk_os_unmap(p + 256 * KIB, 256 * KIB);
    CHECK(is_mapped(p) && !is_mapped(p + 256 * KIB) && is_mapped(p + 512 * KIB));
    hk_os_unmap(p, 256 * KIB);
    hk_os_unmap(p + 512 * KIB, 512 * KIB);
}

TEST(a_purged_range_reads_as_zero_and_its_neighbours_do_not) {
    unsigned char *p = map(256 * KIB, 64 * KIB);
    memset(p, 1, 256 * KIB);
    uint64_t before = hk_os_counts.bytes_purged;
    CHECK(hk_os_purge(p + 64 * KIB, 64 * KIB));
    CHECK_EQ(hk_os_counts.bytes_purged, before + 64 * KIB);
    CHECK_EQ(test_zeros(p + 64 * KIB, 64 * KIB), 64 * KIB);
    CHECK(p[64 * KIB - 1] == 1 && p[128 * KIB] == 1);
    hk_os_unmap(p, 256 * KIB);
}

/* Returns whether the page at `page` is readable. Writes its first byte to a pipe to find out. */
static bool is_readable(const void *page) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    bool readable = write(ends[1], page, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return readable;
}

TEST(guarded_memory_lies_between_inaccessible_pages) {
    static const size_t sizes[] = {4 * KIB, 256 * KIB, 4 * MIB};
    uint64_t before = hk_os_counts.bytes_mapped;
    size_t space = test_statm(0);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        unsigned char *p = hk_os_map_guarded(sizes[i]);
        AT("bytes", sizes[i]);
        REQUIRE(p != NULL);
        CHECK_EQ(test_zeros(p, sizes[i]), sizes[i]);
        memset(p, 1, sizes[i]);
        CHECK(is_readable(p) && !is_readable(p - 1) && !is_readable(p + sizes[i]));
        CHECK_EQ(hk_os_counts.bytes_mapped, before + sizes[i]);
        hk_os_unmap_guarded(p, sizes[i]);
        CHECK_EQ(hk_os_counts.bytes_mapped, before);
        CHECK_EQ(test_statm(0), space);
    }
}

TEST(locked_memory_is_not_purged) {
    unsigned char *p = map(64 * KIB, 64 * KIB);
    memset(p, 1, 64 * KIB);
    if (mlock(p, 64 * KIB) != 0)
        SKIP("memory cannot be locked here");
    errno = 7;
    CHECK(!hk_os_purge(p, 64 * KIB));
    CHECK_EQ(errno, 7);
    CHECK(p[0] == 1);
    munlock(p, 64 * KIB);
    hk_os_unmap(p, 64 * KIB);
}

TEST(a_mapping_grows_in_place_only_where_nothing_is_in_the_way) {
    unsigned char *p = map(2 * MIB, 64 * KIB);
    memset(p, 1, 2 * MIB);
    CHECK_EQ(hk_os_resize(p, 2 * MIB, MIB), 0); /* shrinks */
    CHECK(!is_mapped(p + MIB));
    CHECK_EQ(hk_os_resize(p, MIB, 2 * MIB), 0);
    CHECK(p[MIB - 1] == 1 && p[MIB] == 0);
    hk_os_unmap(p + MIB, MIB);
    void *obstacle = mmap(p + MIB, 64 * KIB, PROT_READ,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    REQUIRE(obstacle == p + MIB);
    CHECK_EQ(hk_os_resize(p, MIB, 2 * MIB), ENOMEM);
    CHECK(p[MIB - 1] == 1);
    munmap(obstacle, 64 * KIB);
    hk_os_unmap(p, MIB);
}

TEST(pages_move_with_their_contents_and_without_a_copy) {
    uint64_t before = hk_os_counts.bytes_mapped;
    unsigned char *from = map(MIB, 64 * KIB), *to = map(4 * MIB, 2 * MIB);
    test_fill(from, MIB, 3);
    CHECK_EQ(hk_os_move(from, MIB, to, 4 * MIB), HK_OS_MOVE_DONE);
    CHECK(!is_mapped(from));
    CHECK_EQ(test_intact(to, MIB, 3), MIB);
    CHECK_EQ(test_zeros(to + MIB, 3 * MIB), 3 * MIB);
    CHECK_EQ(hk_os_counts.bytes_mapped, before + 4 * MIB);
    hk_os_unmap(to, 4 * MIB);
}

TEST(a_range_of_several_mappings_is_not_resized_and_a_move_says_what_became_of_the_target) {
    unsigned char *from = map(8 * MIB, 64 * KIB), *to = map(16 * MIB, 64 * KIB);
    test_fill(from, MIB, 4);
    CHECK_EQ(madvise(from + 4 * MIB, 64 * KIB, MADV_DONTDUMP), 0);
    errno = 7;
    CHECK_EQ(hk_os_resize(from, 8 * MIB, 16 * MIB), EFAULT);
    uint64_t mapped = hk_os_counts.bytes_mapped;
    enum hk_os_move result = hk_os_move(from, 8 * MIB, to, 16 * MIB);
    CHECK_EQ(errno, 7);
    CHECK(result != HK_OS_MOVE_DONE);
    CHECK_EQ(is_mapped(to), result == HK_OS_MOVE_REFUSED);
    CHECK_EQ(hk_os_counts.bytes_mapped, mapped - (is_mapped(to) ? 0 : 16 * MIB));
    CHECK_EQ(test_intact(from, MIB, 4), MIB);
    if (is_mapped(to))
        hk_os_unmap(to, 16 * MIB);
    hk_os_unmap(from, 8 * MIB);
}

enum { FILL_BYTES = 140000 * 4096 };

static unsigned char *reserve_mappings(void) {
    void *own =
        mmap(NULL, FILL_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(own != MAP_FAILED);
    return own;
}

/* Uses up vm.max_map_count with mappings of one page each. */
static void fill_mappings(unsigned char *own) {
    size_t bytes = FILL_BYTES;
    for (size_t at = 4096; at < bytes; at += 8192)
        if (mprotect(own + at, 4096, PROT_NONE) != 0)
            return;
    SKIP("vm.max_map_count is very high");
}

static void refuse_unmap(void *unused) {
    (void)unused;
    unsigned char *p = map(MIB, 64 * KIB);
    fill_mappings(reserve_mappings());
    p[0] = 5;
    errno = 7;
    uint64_t mapped = hk_os_counts.bytes_mapped;
    CHECK(!hk_os_unmap(p + 256 * KIB, 256 * KIB));
    CHECK_EQ(errno, 7);
    CHECK_EQ(hk_os_counts.bytes_mapped, mapped);
    CHECK(p[0] == 5 && is_mapped(p + 256 * KIB));
}

TEST(where_no_mapping_is_left_a_hole_is_refused_and_nothing_changes) {
    struct test_child child = test_in_child(refuse_unmap, NULL);
    CHECK_EXITED(child);
}

/* If address space beside an aligned mapping cannot be unmapped, it is unmapped later. The space
 * below the last aligned mapping is in use, so the next one is cut out of a larger mapping. The
 * kernel has merged that one with the mapping above it. */
static void map_aligned_without_mappings(void *unused) {
    (void)unused;
    const size_t align = 16 * MIB;
    unsigned char *own = reserve_mappings(), *above = map(64 * KIB, 4 * KIB);
    unsigned char *last = map(64 * KIB, align), *place = last - align;
    CHECK(mmap(place, align, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
          place);
    size_t space = test_statm(0);
    fill_mappings(own);
    unsigned char *block = hak_os_map_boundary(64 * KIB, align);
    munmap(own, FILL_BYTES);
    CHECK(hk_os_unmap(last, 64 * KIB));
    if (block != NULL)
        CHECK(hk_os_unmap(block, 64 * KIB));
    CHECK(hk_os_unmap(above, 64 * KIB));
    CHECK_EQ(test_statm(0), space - FILL_BYTES - 128 * KIB);
}

TEST(nothing_beside_an_aligned_mapping_is_lost_where_no_mapping_is_left) {
    struct test_child child = test_in_child(map_aligned_without_mappings, NULL);
    CHECK_EXITED(child);
}

TEST(the_limit_of_mappings_is_known) { CHECK(hk_os_mappings_max() >= 1024); }

static void disable_huge_pages(void *unused) {
    (void)unused;
    errno = 7;
    CHECK_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
    CHECK(!hk_os_huge_pages_exist());
    CHECK_EQ(hk_os_huge_mode(), HK_OS_HUGE_NEVER);
    CHECK_EQ(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0), 0);
    CHECK_EQ(errno, 7);
}

TEST(a_process_that_disables_huge_pages_has_none) {
    enum hk_os_huge_mode before = hk_os_huge_mode();
    struct test_child child = test_in_child(disable_huge_pages, NULL);
    CHECK_EXITED(child);
    CHECK_EQ(hk_os_huge_mode(), before);
}

TEST(the_clock_goes_forward) {
    uint64_t before = hk_os_now_ms();
    test_sleep_ms(30);
    uint64_t after = hk_os_now_ms();
    CHECK(after >= before + 20 && after < before + 10000);
    test_sleep_ms(30);
    CHECK(hk_os_now_ms() >= after + 20);
}

static void count_cpus_on_one(void *unused) {
    (void)unused;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0)
        CHECK_EQ(hk_os_cpus(), 1);
}

TEST(cpus_are_those_that_the_process_may_use) {
    cpu_set_t allowed;
    CHECK_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    CHECK(hk_os_cpus() >= 1 && hk_os_cpus() <= (unsigned)CPU_COUNT(&allowed));
    struct test_child child = test_in_child(count_cpus_on_one, NULL);
    CHECK_EXITED(child);
}

TEST(pages_are_those_of_the_system) { CHECK_EQ(hk_os_page_bytes(), sysconf(_SC_PAGESIZE)); }

/* Two threads of a child call the function for the process identity at the same time. */
struct first_look {
    uint32_t arrived, seen[2]; /* atomic */
    pid_t other;               /* atomic; the kernel clears it when the other thread has ended */
};

static int look(struct first_look *first, int number) {
    __atomic_add_fetch(&first->arrived, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&first->arrived, __ATOMIC_SEQ_CST) < 2)
        ;
    first->seen[number] = hk_os_generation();
    return 0;
}

static int look_as_other(void *first) { return look(first, 1); }

/* A child created by the system call, so that no fork handler runs before the threads do. */
static void look_together_in_child(struct first_look *first) {
    static char stack[64 * KIB] __attribute__((aligned(16)));
    enum {
        LIKE_A_THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                        CLONE_SYSVSEM | CLONE_CHILD_CLEARTID
    };
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        first->other = 1;
        if (clone(look_as_other, stack + sizeof stack, LIKE_A_THREAD, first, NULL, NULL,
                  &first->other) < 0)
            _exit(1);
        look(first, 0);
        while (__atomic_load_n(&first->other, __ATOMIC_SEQ_CST) != 0)
            ;
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

TEST(threads_of_a_new_child_agree_on_its_generation) {
    uint32_t own = hk_os_generation();
    size_t bytes = hk_os_page_bytes();
    struct first_look *first =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(first != MAP_FAILED);
    for (int i = 0; i < 1000; i++) {
        AT("child", i);
        memset(first, 0, sizeof *first);
        look_together_in_child(first);
        CHECK_EQ(first->seen[0], own + 1);
        CHECK_EQ(first->seen[1], own + 1);
    }
    CHECK_EQ(hk_os_generation(), own);
    munmap(first, bytes);
}

static uint32_t word;

static void *wake_later(void *arg) {
    test_sleep_ms(20);
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    hk_os_wake(&word);
    return arg;
}

TEST(a_thread_sleeps_on_a_word_until_it_is_woken) {
    hk_os_wait(&word, 1); /* the value differs, so it returns at once */
    pthread_t thread = test_thread(wake_later, NULL);
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0)
        hk_os_wait(&word, 0);
    pthread_join(thread, NULL);
    CHECK_EQ(word, 1);
}

static void write_and_abort(void *unused) {
    (void)unused;
    errno = 7;
    hk_os_write_error("some words\n", 11);
    CHECK_EQ(errno, 7);
    hk_os_abort();
}

TEST(errors_are_written_to_standard_error_before_the_end) {
    struct test_child child = test_in_child(write_and_abort, NULL);
    CHECK_ABORTED(child);
    CHECK_STR(child.errors, "some words\n");
}

TEST(the_environment_is_that_of_the_process) {
    REQUIRE(!hk_os_environment_is_early());
    REQUIRE(hk_os_environment() != NULL);
    bool found = false;
    for (char *const *entry = hk_os_environment(); *entry != NULL; entry++)
        found |= strncmp(*entry, "PATH=", 5) == 0;
    CHECK(found);
}
