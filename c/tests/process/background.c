/* background.c - when the scavenger exists, and how a program without one returns memory.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_DELAY_MS=200
// timeout: 120
#include "process.h"

#include <limits.h>
#include <sched.h>

/* ---- Single-threaded programs ---------------------------------------------------------------- */

static void *touch_heap(void *arg) {
    struct load load = load_make(2 * MIB, 1000);
    load_free(load);
    return arg;
}

static void grow_and_fork(void *unused) {
    (void)unused;
    for (size_t bytes = 16; bytes <= 5 * MIB; bytes *= 8) {
        load_free(load_make(100 * MIB, bytes));
        CHECK_EQ(tasks(), 1);
    }
    struct load kept = load_make(100 * MIB, 1000);
    CHECK_EQ(tasks(), 1);
    pid_t child = fork();
    if (child == 0) {
        load_free(load_make(50 * MIB, 1000));
        load_free(kept);
        _exit(tasks() != 1);
    }
    CHECK(ended_well(child));
    load_free(kept);
}

TEST(a_single_threaded_program_stays_single_threaded_at_any_size) {
    CHECK_EXITED(in_child(grow_and_fork, NULL));
}

static void join_threads(void *unused) {
    (void)unused;
    struct load load = load_make(100 * MIB, 1000);
    start_sleeper();
    for (int i = 0; i < 5; i++)
        pthread_join(test_thread(touch_heap, NULL), NULL);
    load_free(load_make(30 * MIB, 1000));
    CHECK(BECOMES(scavengers() == 1, 2000));
    stop_hands();
    CHECK(BECOMES(tasks() == 1, 500));
    load_free(load);
    load_free(load_make(100 * MIB, 3000));
    CHECK_EQ(tasks(), 1);
}

TEST(a_program_that_joined_its_threads_is_single_threaded_again) {
    CHECK_EXITED(in_child(join_threads, NULL));
}

static void fork_with_threads(void *unused) {
    (void)unused;
    start_sleeper();
    struct load load = load_make(100 * MIB, 1000);
    CHECK(BECOMES(scavengers() == 1, 2000));
    pid_t child = fork();
    if (child == 0) {
        load_free(load_make(50 * MIB, 1000));
        if (tasks() != 1)
            _exit(1);
        hands.count = 0;
        start_sleeper();
        test_sleep_ms(20);
        load_free(load_make(30 * MIB, 3000));
        int has_one = BECOMES(scavengers() == 1, 2000);
        stop_hands();
        int has_none = BECOMES(tasks() == 1, 500);
        _exit(!has_one ? 2 : !has_none ? 3 : 0);
    }
    CHECK(ended_well(child));
    CHECK_EQ(scavengers(), 1);
    load_free(load);
    stop_hands();
}

TEST(a_forked_child_has_a_scavenger_only_once_it_has_threads) {
    CHECK_EXITED(in_child(fork_with_threads, NULL));
}

/* ---- Memory of a program that sleeps --------------------------------------------------------- */

enum how { PLAIN, ZEROED, SHRUNK, BACKWARDS };
struct kind {
    size_t bytes;
    enum how how;
};

static struct load load_of(struct kind kind) {
    if (kind.how == PLAIN || kind.how == BACKWARDS || kind.how == SHRUNK)
        return load_make(60 * MIB, kind.bytes);
    struct load load = {NULL, 60 * MIB / kind.bytes, kind.bytes};
    load.list = test_map(load.count * sizeof *load.list);
    for (size_t i = 0; i < load.count; i++)
        memset(load.list[i] = calloc(1, kind.bytes), 1, kind.bytes);
    return load;
}

static void end_load(struct load load, enum how how) {
    for (size_t i = 0; how == BACKWARDS && i < load.count / 2; i++) {
        char *other = load.list[i];
        load.list[i] = load.list[load.count - 1 - i];
        load.list[load.count - 1 - i] = other;
    }
    for (size_t i = 0; how == SHRUNK && i < load.count; i++)
        load.list[i] = realloc(load.list[i], load.bytes / 64);
    if (how != SHRUNK)
        load_free(load);
}

static void idle(void *arg) {
    struct kind kind = *(struct kind *)arg;
    size_t before = test_rss();
    struct load load = load_of(kind);
    size_t list = load.count * sizeof *load.list;
    CHECK_GE(test_rss(), before + 55 * MIB);
    end_load(load, kind.how);
    before += kind.how == SHRUNK ? list : 0;
    AT("bytes how", kind.bytes, kind.how);
    CHECK_LE(test_rss(), before + 16 * MIB);
    CHECK_EQ(tasks(), 1);
}

TEST(a_single_threaded_program_gives_back_when_it_frees) {
    static const size_t sizes[] = {16, 100, 1000, 5000, 30000, 100000, 300000, 5 * MIB, 20 * MIB};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        for (enum how how = PLAIN; how <= BACKWARDS; how++) {
            struct kind kind = {sizes[i], how};
            if (how != SHRUNK || sizes[i] >= 100000)
                CHECK_EXITED(in_child(idle, &kind));
        }
}

/* The blocks lie in huge pages of which little stays in use. */
static void shrink(void *unused) {
    (void)unused;
    enum { COUNT = 100, BYTES = 300000 };
    static char *list[COUNT];
    size_t before = test_rss();
    for (size_t i = 0; i < COUNT; i++)
        memset(list[i] = malloc(3 * MIB), 1, 3 * MIB);
    CHECK_GE(test_rss(), before + COUNT * 3 * MIB);
    for (size_t i = 0; i < COUNT; i++)
        list[i] = realloc(list[i], BYTES);
    CHECK_LE(test_rss(), before + (size_t)COUNT * BYTES + 24 * MIB);
    CHECK_EQ(tasks(), 1);
}

TEST(a_single_threaded_program_of_300_mb_gives_back_the_ends_of_its_blocks) {
    CHECK_EXITED(in_child(shrink, NULL));
}

static void *sleep_with_heap(void *arg) {
    touch_heap(NULL);
    pause();
    return arg;
}

/* The process has a sleeping thread, so that there is a scavenger. */
static void keep_every_60th(void *unused) {
    (void)unused;
    enum { COUNT = 60000, BYTES = 1024 };
    static char *list[COUNT];
    test_thread(sleep_with_heap, NULL);
    test_sleep_ms(50);
    size_t before = test_rss();
    for (size_t i = 0; i < COUNT; i++)
        memset(list[i] = malloc(BYTES), 1, BYTES);
    test_sleep_ms(1000); /* the scavenger sleeps after this */
    for (size_t i = 0; i < COUNT; i++)
        if (i % 60 != 0)
            free(list[i]);
    CHECK(BECOMES(test_rss() <= before + 20 * MIB, PATIENCE_MS));
}

TEST(pages_between_live_blocks_go_back_while_a_program_with_threads_sleeps) {
    CHECK_EXITED(in_child(keep_every_60th, NULL));
}

static void idle_mixed(void *unused) {
    (void)unused;
    size_t before = test_rss();
    uint64_t seed = 5;
    enum { COUNT = 4000 };
    char **list = test_map(COUNT * sizeof *list);
    for (size_t i = 0; i < COUNT; i++) {
        size_t bytes = ((size_t)16 << test_random(&seed) % 13) + test_random(&seed) % 16;
        memset(list[i] = malloc(bytes), 1, bytes);
    }
    CHECK_GE(test_rss(), before + 30 * MIB);
    for (size_t i = 0; i < COUNT; i++)
        free(list[i]);
    CHECK_LE(test_rss(), before + 16 * MIB);
}

TEST(so_does_one_with_blocks_of_all_sizes) { CHECK_EXITED(in_child(idle_mixed, NULL)); }

static void loop(void *arg) {
    size_t bytes = *(size_t *)arg;
    long start = 0;
    REQUIRE(hak_option_set("purge_delay_ms", "5000") == 0); /* longer than a round */
    for (int round = 0; round < 13; round++) {
        if (round == 3)
            start = faults();
        struct load load = load_make(60 * MIB, bytes);
        for (size_t i = 0; i < load.count; i++)
            free(load.list[i]); /* the list stays, because its page faults are not relevant */
    }
    long list = (long)(60 * MIB / bytes * sizeof(void *) / 4096 + 2) * 10;
    AT("bytes", bytes);
    CHECK_LE(faults() - start, list + 4000); /* 10 rounds of 15360 pages */
}

TEST(a_loop_that_allocates_and_frees_the_same_memory_keeps_its_pages) {
    static const size_t sizes[] = {16, 1000, 5000, 100000, 5 * MIB};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        CHECK_EXITED(in_child(loop, (void *)(uintptr_t)&sizes[i]));
}

static void never(void *unused) {
    (void)unused;
    REQUIRE(hak_option_set("background", "never") == 0);
    start_sleeper();
    size_t before = test_rss();
    struct load load = load_make(100 * MIB, 1000);
    load_free(load);
    CHECK_EQ(scavengers(), 0);
    CHECK_LE(test_rss(), before + 16 * MIB);
    stop_hands();
}

TEST(background_never_has_no_scavenger_and_gives_back_all_the_same) {
    CHECK_EXITED(in_child(never, NULL));
}

static void count_while_it_starts(void *unused) {
    (void)unused;
    struct hak_thread_counters counted;
    start_sleeper();
    hak_thread_count_start();
    load_free(load_make(100 * MIB, 1000));
    hak_thread_counters(&counted, sizeof counted);
    hak_thread_count_stop();
    CHECK(BECOMES(scavengers() == 1, 2000));
    CHECK(counted.bytes_allocated >= 100 * MIB);
    CHECK_EQ(counted.bytes_allocated, counted.bytes_freed);
    CHECK_EQ(counted.blocks_allocated, counted.blocks_freed);
    stop_hands();
}

TEST(the_start_of_the_scavenger_does_not_count_for_the_thread_that_starts_it) {
    CHECK_EXITED(in_child(count_while_it_starts, NULL));
}

static void *free_load(void *load) {
    load_free(*(struct load *)load);
    return NULL;
}

static void free_in_last_thread(void *unused) {
    (void)unused;
    size_t before = test_rss();
    start_sleeper();
    struct load load = load_make(100 * MIB, 1000);
    CHECK(BECOMES(scavengers() == 1, 2000));
    pthread_t last = test_thread(free_load, &load);
    __atomic_store_n(&hands.stopping, 1, __ATOMIC_RELEASE);
    pthread_join(last, NULL);
    pthread_join(hands.threads[0], NULL);
    CHECK(BECOMES(tasks() == 1, 500));
    CHECK(BECOMES(test_rss() <= before + 16 * MIB, 1000));
}

TEST(memory_that_the_last_other_thread_freed_is_given_back) {
    CHECK_EXITED(in_child(free_in_last_thread, NULL));
}

/* ---- The end of the process ------------------------------------------------------------------ */

static void *work_shortly(void *arg) {
    if (arg)
        load_free(load_make(40 * MIB, 1000));
    test_sleep_ms(50);
    return NULL;
}

/* A process that has not ended by then never ends. Most need less than one second. */
enum { ENDS_SECONDS = 30 };

static int exit_status_fd;

/* An ordinary exit handler, which uses the stack and has the privileges of the program. */
static void exit_handler(void) {
    volatile char room[512 * 1024];
    for (size_t i = 0; i < sizeof room; i += 4096)
        room[i] = 1;
    char name[32] = "";
    int fd = open("/proc/thread-self/comm", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, name, sizeof name - 1) < 0)
        _exit(3);
    int ours = strncmp(name, "hakmem", 6) == 0;
    if (write(exit_status_fd, ours ? "h" : "p", 1) != 1)
        _exit(4);
}

/* In musl 1.2.3, the main thread of a forked child keeps a lock of libc when it exits, and all
 * threads that end later wait for it. */
#if defined(__GLIBC__)
enum { MAIN_MAY_EXIT_FIRST = 1 };
#else
enum { MAIN_MAY_EXIT_FIRST = 0 };
#endif

static void require_early_exit(void) {
    if (!MAIN_MAY_EXIT_FIRST)
        SKIP("with this libc, the main thread of a forked child must exit last");
}

struct leaving {
    const char *background;
    int load_main, load_workers;
};

static void leave_main(void *arg) {
    struct leaving leaving = *(struct leaving *)arg;
    alarm(ENDS_SECONDS);
    REQUIRE(hak_option_set("background", leaving.background) == 0);
    atexit(exit_handler);
    if (leaving.load_main)
        load_make(60 * MIB, 1000);
    for (int i = 0; i < 2; i++)
        test_thread(work_shortly, leaving.load_workers ? &leaving : NULL);
    pthread_exit(NULL);
}

/* A thread creates its cache in its last round of destructors, so that ours does not run again. */
static pthread_key_t late_key;
static __thread int late_round;

static void allocate_last(void *value) {
    if (++late_round < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(late_key, value);
    else
        load_free(load_make(MIB, 1000));
}

static void *work_late(void *arg) {
    pthread_setspecific(late_key, &late_key);
    return arg;
}

static void leave_main_with_lost_caches(void *unused) {
    (void)unused;
    alarm(ENDS_SECONDS);
    pthread_key_create(&late_key, allocate_last);
    load_make(60 * MIB, 1000);
    for (int i = 0; i < 3; i++)
        pthread_join(test_thread(work_late, NULL), NULL);
    test_thread(work_shortly, &late_key);
    pthread_exit(NULL);
}

TEST(lost_caches_do_not_keep_a_process_alive) {
    require_early_exit();
    CHECK_EXITED(test_in_child(leave_main_with_lost_caches, NULL));
}

TEST(a_process_whose_main_called_pthread_exit_ends_with_its_last_thread) {
    static const char *const backgrounds[] = {"auto", "always", "never"};
    require_early_exit();
    for (int i = 0; i < 12; i++) {
        struct leaving leaving = {backgrounds[i % 3], i / 3 % 2, i / 6 % 2};
        int ends[2];
        REQUIRE(pipe(ends) == 0);
        exit_status_fd = ends[1];
        AT("background load_main load_workers", i % 3, i / 3 % 2, i / 6 % 2);
        struct test_child child = test_in_child(leave_main, &leaving);
        AT("background load_main load_workers", i % 3, i / 3 % 2, i / 6 % 2);
        CHECK_EXITED(child);
        close(ends[1]);
        char thread = 0;
        CHECK_EQ(read(ends[0], &thread, 1), 1);
        CHECK_EQ(thread, 'p'); /* the exit handlers ran in a thread of the program */
        close(ends[0]);
    }
}

/* Uses a CPU until the other end of a pipe is closed. */
static void burn(int end) {
    char byte;
    while (read(end, &byte, 1) < 0 && errno == EAGAIN)
        ;
    _exit(0);
}

/* The scavenger shares one CPU with other processes, which get nearly all of its time. */
static void leave_main_with_slow_scavenger(void *unused) {
    (void)unused;
    enum { BURNERS = 3 };
    cpu_set_t cpus, one;
    int alive[2], cpu = 0;
    alarm(ENDS_SECONDS);
    REQUIRE(sched_getaffinity(0, sizeof cpus, &cpus) == 0 && pipe2(alive, O_NONBLOCK) == 0);
    while (!CPU_ISSET(cpu, &cpus))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);

    REQUIRE(hak_option_set("background", "always") == 0);
    atexit(exit_handler);
    load_make(60 * MIB, 1000);
    REQUIRE(BECOMES(scavengers() == 1, PATIENCE_MS));
    REQUIRE(setpriority(PRIO_PROCESS, (id_t)find_scavengers().task, 19) == 0);
    for (int i = 0; i < BURNERS; i++) {
        if (fork() == 0) {
            close(alive[1]);
            burn(alive[0]);
        }
    }
    test_thread(work_shortly, NULL);
    pthread_exit(NULL);
}

TEST(no_exit_handler_runs_in_a_scavenger_that_gets_little_time) {
    require_early_exit();
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    exit_status_fd = ends[1];
    CHECK_EXITED(test_in_child(leave_main_with_slow_scavenger, NULL));
    close(ends[1]);
    char thread = 0;
    CHECK_EQ(read(ends[0], &thread, 1), 1);
    CHECK_EQ(thread, 'p');
    close(ends[0]);
}

TEST(a_signal_ends_a_process_with_a_scavenger) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        start_sleeper();
        load_make(60 * MIB, 1000);
        if (!BECOMES(scavengers() == 1, 2000) || write(ends[1], "x", 1) != 1)
            _exit(1);
        sigset_t all;
        sigfillset(&all);
        pause();
    }
    char ready;
    close(ends[1]);
    CHECK_EQ(read(ends[0], &ready, 1), 1);
    CHECK_EQ(kill(child, SIGTERM), 0);
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    close(ends[0]);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static void refuse_threads(void *unused) {
    (void)unused;
    enum { NOBODY = 65534, THREADS = 30 };
    if (getuid() != 0)
        return;
    REQUIRE(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    start_sleeper();
    struct rlimit limit;
    getrlimit(RLIMIT_NPROC, &limit);
    rlim_t usual = limit.rlim_cur;
    limit.rlim_cur = 1;
    REQUIRE(setrlimit(RLIMIT_NPROC, &limit) == 0);
    struct load load = load_make(100 * MIB, 1000);
    CHECK_EQ(scavengers(), 0);
    limit.rlim_cur = usual;
    REQUIRE(setrlimit(RLIMIT_NPROC, &limit) == 0);
    for (int i = 0; i < 100 && scavengers() == 0; i++) {
        load_free(load_make(3 * MIB, 3000));
        test_sleep_ms(20);
    }
    CHECK_EQ(scavengers(), 1);
    load_free(load);
    stop_hands();
}

TEST(a_refused_thread_is_tried_again_and_nothing_is_said) {
    struct test_child child = in_child(refuse_threads, NULL);
    CHECK_EXITED(child);
    CHECK_STR(child.errors, "");
}

static void keep_errno(void *unused) {
    (void)unused;
    start_sleeper();
    for (int i = 0; i < 200; i++) {
        errno = 77;
        void *a = malloc(300000), *b = calloc(1, 400000);
        CHECK_EQ(errno, 77);
        memset(a, 1, 300000);
        memset(b, 1, 400000);
        a = realloc(a, 2 * MIB);
        memset(a, 1, 2 * MIB);
        CHECK_EQ(errno, 77);
        a = realloc(a, 100);
        CHECK_EQ(errno, 77);
        free(b);
        CHECK_EQ(errno, 77);
        free(a);
        CHECK_EQ(errno, 77);
    }
    errno = 78;
    load_free(load_make(100 * MIB, 1000));
    CHECK_EQ(errno, 78);
    stop_hands();
}

TEST(allocating_and_freeing_keep_errno) { CHECK_EXITED(in_child(keep_errno, NULL)); }

/* ---- Signal handlers ------------------------------------------------------------------------- */

static void allocate_in_handler(int signal) {
    (void)signal;
    load_free(load_make(40 * MIB, 3000)); /* sigaction's mask blocks this signal in the handler */
}

static void handle_signal(void *unused) {
    (void)unused;
    start_sleeper();
    free(HIDE(malloc(1)));
    test_sleep_ms(20);
    signal(SIGUSR1, allocate_in_handler);
    raise(SIGUSR1);
    CHECK_EQ(scavengers(), 0);
    test_sleep_ms(150); /* longer than the pause after a failure */
    load_free(load_make(60 * MIB, 3000));
    CHECK(BECOMES(scavengers() == 1, 1000));
    stop_hands();
}

TEST(a_signal_handler_that_allocates_starts_no_scavenger) {
    CHECK_EXITED(in_child(handle_signal, NULL));
}

static void vfork_child(void *background) {
    REQUIRE(hak_option_set("background", background) == 0);
    start_sleeper();
    free(HIDE(malloc(1)));
    test_sleep_ms(20);
    unsigned before = scavengers();
    pid_t child = vfork();
    if (child == 0) {
        load_free(load_make(60 * MIB, 3000));
        _exit(0);
    }
    CHECK(ended_well(child));
    CHECK_EQ(scavengers(), before);
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(stats.threads, 2); /* the parent's threads were not mistaken for ended threads */
    stop_hands();
}

TEST(a_child_of_vfork_starts_no_scavenger) {
    CHECK_EXITED(in_child(vfork_child, (void *)"auto"));
    CHECK_EXITED(in_child(vfork_child, (void *)"always"));
}

TEST(background_is_one_of_three_words) {
    char value[32];
    static const char *const words[] = {"always", "never", "auto"};
    for (size_t i = 0; i < TEST_COUNT(words); i++) {
        CHECK_EQ(hak_option_set("background", words[i]), 0);
        CHECK_EQ(hak_option_get("background", value, sizeof value), 0);
        CHECK_STR(value, words[i]);
    }
    CHECK_EQ(hak_option_set("background", "sometimes"), EINVAL);
    CHECK_EQ(hak_option_set("background", ""), EINVAL);
    CHECK_EQ(hak_option_get("background", value, sizeof value), 0);
    CHECK_STR(value, "auto");
}
