/* guard/environment.c - an unmodified program is guarded from its start.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared preload static
// env: HAKMEM_GUARD_RATE=1 HAKMEM_GUARD_SLOTS=5000
// flags: -Wno-use-after-free
#include <malloc.h>

#include "../test.h"

enum { SIZE = 100 }; /* of no class, so the usable size shows whether a block is guarded */

TEST(blocks_are_guarded_from_the_start_on) {
    void *block = malloc(SIZE);
    CHECK_EQ(malloc_usable_size(block), SIZE);
    free(block);
}

TEST(guarded_blocks_are_used_bytes_of_mallinfo_and_no_free_bytes) {
    enum { COUNT = 500, BYTES = 8000 };
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = malloc(BYTES);

    struct mallinfo2 info = mallinfo2();
    CHECK_GE(info.uordblks, (size_t)COUNT * BYTES);
    CHECK_GE(info.arena, info.uordblks);
    CHECK_EQ(info.fordblks, info.arena - info.uordblks);
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
}

static void read_after_free(void *unused) {
    (void)unused;
    char *block = malloc(SIZE);
    test_tell(block);
    free(block);
    *(volatile char *)HIDE(block);
}

TEST(a_use_after_free_is_reported_with_its_stacks_and_modules) {
    char line[128];
    struct test_child child = test_in_child(read_after_free, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV);
    CHECK_CONTAINS(child.errors, "hakmem: use after free: ");
    snprintf(line, sizeof line, ", 0 bytes into the block of 100 bytes at %p\n", child.pointer);
    CHECK_CONTAINS(child.errors, line);
    CHECK_CONTAINS(child.errors, "\n  allocated by thread ");
    CHECK_CONTAINS(child.errors, "\n  freed by thread ");
    CHECK_CONTAINS(child.errors, "\n    environment.");
    CHECK_CONTAINS(child.errors, "\nmodule environment.");
}
