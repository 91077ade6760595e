/* stack.c - stack usage of the functions, because coroutines have small stacks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Functions of libc are bound at start, because the loader needs 2 KiB of stack to bind them later.
 * No thread is created, because libc needs as much stack for that.
 */
// flags: -Wl,-z,now
// env: HAKMEM_PURGE_THREAD_MB=0
// variant: HAKMEM_CHECKS=fast
// variant: HAKMEM_PURGE_DELAY_MS=0
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_GUARD_RATE=1 HAKMEM_GUARD_SLOTS=5000
#include <sys/mman.h>
#include <ucontext.h>

#include "hakmem.h"
#include "test.h"

enum {
    STACK_BYTES = 256 * 1024,
    NEEDED_MAX = 3 * 1024,
    OF_THE_TEST = 300, /* the frames of the functions here */
    PATTERN = 0xa5,
};

static ucontext_t outside, inside;

/* Returns the stack usage of `work`. Runs it on a separate stack that is filled with a pattern. */
static size_t stack_needed(void (*work)(void)) {
    unsigned char *stack = test_map(STACK_BYTES);
    memset(stack, PATTERN, STACK_BYTES);
    CHECK_EQ(getcontext(&inside), 0);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = STACK_BYTES;
    inside.uc_link = &outside;
    makecontext(&inside, work, 0);
    CHECK_EQ(swapcontext(&outside, &inside), 0);
    size_t unused = 0;
    while (stack[unused] == PATTERN)
        unused++;
    munmap(stack, STACK_BYTES);
    return STACK_BYTES - unused;
}

enum { COUNT = 3000 };
static void *blocks[COUNT];

static void small_blocks(void) {
    for (size_t class = 0; class < 20; class ++) {
        for (size_t i = 0; i < COUNT; i++)
            blocks[i] = hak_malloc(16 + class * 177);
        for (size_t i = 0; i < COUNT; i++)
            hak_free(blocks[i]);
    }
}

static void sized_blocks(void) {
    for (size_t size = 8; size < 5000; size += 211) {
        for (size_t i = 0; i < COUNT; i++)
            blocks[i] = hak_alloc(size, 8);
        for (size_t i = 0; i < COUNT; i++)
            hak_dealloc(blocks[i], size, 8);
    }
}

static void large_blocks(void) {
    for (size_t i = 0; i < 100; i++) {
        void *block = hak_malloc(100000 + i * 10000);
        hak_free(hak_realloc(block, 900000 + i * 60000));
    }
}

TEST(malloc_and_free_of_small_blocks_need_at_most_3_kib_of_stack) {
    CHECK_LE(stack_needed(small_blocks), NEEDED_MAX + OF_THE_TEST);
}

TEST(sized_functions_need_at_most_3_kib_of_stack) {
    CHECK_LE(stack_needed(sized_blocks), NEEDED_MAX + OF_THE_TEST);
}

TEST(large_blocks_need_at_most_3_kib_of_stack) {
    CHECK_LE(stack_needed(large_blocks), NEEDED_MAX + OF_THE_TEST);
}
