/* start.c - a small program takes little address space and memory, even if all of it is locked.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive preload
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
#include "test.h"

#include <sys/mman.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

static size_t mapped(void) { return test_statm(0); }
static size_t resident(void) { return test_statm(1); }

static void use_a_little(void) {
    void *blocks[100];
    for (size_t i = 0; i < 100; i++)
        blocks[i] = memset(malloc(64 + i), 1, 64 + i);
    for (size_t i = 0; i < 100; i++)
        free(blocks[i]);
}

/* The startup before main, including libc, takes about 5 MiB. */
TEST(the_address_space_is_that_of_a_small_program) {
    use_a_little();
    CHECK_LE(mapped(), 10 * MIB);
    CHECK_LE(resident(), 4 * MIB);
}

static void lock_all(void *unused) {
    (void)unused;
    const struct rlimit limit = {8 * MIB, 8 * MIB};
    free(malloc(100));
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 ||
        (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)))
        SKIP("this user may not lock memory");
    CHECK_EQ(mlockall(MCL_CURRENT), 0);
    use_a_little();
}

TEST(all_memory_of_a_small_program_can_be_locked_within_8_mib) {
    struct test_child child = test_in_child(lock_all, NULL);
    CHECK_EXITED(child);
}
