/* misuse.c - the effect of each mistake on an allocator, for the table of c/docs/misuse.md.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * usage: misuse NUMBER [RUNS]
 *
 * Linked with no allocator, and run with one preloaded. Makes the mistake of that number in forked
 * children, RUNS times, and prints the name of the mistake, a tab, and its outcomes. A child makes
 * the mistake, and then allocates and frees blocks, writes to them, and compares their contents.
 * With a number past the last one, it prints nothing.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum outcome {
    REPORT,
    FAULT,
    REPORT_LATER,
    CRASH_LATER,
    TWO_OWNERS,
    UNNOTICED,
    REFUSED,
    GRANTED,
    ABSENT,
    OUTCOMES
};

static const char *const words[OUTCOMES] = {
    [REPORT] = "report",
    [FAULT] = "fault",
    [REPORT_LATER] = "report later",
    [CRASH_LATER] = "crash later",
    [TWO_OWNERS] = "**two owners**",
    [UNNOTICED] = "unnoticed",
    [REFUSED] = "refused",
    [GRANTED] = "a block",
    [ABSENT] = "no such function",
};

enum { SIZE = 112, NEIGHBOURS = 32, SECONDS = 10 };

/* Shared with the parent. */
static volatile struct state {
    bool made; /* the mistake is over */
    bool ended;
    enum outcome outcome; /* if it has ended */
} * state;

/* A block that the program uses, and that the allocator must not give away. */
static char *in_use;
static size_t in_use_bytes;

static void *hide(void *p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static char *block(size_t size) {
    char *p = hide(malloc(size));
    memset(p, 1, size);
    return p;
}

static void use(char *p, size_t bytes) {
    in_use = p;
    in_use_bytes = bytes;
    memset(p, 2, bytes);
}

static void end(enum outcome outcome) {
    state->outcome = outcome;
    state->ended = true;
    _exit(0);
}

/* ---- Frees ----------------------------------------------------------------------------------- */

static void free_twice_after(size_t others) {
    char *p = block(SIZE), *between[64];
    for (size_t i = 0; i < others; i++)
        between[i] = block(SIZE);
    free(p);
    for (size_t i = 0; i < others; i++)
        free(between[i]);
    free(hide(p));
}

static void free_twice(void) { free_twice_after(0); }
static void free_twice_after_one(void) { free_twice_after(1); }
static void free_twice_after_many(void) { free_twice_after(20); }

static void *free_in_thread(void *p) {
    free(hide(p));
    return NULL;
}

static void free_twice_in_threads(void) {
    char *p = block(SIZE);
    pthread_t thread;
    free(p);
    if (pthread_create(&thread, NULL, free_in_thread, p) == 0)
        pthread_join(thread, NULL);
}

static void free_large_twice(void) {
    char *p = block(1000000);
    free(p);
    free(hide(p));
}

static void free_inside(void) {
    char *p = block(SIZE);
    use(p, SIZE);
    free(hide(p + 16));
}

static void free_misaligned(void) {
    char *p = block(SIZE);
    use(p, SIZE);
    free(hide(p + 1));
}

static void free_stack(void) {
    char array[4 * SIZE] __attribute__((aligned(64)));
    memset(array, 0, sizeof array);
    use(array, sizeof array);
    free(hide(array + SIZE));
}

static void realloc_freed(void) {
    char *p = block(SIZE);
    free(p);
    p = hide(realloc(hide(p), 5000));
    if (p != NULL)
        use(p, 5000);
}

/* A function of C++, which is that of the allocator or that of the standard library. */
static void *find(const char *name) {
    void *function = dlsym(RTLD_DEFAULT, name);
    if (function == NULL && dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL) != NULL)
        function = dlsym(RTLD_DEFAULT, name);
    if (function == NULL)
        end(ABSENT);
    return function;
}

/* The sized delete of C++. That of the standard library ignores the size. */
static void free_with_size(size_t size) {
    void (*sized)(void *, size_t);
    *(void **)&sized = find("_ZdlPvm");
    sized(hide(block(SIZE)), size);
}

static void free_with_large_size(void) { free_with_size(2000); }
static void free_with_small_size(void) { free_with_size(16); }

static void free_of_other_family(void) {
    void *(*new_array)(size_t);
    *(void **)&new_array = find("_Znam");
    free(hide(new_array(SIZE)));
}

/* ---- Accesses -------------------------------------------------------------------------------- */

static void write_freed(void) {
    char *p = block(SIZE), *other = block(SIZE);
    free(p);
    free(other);
    memset(hide(p), 0x41, 16);
    memset(hide(other), 0x41, 16);
}

static void read_freed(void) {
    char *p = block(SIZE);
    free(p);
    char volatile *freed = hide(p);
    (void)freed[SIZE / 2];
}

/* Writes past the end of one of several neighbours, and frees all of them. */
static void overflow(size_t bytes) {
    char *blocks[NEIGHBOURS];
    for (int i = 0; i < NEIGHBOURS; i++)
        blocks[i] = block(SIZE);
    for (int i = 0; i < NEIGHBOURS; i++)
        memset((char *)hide(blocks[i]) + SIZE, 0x41, bytes);
    state->made = true;
    for (int i = 0; i < NEIGHBOURS; i++)
        free(blocks[i]);
}

static void overflow_by_1(void) { overflow(1); }
static void overflow_by_16(void) { overflow(16); }
static void overflow_by_64(void) { overflow(64); }

/* ---- Arguments ------------------------------------------------------------------------------- */

static void align_to_24(void) {
    size_t align = (size_t)hide((void *)24);
    end(hide(aligned_alloc(align, 240)) == NULL ? REFUSED : GRANTED);
}

static void overflowing_calloc(void) {
    size_t count = (size_t)hide((void *)(SIZE_MAX / 16 + 2));
    end(hide(calloc(count, 16)) == NULL ? REFUSED : GRANTED);
}

static const struct mistake {
    const char *name;
    void (*make)(void);
} mistakes[] = {
    {"second free, at once", free_twice},
    {"second free, after one other free", free_twice_after_one},
    {"second free, after 20 other frees", free_twice_after_many},
    {"second free, from another thread", free_twice_in_threads},
    {"second free of a block of 1 MB", free_large_twice},
    {"free 16 bytes into a block", free_inside},
    {"free 1 byte into a block", free_misaligned},
    {"free of a pointer to the stack", free_stack},
    {"realloc of a freed block", realloc_freed},
    {"free with too large a size", free_with_large_size},
    {"free with too small a size", free_with_small_size},
    {"free of a block of `new[]`", free_of_other_family},
    {"write to a freed block", write_freed},
    {"read of a freed block", read_freed},
    {"write of 1 byte past the end", overflow_by_1},
    {"write of 16 bytes past the end", overflow_by_16},
    {"write of 64 bytes past the end", overflow_by_64},
    {"`aligned_alloc` with an alignment of 24", align_to_24},
    {"`calloc` with a product above 2^64", overflowing_calloc},
};
enum { MISTAKES = sizeof mistakes / sizeof mistakes[0] };

/* ---- The state of the allocator afterwards --------------------------------------------------- */

static bool overlaps(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    return a < b + b_bytes && b < a + a_bytes;
}

/* Fills blocks with their numbers. Returns whether one was changed or is in use twice. */
static bool has_two_owners(size_t size) {
    enum { COUNT = 3000 };
    static uint32_t *given[COUNT];
    bool twice = false;
    for (uint32_t i = 0; i < COUNT; i++) {
        given[i] = malloc(size);
        twice |= in_use != NULL && overlaps((char *)given[i], size, in_use, in_use_bytes);
        for (size_t k = 0; !twice && k < size / sizeof i; k++)
            given[i][k] = i;
    }

    for (uint32_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < size / sizeof i; k++)
            twice |= given[i][k] != i;
    }
    for (uint32_t i = 0; !twice && i < COUNT; i++)
        free(given[i]);
    return twice;
}

static enum outcome examine(void) {
    static const size_t sizes[] = {SIZE, 16, 48, 96, SIZE, 1000, SIZE};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (has_two_owners(sizes[i]))
            return TWO_OWNERS;
    }
    malloc_trim(0);
    return has_two_owners(SIZE) ? TWO_OWNERS : UNNOTICED;
}

static void run(const struct mistake *mistake) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    alarm(SECONDS);
    if (freopen("/dev/null", "w", stderr) == NULL)
        _exit(1);
    free(block(SIZE)); /* the thread has started */
    mistake->make();
    state->made = true;
    end(examine());
}

static enum outcome outcome_of(const struct mistake *mistake) {
    int status;
    *state = (struct state){.made = false};
    pid_t child = fork();
    if (child == 0)
        run(mistake);
    if (child < 0 || waitpid(child, &status, 0) != child)
        exit(1);

    if (state->ended)
        return state->outcome;
    bool crashed =
        WIFSIGNALED(status) &&
        (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS || WTERMSIG(status) == SIGALRM);
    if (state->made)
        return crashed ? CRASH_LATER : REPORT_LATER;
    return crashed ? FAULT : REPORT;
}

int main(int count, char **arguments) {
    int number = count > 1 ? atoi(arguments[1]) : MISTAKES;
    int runs = count > 2 ? atoi(arguments[2]) : 1;
    bool seen[OUTCOMES] = {false};
    if (number >= MISTAKES)
        return 0;

    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (state == MAP_FAILED)
        return 1;
    for (int i = 0; i < runs; i++)
        seen[outcome_of(&mistakes[number])] = true;

    printf("%s\t", mistakes[number].name);
    const char *separator = "";
    for (int i = 0; i < OUTCOMES; i++) {
        if (seen[i]) {
            printf("%s%s", separator, words[i]);
            separator = " or ";
        }
    }
    puts("");
    return 0;
}
