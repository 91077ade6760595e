/* mistakes.c - which mistakes of a program are seen, and when: the table of c/docs/mistakes.md.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Linked with libhakmem.a. Each mistake is made in a process of its own for each value of the
 * option `checks`. The process then allocates blocks of the same size, looks whether one of them is
 * in use already, and trims. Prints a row of the table for each mistake.
 */
#include "hakmem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AT_CALL, LATER, TWICE, NEVER, OUTCOMES };

static const char *const outcome_words[OUTCOMES] = {
    [AT_CALL] = "at the call",
    [LATER] = "later, before the block is used again",
    [TWICE] = "**no**, the memory is handed out again",
    [NEVER] = "no, harmless",
};

enum { SIZE = 100, LARGE = 1000000 };

/* What the process does after the mistake. */
static size_t size_after = SIZE;
static char *in_use; /* a block that the program still uses, of `in_use_bytes` */
static size_t in_use_bytes;
static volatile int stage = AT_CALL; /* what a report means now */

static void *hide(void *p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static char *block(size_t size) {
    char *p = hide(hak_malloc(size));
    memset(p, 1, size);
    return p;
}

static void use(char *p, size_t bytes) {
    in_use = p;
    in_use_bytes = bytes;
}

/* ---- The mistakes ---------------------------------------------------------------------------- */

static void alien(void) {
    static char array[64] __attribute__((aligned(16)));
    hak_free(hide(array));
}

static void misaligned(void) {
    char *p = block(SIZE);
    use(p, SIZE);
    hak_free(hide(p + 1));
}

static void misaligned_sized(void) {
    char *p = block(SIZE);
    use(p, SIZE);
    hak_free_sized(hide(p + 8), 16);
}

static void inside(void) {
    char *p = block(SIZE);
    use(p, SIZE);
    hak_free(hide(p + 16));
}

static void inside_pool(void) {
    char *p = block(40000);
    size_after = 40000;
    use(p, 40000);
    hak_free(hide(p + 4096));
}

static void inside_large(void) {
    char *p = block(LARGE);
    use(p, LARGE);
    hak_free(hide(p + 16));
}

static void inside_by_realloc(void) {
    char *p = block(SIZE);
    use(p, SIZE);
    hide(hak_realloc(hide(p + 16), 5000));
}

static void inside_by_usable_size(void) {
    char *p = block(SIZE);
    use(p, SIZE);
    hak_usable_size(hide(p + 16));
}

static void twice_with_others_between(size_t others, size_t size) {
    char *p = block(size), *between[64];
    size_after = size;
    for (size_t i = 0; i < others; i++)
        between[i] = block(size);
    hak_free(p);
    for (size_t i = 0; i < others; i++)
        hak_free(between[i]);
    hak_free(hide(p));
}

static void twice(void) { twice_with_others_between(0, SIZE); }
static void twice_after_one(void) { twice_with_others_between(1, SIZE); }
static void twice_after_many(void) { twice_with_others_between(20, SIZE); }
static void twice_large(void) { twice_with_others_between(1, LARGE); }

static void sized_after_one(void) {
    char *p = block(SIZE), *other = block(SIZE);
    hak_free_sized(p, SIZE);
    hak_free_sized(other, SIZE);
    hak_free_sized(hide(p), SIZE);
}

static void twice_at_trim(void) {
    char *p = block(SIZE);
    hak_free(p);
    hak_trim();
    hak_free(hide(p));
}

static void sized(size_t size) {
    char *p = block(SIZE);
    size_after = size;
    hak_free_sized(hide(p), size);
}

static void size_too_large(void) { sized(500); }
static void size_too_small(void) { sized(16); }

static void old_size_wrong(void) {
    char *p = block(SIZE);
    use(p, SIZE);
    hide(hak_realloc_layout(hide(p), 5000, 16, 9000));
}

static void realloc_of_freed(void) {
    char *p = block(SIZE);
    hak_free(p);
    hide(hak_realloc(hide(p), 5000));
}

static const struct mistake {
    const char *words;
    void (*make)(void);
} mistakes[] = {
    {"free of a pointer that is no block", alien},
    {"free of a misaligned pointer into a block", misaligned},
    {"sized free of a misaligned pointer into a block", misaligned_sized},
    {"free of a pointer 16 bytes into a block of 100", inside},
    {"free of a pointer 4096 bytes into a block of 40,000", inside_pool},
    {"free of a pointer into a large block", inside_large},
    {"realloc of a pointer into a block", inside_by_realloc},
    {"usable size of a pointer into a block", inside_by_usable_size},
    {"free of a block that was freed just before", twice},
    {"the same, one other free in between", twice_after_one},
    {"the same, 20 other frees in between", twice_after_many},
    {"the same, a trim in between", twice_at_trim},
    {"sized free of a block, after one other sized free", sized_after_one},
    {"free of a large block that is free", twice_large},
    {"sized free with too large a size", size_too_large},
    {"sized free with too small a size", size_too_small},
    {"`hak_realloc_layout` with a wrong old size", old_size_wrong},
    {"realloc of a small block that is free", realloc_of_freed},
};
enum { MISTAKES = sizeof mistakes / sizeof mistakes[0] };

/* ---- One mistake in a process of its own ----------------------------------------------------- */

static void reported(int signal) {
    (void)signal;
    _exit(stage);
}

static int overlap(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    return a < b + b_bytes && b < a + a_bytes;
}

/* Whether memory that is in use is handed out. */
static int is_handed_out_again(void) {
    enum { COUNT = 40 };
    char *given[COUNT];
    for (int i = 0; i < COUNT; i++) {
        given[i] = hak_malloc(size_after);
        if (in_use != NULL && overlap(given[i], size_after, in_use, in_use_bytes))
            return 1;
        for (int k = 0; k < i; k++)
            if (overlap(given[i], size_after, given[k], size_after))
                return 1;
    }
    return 0;
}

static void make(const struct mistake *mistake) {
    signal(SIGABRT, reported);
    if (freopen("/dev/null", "w", stderr) == NULL)
        _exit(OUTCOMES);
    hak_free(hak_malloc(SIZE)); /* the thread has started */
    mistake->make();
    stage = LATER;
    if (is_handed_out_again())
        _exit(TWICE);
    hak_trim();
    _exit(NEVER);
}

/* Runs this program for one mistake and one value of the option. */
static int outcome_of(char *program, int mistake, const char *checks) {
    char number[16];
    int status;
    snprintf(number, sizeof number, "%d", mistake);
    char *arguments[] = {program, number, NULL};
    pid_t child = fork();
    if (child == 0) {
        setenv("HAKMEM_CHECKS", checks, 1);
        execv("/proc/self/exe", arguments);
        _exit(OUTCOMES);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
        WEXITSTATUS(status) >= OUTCOMES) {
        fprintf(stderr, "mistakes: %s with checks=%s failed\n", mistakes[mistake].words, checks);
        exit(1);
    }
    return WEXITSTATUS(status);
}

int main(int count, char **arguments) {
    static const char *const modes[] = {"0", "fast", "1"};
    if (count == 2)
        make(&mistakes[atoi(arguments[1]) % MISTAKES]);
    puts("| mistake | by default | `checks=fast` | `checks=1` |\n|---|---|---|---|");
    for (int i = 0; i < MISTAKES; i++) {
        printf("| %s |", mistakes[i].words);
        for (int mode = 0; mode < 3; mode++)
            printf(" %s |", outcome_words[outcome_of(arguments[0], i, modes[mode])]);
        puts("");
    }
    return 0;
}
