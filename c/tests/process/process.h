/* process.h - helpers for tests of the whole process: its threads, memory and page faults.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Nothing here allocates, except load_make.
 */
#ifndef TEST_PROCESS_H
#define TEST_PROCESS_H

#include "test.h"

#include <hakmem.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MIB ((size_t)1 << 20)

enum { PATIENCE_MS = 8000 };

/* Polls until the condition holds or `ms` have passed. The result is the final value of the
 * condition. */
#define BECOMES(condition, ms)                                                                     \
    __extension__({                                                                                \
        uint64_t becomes_end = test_now_ns() + (uint64_t)(ms)*1000000u;                            \
        while (!(condition) && test_now_ns() < becomes_end)                                        \
            test_sleep_ms(5);                                                                      \
        (condition) != 0;                                                                          \
    })

/* ---- Children -------------------------------------------------------------------------------- */

/* Like test_in_child, but kills a child that hangs after a few seconds. */
struct soon {
    void (*body)(void *);
    void *arg;
};

static TEST_UNUSED void run_soon(void *soon) {
    enum { SOON_SECONDS = 15 };
    alarm(SOON_SECONDS);
    ((struct soon *)soon)->body(((struct soon *)soon)->arg);
}

static TEST_UNUSED struct test_child in_child(void (*body)(void *), void *arg) {
    struct soon soon = {body, arg};
    return test_in_child(run_soon, &soon);
}

/* Waits for a child. Returns whether its exit status was 0. */
static TEST_UNUSED int ended_well(pid_t child) {
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        test_print("    status %#x of a child\n", (unsigned)status);
    return child > 0 && status == 0;
}

/* ---- Figures --------------------------------------------------------------------------------- */

static TEST_UNUSED long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* Returns the kernel's count of threads of this process. */
static TEST_UNUSED unsigned tasks(void) {
    struct stat info;
    return stat("/proc/self/task", &info) == 0 ? (unsigned)info.st_nlink - 2 : 0;
}

/* Reads a small file in /proc/self/task/TASK/. The text is empty if the file does not exist. */
static TEST_UNUSED void read_of_task(long task, const char *file, char *text, size_t bytes) {
    char path[128];
    snprintf(path, sizeof path, "/proc/self/task/%ld/%s", task, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, bytes - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
}

/* Reads a line of a task's status file, without its name and the tabs. Empty if there is none. */
static TEST_UNUSED void status_of_task(long task, const char *key, char *value, size_t bytes) {
    char text[8192];
    read_of_task(task, "status", text, sizeof text);
    char *line = text;
    while (line && strncmp(line, key, strlen(key)) != 0) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    line = line ? line + strlen(key) + 1 : text + strlen(text);
    line += strspn(line, " \t");
    snprintf(value, bytes, "%.*s", (int)strcspn(line, "\n"), line);
}

/* Calls visit(arg, id) for each thread of the process. */
static TEST_UNUSED void each_task(void (*visit)(void *arg, long task), void *arg) {
    struct entry {
        uint64_t inode;
        int64_t offset;
        unsigned short length;
        unsigned char type;
        char name[];
    };
    static char buffer[1 << 16] __attribute__((aligned(8)));
    int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;) {
        for (long at = 0; at < n;) {
            struct entry *entry = (struct entry *)(void *)(buffer + at);
            at += entry->length;
            if (entry->name[0] != '.')
                visit(arg, atol(entry->name));
        }
    }
    close(fd);
}

struct found {
    unsigned count;
    long task;
};

static TEST_UNUSED void find_scavenger(void *arg, long task) {
    struct found *found = arg;
    char name[64];
    read_of_task(task, "comm", name, sizeof name);
    if (strcmp(name, "hakmem-purge\n") == 0) {
        found->count++;
        found->task = task;
    }
}

static TEST_UNUSED struct found find_scavengers(void) {
    struct found found = {0, 0};
    each_task(find_scavenger, &found);
    return found;
}

static TEST_UNUSED unsigned scavengers(void) { return find_scavengers().count; }

/* ---- Load ------------------------------------------------------------------------------------ */

/* Blocks that were written to. The list does not come from the allocator under test. */
struct load {
    char **list;
    size_t count, bytes;
};

static TEST_UNUSED struct load load_make(size_t total, size_t bytes) {
    struct load load = {NULL, total / bytes, bytes};
    load.list = test_map(load.count * sizeof *load.list);
    for (size_t i = 0; i < load.count; i++) {
        load.list[i] = malloc(bytes);
        if (!load.list[i]) {
            test_print("    load_make: no memory\n");
            _exit(1);
        }
        memset(load.list[i], 1, bytes);
    }
    return load;
}

static TEST_UNUSED void load_free(struct load load) {
    for (size_t i = 0; i < load.count; i++)
        free(load.list[i]);
    munmap(load.list, load.count * sizeof *load.list);
}

/* Does random work in `SLOTS` slots: `steps` pairs of free and malloc. */
static TEST_UNUSED void churn(uint64_t seed, size_t steps) {
    enum { SLOTS = 300 };
    void *slots[SLOTS] = {0};
    for (size_t i = 0; i < steps; i++) {
        uint64_t r = test_random(&seed);
        size_t size = r % 100 == 0 ? (r >> 20) % 2000000 : (r >> 20) % 3000;
        free(slots[r % SLOTS]);
        slots[r % SLOTS] = malloc(size);
        if (size)
            *(char *)slots[r % SLOTS] = 1;
    }
    for (size_t i = 0; i < SLOTS; i++)
        free(slots[i]);
}

/* Threads that run until they are stopped. */
enum { HANDS_MOST = 16 };
static struct {
    pthread_t threads[HANDS_MOST];
    unsigned count;
    int stopping; /* atomic */
} hands;

static TEST_UNUSED int going(void) { return !__atomic_load_n(&hands.stopping, __ATOMIC_ACQUIRE); }

static TEST_UNUSED void start_hand(void *(*run)(void *), void *arg) {
    hands.threads[hands.count++] = test_thread(run, arg);
}

static TEST_UNUSED void stop_hands(void) {
    __atomic_store_n(&hands.stopping, 1, __ATOMIC_RELEASE);
    while (hands.count > 0)
        pthread_join(hands.threads[--hands.count], NULL);
    __atomic_store_n(&hands.stopping, 0, __ATOMIC_RELEASE);
}

static TEST_UNUSED void *churn_until_stopped(void *arg) {
    for (uint64_t seed = (uint64_t)(uintptr_t)arg; going(); seed++)
        churn(seed, 1000);
    return NULL;
}

/* Allocates once and then sleeps. */
static TEST_UNUSED void *sleep_until_stopped(void *arg) {
    free(HIDE(malloc(100)));
    if (arg)
        pthread_barrier_wait((pthread_barrier_t *)arg);
    while (going())
        test_sleep_ms(5);
    return NULL;
}

/* Starts a thread that sleeps, and returns after it has allocated. */
static TEST_UNUSED void start_sleeper(void) {
    pthread_barrier_t ready;
    pthread_barrier_init(&ready, NULL, 2);
    start_hand(sleep_until_stopped, &ready);
    pthread_barrier_wait(&ready);
    pthread_barrier_destroy(&ready);
}

#endif
