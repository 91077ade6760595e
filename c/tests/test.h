/* test.h - the test framework for C.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A test program is one file and one process. It defines tests, whose names are sentences:
 *
 *     #include "test.h"
 *     TEST(free_of_null_does_nothing)
 *     {
 *         free(NULL);
 *     }
 *
 * This file defines main. It runs the tests in the order of the file, prints "ok NAME", "not ok
 * NAME" or "skip NAME: reason" for each, and ends with "N passed, N failed". Nothing in this file
 * allocates, so that a test may count blocks exactly.
 */
#ifndef TEST_H
#define TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
#define TEST_NULL nullptr
#else
#define TEST_NULL NULL
#endif

#define TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEST_UNUSED __attribute__((unused))

/* ---- Definition and outcome ------------------------------------------------------------------ */

struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
};

struct test_state {
    struct test_case *first, **last;
    unsigned failures; /* atomic: failed checks in the current test */
    const char *skip;  /* the reason, if the current test was skipped */
    jmp_buf end;       /* jump target of REQUIRE and SKIP */
    pthread_t runner;
    uint64_t seed;
    int seed_used;
};

/* The position of the innermost loop. It is printed with a failed check. */
struct test_place {
    const char *names;
    uint64_t values[4];
};

static struct test_state test_state;
static __thread struct test_place test_place;

static TEST_UNUSED void test_register(struct test_case *test) {
    if (!test_state.last)
        test_state.last = &test_state.first;
    *test_state.last = test;
    test_state.last = &test->next;
}

#define TEST(name_)                                                                                \
    static void name_(void);                                                                       \
    __attribute__((constructor)) static void register_##name_(void) {                              \
        static struct test_case self = {#name_, name_, TEST_NULL};                                 \
        test_register(&self);                                                                      \
    }                                                                                              \
    static void name_(void)

__attribute__((format(printf, 1, 2))) static TEST_UNUSED void test_print(const char *format, ...) {
    char line[8192];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0)
        return;
    size_t bytes = (size_t)length < sizeof line ? (size_t)length : sizeof line - 1;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(STDOUT_FILENO, line + done, bytes - done);
        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

/* Counts a failure. Returns whether it should be printed, because one wrong loop must not print a
 * million lines. */
static TEST_UNUSED int test_failed_and_prints(void) {
    enum { PRINTED = 8 };
    unsigned before = __atomic_fetch_add(&test_state.failures, 1, __ATOMIC_RELAXED);
    if (before == PRINTED)
        test_print("    (further failures of this test are not printed)\n");
    return before < PRINTED;
}

static TEST_UNUSED void test_print_place(void) {
    if (!test_place.names)
        return;
    test_print("    at %s =", test_place.names);
    for (size_t i = 0; i < TEST_COUNT(test_place.values); i++)
        if (i == 0 || test_place.values[i] != UINT64_MAX)
            test_print(" %llu", (unsigned long long)test_place.values[i]);
    test_print("\n");
}

static TEST_UNUSED void test_fail(const char *file, int line, const char *expression) {
    if (!test_failed_and_prints())
        return;
    test_print("    %s:%d: failed: %s\n", file, line, expression);
    test_print_place();
}

static TEST_UNUSED void test_fail_values(const char *file, int line, const char *expression,
                                         uint64_t a, uint64_t b) {
    if (!test_failed_and_prints())
        return;
    test_print("    %s:%d: failed: %s\n    left %lld (%#llx), right %lld (%#llx)\n", file, line,
               expression, (long long)a, (unsigned long long)a, (long long)b,
               (unsigned long long)b);
    test_print_place();
}

static TEST_UNUSED void test_fail_strings(const char *file, int line, const char *expression,
                                          const char *a, const char *b) {
    if (!test_failed_and_prints())
        return;
    test_print("    %s:%d: failed: %s\n    left  \"%s\"\n    right \"%s\"\n", file, line,
               expression, a, b);
    test_print_place();
}

__attribute__((noreturn)) static TEST_UNUSED void test_leave(void) {
    if (pthread_equal(pthread_self(), test_state.runner))
        longjmp(test_state.end, 1);
    test_print("    (failed outside the test's own thread: the program ends)\n");
    _exit(1);
}

/* Integers and pointers compare as unsigned 64-bit numbers. */
#define CHECK_OP(a, op, b)                                                                         \
    do {                                                                                           \
        uint64_t check_a = (uint64_t)(uintptr_t)(a), check_b = (uint64_t)(uintptr_t)(b);           \
        if (!(check_a op check_b))                                                                 \
            test_fail_values(__FILE__, __LINE__, #a " " #op " " #b, check_a, check_b);             \
    } while (0)
#define CHECK_EQ(a, b) CHECK_OP(a, ==, b)
#define CHECK_LE(a, b) CHECK_OP(a, <=, b)
#define CHECK_GE(a, b) CHECK_OP(a, >=, b)
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(__FILE__, __LINE__, #condition);                                             \
    } while (0)
#define CHECK_STR(a, b)                                                                            \
    do {                                                                                           \
        const char *check_a = (a), *check_b = (b);                                                 \
        if (strcmp(check_a, check_b) != 0)                                                         \
            test_fail_strings(__FILE__, __LINE__, #a " equals " #b, check_a, check_b);             \
    } while (0)
#define CHECK_CONTAINS(a, b)                                                                       \
    do {                                                                                           \
        const char *check_a = (a), *check_b = (b);                                                 \
        if (!strstr(check_a, check_b))                                                             \
            test_fail_strings(__FILE__, __LINE__, #a " contains " #b, check_a, check_b);           \
    } while (0)
/* Like CHECK, but ends the test on failure. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test_fail(__FILE__, __LINE__, #condition);                                             \
            test_leave();                                                                          \
        }                                                                                          \
    } while (0)
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        test_state.skip = (reason);                                                                \
        test_leave();                                                                              \
    } while (0)

/* Sets the position of a loop for the report of a failed check: AT("size align", size, align). */
#define AT_4(names_, a, b, c, d, ...)                                                              \
    do {                                                                                           \
        test_place.names = (names_);                                                               \
        test_place.values[0] = (uint64_t)(a);                                                      \
        test_place.values[1] = (uint64_t)(b);                                                      \
        test_place.values[2] = (uint64_t)(c);                                                      \
        test_place.values[3] = (uint64_t)(d);                                                      \
    } while (0)
#define AT(...) AT_4(__VA_ARGS__, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX)

/* ---- Helpers --------------------------------------------------------------------------------- */

/* Hides a value's origin from the compiler. Otherwise the compiler derives alignment and
 * distinctness from the attributes of malloc, and removes the checks of these. */
#define HIDE(value)                                                                                \
    __extension__({                                                                                \
        __typeof__(1 ? (value) : (value)) hidden = (value);                                        \
        __asm__ volatile("" : "+r"(hidden));                                                       \
        hidden;                                                                                    \
    })

/* Returns the seed of a test: HAKMEM_TEST_SEED, or `usual` by default. Printed when the
 * test fails. */
static TEST_UNUSED uint64_t test_seed(uint64_t usual) {
    const char *text = getenv("HAKMEM_TEST_SEED");
    if (!text)
        text = getenv("TEST_SEED");
    test_state.seed = text ? strtoull(text, TEST_NULL, 0) : usual;
    test_state.seed_used = 1;
    return test_state.seed;
}

/* splitmix64 */
static TEST_UNUSED uint64_t test_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static TEST_UNUSED uint64_t test_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static TEST_UNUSED void test_sleep_ms(unsigned ms) {
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* Returns field `index` of /proc/self/statm in bytes: 0 is address space, 1 is resident memory. */
static TEST_UNUSED size_t test_statm(int index) {
    char text[256] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    char *at = text;
    unsigned long pages = 0;
    for (int i = 0; i <= index; i++)
        pages = strtoul(at, &at, 10);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static TEST_UNUSED size_t test_rss(void) { return test_statm(1); }

/* A pattern that depends on the position, so that moved or mixed contents are detected. */
static TEST_UNUSED unsigned char test_byte(uint64_t key, size_t at) {
    return (unsigned char)((key * 0x9e3779b97f4a7c15u >> 56) + at + (at >> 8) * 7 +
                           (at >> 16) * 13);
}

static TEST_UNUSED void test_fill(void *block, size_t bytes, uint64_t key) {
    unsigned char *p = (unsigned char *)block;
    for (size_t i = 0; i < bytes; i++)
        p[i] = test_byte(key, i);
}

/* Returns the first position that does not match the pattern, or `bytes`. */
static TEST_UNUSED size_t test_intact(const void *block, size_t bytes, uint64_t key) {
    const unsigned char *p = (const unsigned char *)block;
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != test_byte(key, i))
            return i;
    return bytes;
}

/* Returns the first position that is not zero, or `bytes`. */
static TEST_UNUSED size_t test_zeros(const void *block, size_t bytes) {
    const unsigned char *p = (const unsigned char *)block;
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != 0)
            return i;
    return bytes;
}

/* Memory that does not come from the allocator under test. */
static TEST_UNUSED void *test_map(size_t bytes) {
    void *p = mmap(TEST_NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        test_print("    test_map: no memory\n");
        _exit(1);
    }
    return p;
}

static TEST_UNUSED pthread_t test_thread(void *(*run)(void *), void *arg) {
    pthread_t thread;
    int error = pthread_create(&thread, TEST_NULL, run, arg);
    if (error) {
        test_print("    pthread_create: error %d\n", error);
        _exit(1);
    }
    return thread;
}

static TEST_UNUSED void *test_wait_at(void *barrier) {
    pthread_barrier_wait((pthread_barrier_t *)barrier);
    return TEST_NULL;
}

/* libc caches the thread-local storage of ended threads, and allocates it from the heap under test.
 * A test that counts live blocks exactly must first run as many threads at once as it will need. */
static TEST_UNUSED void test_let_libc_keep_threads(size_t count) {
    enum { THREADS_MOST = 64 };
    pthread_t threads[THREADS_MOST];
    pthread_barrier_t barrier;
    if (count > THREADS_MOST)
        count = THREADS_MOST;
    pthread_barrier_init(&barrier, TEST_NULL, (unsigned)count);
    for (size_t i = 0; i < count; i++)
        threads[i] = test_thread(test_wait_at, &barrier);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], TEST_NULL);
    pthread_barrier_destroy(&barrier);
}

/* ---- Child processes that die ---------------------------------------------------------------- */

struct test_child {
    int status;        /* of waitpid */
    void *pointer;     /* the argument of the child's test_tell */
    char errors[4096]; /* its standard error */
};

static void **test_told;

/* Sends a pointer to the parent, before the child dies from it. */
static TEST_UNUSED void test_tell(void *pointer) { *test_told = pointer; }

/* Runs body(arg) in a forked child. With failed checks, its exit status is 99. */
static TEST_UNUSED struct test_child test_in_child(void (*body)(void *), void *arg) {
    enum { SECONDS = 50, CHECKS_FAILED = 99 };
    struct test_child child;
    memset(&child, 0, sizeof child);
    if (!test_told)
        test_told = (void **)mmap(TEST_NULL, sizeof *test_told, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ends[2];
    if ((void *)test_told == MAP_FAILED || pipe(ends) != 0) {
        test_print("    test_in_child: %s\n", strerror(errno));
        _exit(1);
    }
    *test_told = TEST_NULL;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        alarm(SECONDS);
        test_state.runner = pthread_self();
        test_state.failures = 0;
        if (setjmp(test_state.end) == 0)
            body(arg);
        _exit(test_state.failures ? CHECKS_FAILED : 0);
    }
    close(ends[1]);
    for (size_t length = 0;;) {
        char rest[256];
        size_t room = sizeof child.errors - 1 - length;
        ssize_t n = read(ends[0], room ? child.errors + length : rest, room ? room : sizeof rest);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (room)
            length += (size_t)n;
    }
    close(ends[0]);
    while (waitpid(pid, &child.status, 0) < 0 && errno == EINTR)
        ;
    child.pointer = *test_told;
    return child;
}

#define CHECK_ABORTED(child)                                                                       \
    do {                                                                                           \
        if (!WIFSIGNALED((child).status) || WTERMSIG((child).status) != SIGABRT)                   \
            test_fail_strings(__FILE__, __LINE__,                                                  \
                              #child " aborted; its standard error:", (child).errors, "");         \
    } while (0)
#define CHECK_EXITED(child)                                                                        \
    do {                                                                                           \
        struct test_child ended = (child);                                                         \
        if (!WIFEXITED(ended.status) || WEXITSTATUS(ended.status) != 0)                            \
            test_fail_strings(__FILE__, __LINE__,                                                  \
                              #child " exited with 0; its standard error:", ended.errors, "");     \
    } while (0)

/* ---- main ------------------------------------------------------------------------------------ */

/* The output is that of the Test Anything Protocol. */
#ifndef TEST_NO_MAIN
int main(void) {
    static unsigned number, failed; /* static: kept over longjmp */
    static struct test_case *test;
    test_state.runner = pthread_self();
    for (test = test_state.first; test; test = test->next) {
        test_state.failures = 0;
        test_state.skip = TEST_NULL;
        test_state.seed_used = 0;
        test_place.names = TEST_NULL;
        if (setjmp(test_state.end) == 0)
            test->run();

        number++;
        if (test_state.failures) {
            failed++;
            if (test_state.seed_used)
                test_print("    to repeat: HAKMEM_TEST_SEED=%llu\n",
                           (unsigned long long)test_state.seed);
            test_print("not ok %u - %s\n", number, test->name);
        } else if (test_state.skip) {
            test_print("ok %u - %s # SKIP %s\n", number, test->name, test_state.skip);
        } else {
            test_print("ok %u - %s\n", number, test->name);
        }
    }

    test_print("1..%u\n", number);
    return failed != 0;
}
#endif

#endif
