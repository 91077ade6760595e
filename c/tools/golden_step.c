/* golden_step.c - counts the instructions of the hot functions by executing them step by step.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Linked with libhakmem.a; a child calls each function when the thread's cache or a cell of the
 * private heap can answer, and the parent single-steps it. Prints a line for each case:
 *
 *     NAME instructions N branches N taken N calls N
 *
 * "branches" are the conditional ones. A return counts as an instruction, the caller's call does
 * not. x86-64 Linux. Exit status 3: the system does not let a process trace its child.
 */
#include "hakmem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- What is measured ------------------------------------------------------------------------ */

/* Only so many instructions that any path through a cache ends before. */
enum { STEPS_MOST = 5000, NOT_TRACEABLE = 3 };

/* A case calls exactly one function, whose address is here, so that the parent knows its entry. */
struct golden_case {
    const char *name;
    void *function;
    void (*prepare)(void); /* fills the cache */
    void (*call)(void);    /* the call; then a stop */
};

static void *block;

static void *keep(void *p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

/* Leaves some blocks of the size in the cache, and room for more: neither refill nor flush. */
static void warm(size_t size, size_t align) {
    enum { BLOCKS = 3 };
    void *blocks[BLOCKS];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = keep(hak_alloc(size, align));
        for (int i = 0; i < BLOCKS; i++)
            hak_dealloc(blocks[i], size, align);
    }
}

/* The same for the cell of a private heap. */
static struct hak_heap *heap;
static void warm_heap(size_t size) {
    if (heap == NULL)
        heap = hak_heap_new(NULL, 0);
    void *first = keep(hak_heap_malloc(heap, size));
    block = keep(hak_heap_malloc(heap, size));
    hak_free(first);
}

#define ALLOCATION(label, function, size, align, expression)                                       \
    static void label##_prepare(void) { warm(size, align); }                                       \
    static void label##_call(void) { block = keep(expression); }
#define RELEASE(label, function, size, align, statement)                                           \
    static void label##_prepare(void) {                                                            \
        warm(size, align);                                                                         \
        block = keep(hak_alloc(size, align));                                                      \
    }                                                                                              \
    static void label##_call(void) { statement; }
#define HEAP(label, function, size, align, statement)                                              \
    static void label##_prepare(void) { warm_heap(size); }                                         \
    static void label##_call(void) { statement; }

#define CASES(A, R, H)                                                                             \
    A(malloc_16, malloc, 16, 16, malloc(16))                                                       \
    A(malloc_100, malloc, 100, 16, malloc(100))                                                    \
    A(malloc_1024, malloc, 1024, 16, malloc(1024))                                                 \
    A(malloc_5000, malloc, 5000, 16, malloc(5000))                                                 \
    A(malloc_40000, malloc, 40000, 16, malloc(40000))                                              \
    R(free_16, free, 16, 16, free(block))                                                          \
    R(free_1024, free, 1024, 16, free(block))                                                      \
    R(free_40000, free, 40000, 16, free(block))                                                    \
    A(hak_alloc_24_8, hak_alloc, 24, 8, hak_alloc(24, 8))                                          \
    A(hak_alloc_100_8, hak_alloc, 100, 8, hak_alloc(100, 8))                                       \
    A(hak_alloc_100_64, hak_alloc, 100, 64, hak_alloc(100, 64))                                    \
    A(hak_alloc_5000_8, hak_alloc, 5000, 8, hak_alloc(5000, 8))                                    \
    R(hak_dealloc_24_8, hak_dealloc, 24, 8, hak_dealloc(block, 24, 8))                             \
    R(hak_dealloc_100_8, hak_dealloc, 100, 8, hak_dealloc(block, 100, 8))                          \
    R(hak_dealloc_1024_8, hak_dealloc, 1024, 8, hak_dealloc(block, 1024, 8))                       \
    R(hak_dealloc_5000_8, hak_dealloc, 5000, 8, hak_dealloc(block, 5000, 8))                       \
    R(hak_free_sized_100, hak_free_sized, 100, 16, hak_free_sized(block, 100))                     \
    H(hak_heap_malloc_100, hak_heap_malloc, 100, 16, block = hak_heap_malloc(heap, 100))           \
    H(hak_heap_malloc_5000, hak_heap_malloc, 5000, 16, block = hak_heap_malloc(heap, 5000))        \
    H(hak_free_heap_100, hak_free, 100, 16, hak_free(block))

CASES(ALLOCATION, RELEASE, HEAP)

#define ROW(label, function, size, align, action)                                                  \
    {#label, (void *)function, label##_prepare, label##_call},
static const struct golden_case cases[] = {CASES(ROW, ROW, ROW)};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

static void run_cases(void) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(NOT_TRACEABLE);
    for (int i = 0; i < CASE_COUNT; i++) {
        cases[i].prepare();
        raise(SIGSTOP);
        cases[i].call();
    }
    _exit(0);
}

/* ---- Stepping -------------------------------------------------------------------------------- */

struct counts {
    unsigned instructions, branches, taken, calls;
};

static void fail(const char *what) {
    fprintf(stderr, "golden_step: %s: %s\n", what, strerror(errno));
    exit(errno == EPERM ? NOT_TRACEABLE : 1);
}

static struct user_regs_struct registers(pid_t pid) {
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0)
        fail("PTRACE_GETREGS");
    return regs;
}

static struct user_regs_struct step(pid_t pid) {
    int status;
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
        fail("PTRACE_SINGLESTEP");
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        fail("the child ended");
    return registers(pid);
}

enum kind { OTHER, BRANCH, CALL };

/* What the instruction at `address` is, from its first bytes (legacy prefixes and REX skipped). */
static enum kind kind_of(pid_t pid, unsigned long address) {
    errno = 0;
    unsigned long word = (unsigned long)ptrace(PTRACE_PEEKTEXT, pid, (void *)address, NULL);
    if (errno != 0)
        fail("PTRACE_PEEKTEXT");
    unsigned char code[sizeof word];
    memcpy(code, &word, sizeof code);
    size_t at = 0;
    while (at < 4 &&
           (code[at] == 0x2e || code[at] == 0x3e || code[at] == 0x64 || code[at] == 0x66 ||
            code[at] == 0xf2 || code[at] == 0xf3 || (code[at] & 0xf0) == 0x40))
        at++;
    if ((code[at] & 0xf0) == 0x70 || (code[at] == 0x0f && (code[at + 1] & 0xf0) == 0x80))
        return BRANCH;
    if (code[at] == 0xe8 || (code[at] == 0xff && (code[at + 1] >> 3 & 7) == 2))
        return CALL;
    return OTHER;
}

/* Goes on to the function's entry, then counts up to and with its return. */
static struct counts count_call(pid_t pid, unsigned long entry) {
    struct counts counts = {0, 0, 0, 0};
    struct user_regs_struct regs = registers(pid);
    for (unsigned steps = 0; regs.rip != entry; regs = step(pid))
        if (++steps > STEPS_MOST)
            fail("the function is not called");
    unsigned long frame = regs.rsp;
    while (regs.rsp <= frame) {
        enum kind kind = kind_of(pid, regs.rip);
        unsigned long before = regs.rip;
        regs = step(pid);
        counts.instructions++;
        counts.calls += kind == CALL;
        counts.branches += kind == BRANCH;
        /* No x86 branch is longer than 6 bytes, and none jumps over less. */
        counts.taken += kind == BRANCH && (regs.rip < before || regs.rip > before + 6);
        if (counts.instructions > STEPS_MOST)
            fail("the function does not return");
    }
    return counts;
}

int main(void) {
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0)
        run_cases();
    for (int i = 0; i < CASE_COUNT; i++) {
        int status;
        /* To the next stop that the child asks for. */
        if (i > 0 && ptrace(PTRACE_CONT, pid, NULL, NULL) != 0)
            fail("PTRACE_CONT");
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        struct counts counts = count_call(pid, (unsigned long)cases[i].function);
        printf("%s instructions %u branches %u taken %u calls %u\n", cases[i].name,
               counts.instructions, counts.branches, counts.taken, counts.calls);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 0;
}
