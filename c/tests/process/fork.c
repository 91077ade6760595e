/* fork.c - fork at every point where a program may call it, while other threads allocate.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_PURGE_DELAY_MS=1 HAKMEM_BACKGROUND=always
#include "process.h"

#include <limits.h>
#include <locale.h>
#include <netdb.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/time.h>

extern char **environ;

static int with_checks(void) {
    char value[32];
    return hak_option_get("checks", value, sizeof value) == 0 && strcmp(value, "1") == 0;
}

/* The work of a child on a heap that other threads were using at the fork. */
static void live(void) {
    churn(77, 500);
    void *large = malloc(3 * MIB);
    if (!large)
        _exit(1);
    memset(large, 1, 3 * MIB);
    free(large);
    hak_trim();
    if (hak_validate() != 0)
        _exit(2);
}

static void fork_and_live(void) {
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        live();
        _exit(0);
    }
    CHECK(ended_well(child));
}

/* ---- Locks of libc --------------------------------------------------------------------------- */

static FILE *lines_file;

static void *read_lines(void *arg) {
    char *line = NULL;
    size_t room = 0;
    while (going()) {
        rewind(lines_file);
        while (getline(&line, &room, lines_file) > 0) {
            free(line);
            line = NULL;
            room = 0;
        }
    }
    free(line);
    return arg;
}

static void *flush_all(void *arg) {
    while (going())
        fflush(NULL);
    return arg;
}

static void fork_among_streams(void *unused) {
    (void)unused;
    lines_file = tmpfile();
    REQUIRE(lines_file);
    for (int i = 0; i < 300; i++)
        fprintf(lines_file, "%*d\n", i * 10, i);
    start_hand(read_lines, NULL);
    start_hand(flush_all, NULL);
    start_hand(churn_until_stopped, NULL);
    for (int i = 0; i < 60; i++)
        fork_and_live();
    stop_hands();
}

TEST(getline_fflush_and_fork_in_three_threads_do_not_wait_for_each_other) {
    CHECK_EXITED(in_child(fork_among_streams, NULL));
}

static void *look_up_users(void *arg) {
    while (going()) {
        struct passwd entry, *found;
        char text[2048];
        getpwnam("root");
        getpwuid_r(0, &entry, text, sizeof text, &found);
    }
    return arg;
}

static void *look_up_hosts(void *arg) {
    while (going()) {
        struct addrinfo *list = NULL;
        if (getaddrinfo("localhost", "80", NULL, &list) == 0)
            freeaddrinfo(list);
    }
    return arg;
}

static void *change_places(void *arg) {
    for (unsigned i = 0; going(); i++) {
        time_t now = (time_t)i * 100000;
        struct tm parts;
        tzset();
        localtime_r(&now, &parts);
        setlocale(LC_ALL, i % 2 ? "C" : "C.UTF-8");
    }
    return arg;
}

static void fork_among_names(void *unused) {
    (void)unused;
    start_hand(look_up_users, NULL);
    start_hand(look_up_hosts, NULL);
    start_hand(change_places, NULL);
    for (int i = 0; i < 60; i++)
        fork_and_live();
    stop_hands();
}

TEST(name_service_time_zones_and_locales_do_not_wait_for_fork) {
    CHECK_EXITED(in_child(fork_among_names, NULL));
}

/* ---- Handlers of others ---------------------------------------------------------------------- */

static int handlers_work; /* for tests that need them */
static void *from_prepare;
static unsigned handler_calls;

static void *touch_heap(void *arg) {
    free(HIDE(malloc(500)));
    return arg;
}

static void handler_work(void) {
    if (!handlers_work)
        return;
    handler_calls++;
    void *large = malloc(40 * MIB);
    memset(large, 1, 4096);
    from_prepare = realloc(from_prepare, handler_calls % 2 ? 300000 : 30);
    churn(handler_calls, 100);
    free(large);
    hak_trim();
}

static void handler_work_with_thread(void) {
    handler_work();
    if (handlers_work)
        pthread_join(test_thread(touch_heap, NULL), NULL);
}

__attribute__((constructor(101))) static void register_first(void) {
    pthread_atfork(handler_work, handler_work_with_thread, handler_work_with_thread);
}

static void fork_with_handlers(void *unused) {
    (void)unused;
    handlers_work = 1;
    pthread_atfork(handler_work_with_thread, handler_work, handler_work_with_thread);
    start_hand(churn_until_stopped, (void *)1);
    start_hand(churn_until_stopped, (void *)2);
    for (int i = 0; i < 30; i++)
        fork_and_live();
    stop_hands();
    CHECK_GE(handler_calls, 30u * 4);
}

TEST(handlers_before_and_after_ours_may_allocate_trim_and_start_threads) {
    CHECK_EXITED(in_child(fork_with_handlers, NULL));
}

/* ---- Signal handlers ------------------------------------------------------------------------- */

enum { SIGNAL_FORKS = 60 };
static volatile sig_atomic_t signal_forks, in_signal_child, signal_bad;
static int signal_execs;

static void fork_in_handler(int signal) {
    (void)signal;
    if (signal_forks >= SIGNAL_FORKS)
        return;
    pid_t child = fork();
    if (child == 0) {
        if (signal_execs) {
            char *const arguments[] = {(char *)"true", NULL};
            execv("/bin/true", arguments);
            _exit(1);
        }
        alarm(10);
        in_signal_child = 1;
        return; /* continues where the parent was interrupted */
    }
    signal_forks++;
    signal_bad += !ended_well(child);
}

static void churn_with_timer(void *unused) {
    (void)unused;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = fork_in_handler;
    sigaction(SIGVTALRM, &action, NULL);
    struct itimerval often = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_VIRTUAL, &often, NULL);
    for (uint64_t seed = 1; signal_forks < SIGNAL_FORKS; seed++) {
        churn(seed, 50);
        if (in_signal_child) {
            live();
            _exit(0);
        }
    }
    CHECK_EQ(signal_bad, 0);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_child_of_a_signal_handler_goes_on_inside_malloc) {
    CHECK_EXITED(in_child(churn_with_timer, NULL));
}

TEST(a_child_of_a_signal_handler_may_exec) {
    signal_execs = 1;
    CHECK_EXITED(in_child(churn_with_timer, NULL));
    signal_execs = 0;
}

/* ---- Other ways to make a process ------------------------------------------------------------ */

static void spawn_under_load(void *unused) {
    (void)unused;
    char *const arguments[] = {(char *)"true", NULL};
    for (uintptr_t i = 0; i < 3; i++)
        start_hand(churn_until_stopped, (void *)i);
    for (int i = 0; i < 15; i++) {
        pid_t child = vfork();
        if (child == 0) {
            execv("/bin/true", arguments);
            _exit(1);
        }
        CHECK(ended_well(child));
        CHECK_EQ(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ), 0);
        CHECK(ended_well(child));
        CHECK_EQ(system("true"), 0);
        FILE *pipe = popen("echo hello", "r");
        char text[16] = "";
        REQUIRE(pipe);
        CHECK(fgets(text, sizeof text, pipe) != NULL);
        CHECK_STR(text, "hello\n");
        CHECK_EQ(pclose(pipe), 0);
    }
    stop_hands();
    CHECK_EQ(hak_validate(), 0);
}

TEST(vfork_posix_spawn_system_and_popen_work_under_load) {
    CHECK_EXITED(in_child(spawn_under_load, NULL));
}

static void vfork_and_allocate(void *unused) {
    (void)unused;
    start_sleeper();
    struct load load = load_make(30 * MIB, 1000);
    pid_t child = vfork();
    if (child == 0) {
        struct load more = load_make(40 * MIB, 1000);
        load_free(more);
        _exit(0);
    }
    CHECK(ended_well(child));
    load_free(load);
    CHECK_EQ(hak_validate(), 0);
    fork_and_live();
    stop_hands();
}

TEST(a_child_of_vfork_that_allocates_leaves_the_heap_sound) {
    CHECK_EXITED(in_child(vfork_and_allocate, NULL));
}

static void clone_under_load(void *unused) {
    (void)unused;
    for (uintptr_t i = 0; i < 3; i++)
        start_hand(churn_until_stopped, (void *)i);
    /* libc has a lock while a thread starts, and does not notice the clone. So the scavenger starts
     * before it. With checks=1 there is none. */
    load_free(load_make(60 * MIB, 1000));
    CHECK(with_checks() || BECOMES(find_scavengers().count == 1, PATIENCE_MS));
    for (int i = 0; i < 50; i++) {
        void *inherited = malloc(5000);
        test_fill(inherited, 5000, 3);
        pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            alarm(10);
            if (test_intact(inherited, 5000, 3) != 5000)
                _exit(3);
            free(inherited);
            live();
            pthread_join(test_thread(touch_heap, NULL), NULL);
            live();
            _exit(0);
        }
        AT("clone", i);
        CHECK(ended_well(child));
        free(inherited);
    }
    stop_hands();
}

TEST(a_child_of_the_clone_system_call_allocates_and_starts_threads) {
    CHECK_EXITED(in_child(clone_under_load, NULL));
}

/* The last system call ends only the calling thread, as where the function of clone() returns. */
static void clone_and_end_thread(void *unused) {
    (void)unused;
    CHECK_EQ(hak_option_set("background", "always"), 0);
    load_free(load_make(60 * MIB, 1000));
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        alarm(5);
        load_free(load_make(60 * MIB, 1000));
        if (tasks() != 1)
            _exit(3);
        syscall(SYS_exit, 0);
    }
    CHECK(ended_well(child));
}

TEST(a_child_of_the_clone_system_call_ends_with_its_only_thread) {
    CHECK_EXITED(in_child(clone_and_end_thread, NULL));
}

/* ---- Unusual threads ------------------------------------------------------------------------- */

static void *fork_first(void *arg) {
    for (int i = 0; i < 10; i++)
        fork_and_live();
    return arg;
}

static void fork_without_cache(void *unused) {
    (void)unused;
    start_hand(churn_until_stopped, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(test_thread(fork_first, NULL), NULL);
    stop_hands();
}

TEST(a_thread_that_never_allocated_may_fork) { CHECK_EXITED(in_child(fork_without_cache, NULL)); }

static pthread_key_t fork_key;
static __thread int fork_rounds;

static void fork_in_destructor(void *value) {
    fork_and_live();
    if (++fork_rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(fork_key, value);
}

static void *end_by_forking(void *arg) {
    if (arg)
        churn(3, 100);
    pthread_setspecific(fork_key, &fork_key);
    return NULL;
}

static void fork_at_thread_ends(void *unused) {
    (void)unused;
    REQUIRE(pthread_key_create(&fork_key, fork_in_destructor) == 0);
    start_hand(churn_until_stopped, NULL);
    for (uintptr_t i = 0; i < 6; i++)
        pthread_join(test_thread(end_by_forking, (void *)(i % 2)), NULL);
    stop_hands();
}

TEST(destructors_of_thread_keys_may_fork) { CHECK_EXITED(in_child(fork_at_thread_ends, NULL)); }

static void fork_at_exit(void) {
    fork_and_live();
    fork_and_live();
}

static void exit_by_forking(void *unused) {
    (void)unused;
    start_hand(churn_until_stopped, NULL);
    atexit(fork_at_exit);
    exit(0);
}

TEST(exit_handlers_may_fork) { CHECK_EXITED(in_child(exit_by_forking, NULL)); }

/* ---- Generations ----------------------------------------------------------------------------- */

static void nest(void *arg) {
    int left = *(int *)arg - 1;
    hands.count = 0; /* the parent's threads do not exist here */
    start_hand(churn_until_stopped, (void *)(uintptr_t)left);
    start_hand(churn_until_stopped, (void *)(uintptr_t)(left + 100));
    test_sleep_ms(10);
    if (left > 0)
        CHECK_EXITED(in_child(nest, &left));
    stop_hands();
    live();
}

TEST(children_with_threads_may_have_children_with_threads) {
    int generations = 6;
    CHECK_EXITED(in_child(nest, &generations));
}

/* ---- Many threads ---------------------------------------------------------------------------- */

static void *fill_cache(void *barrier) {
    void *blocks[400];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < TEST_COUNT(blocks); i++)
            memset(blocks[i] = malloc(512), 1, 512);
        for (size_t i = 0; i < TEST_COUNT(blocks); i++)
            free(blocks[i]);
    }
    return sleep_until_stopped(barrier);
}

static void *keep_parents_caches(void *arg) {
    (void)arg;
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK_LE(stats.threads, 1);
    hak_trim();
    hak_stats(&stats, sizeof stats);
    CHECK_LE(stats.threads, 1);
    CHECK_EQ(stats.bytes_cached, 0);
    CHECK_EQ(hak_validate(), 0);
    return NULL;
}

static void recover_caches(void *unused) {
    keep_parents_caches(NULL);
    /* The same holds for a child of the child. */
    pid_t child = fork();
    if (child == 0) {
        keep_parents_caches(unused);
        _exit(test_state.failures != 0);
    }
    CHECK(ended_well(child));
}

static void fork_with_threads(void *arg) {
    enum { THREADS_MOST = 1000 };
    static pthread_t threads[THREADS_MOST];
    unsigned count = *(unsigned *)arg;
    static pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, count + 1);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 << 10);
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], &small, fill_cache, &barrier) != 0)
            _exit(0); /* the machine allows no more */
    pthread_barrier_wait(&barrier);
    struct hak_stats before;
    hak_stats(&before, sizeof before);
    if (!with_checks())
        CHECK_EQ(before.threads, count + 1);

    CHECK_EXITED(in_child(recover_caches, NULL));

    struct hak_stats after;
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.threads, before.threads);
    __atomic_store_n(&hands.stopping, 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

TEST(a_child_recovers_the_caches_of_the_threads_that_it_does_not_have) {
    unsigned count = 30;
    CHECK_EXITED(in_child(fork_with_threads, &count));
}

TEST(a_program_with_a_thousand_threads_may_fork) {
    unsigned count = 1000;
    CHECK_EXITED(in_child(fork_with_threads, &count));
}

/* ---- Long operations in other threads -------------------------------------------------------- */

static void *trim_until_stopped(void *arg) {
    while (going())
        hak_trim();
    return arg;
}

static void *look_until_stopped(void *arg) {
    while (going()) {
        struct hak_stats stats;
        hak_stats(&stats, sizeof stats);
        hak_validate();
    }
    return arg;
}

static void fork_among_trims(void *unused) {
    (void)unused;
    start_hand(trim_until_stopped, NULL);
    start_hand(look_until_stopped, NULL);
    start_hand(churn_until_stopped, NULL);
    for (int i = 0; i < 100; i++) {
        AT("fork", i);
        fork_and_live();
    }
    stop_hands();
}

TEST(fork_works_while_other_threads_trim_and_validate) {
    CHECK_EXITED(in_child(fork_among_trims, NULL));
}
