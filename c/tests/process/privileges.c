/* privileges.c - scheduling and privileges of the scavenger, and programs that drop privileges.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_DELAY_MS=200
#include "process.h"

#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>

enum { NOBODY = 65534 };

static void *barrier_then_sleep(void *arg) { return sleep_until_stopped(arg); }

/* A second thread of the program, with its own cache. */
static void start_second(void) {
    static pthread_barrier_t ready; /* the other thread may leave it later */
    pthread_barrier_init(&ready, NULL, 2);
    free(HIDE(malloc(1)));
    start_hand(barrier_then_sleep, &ready);
    pthread_barrier_wait(&ready);
}

static long scavenger(void) {
    struct found found = {0, 0};
    (void)BECOMES((found = find_scavengers()).count == 1, 2000);
    REQUIRE(found.count == 1);
    return found.task;
}

/* ---- Scheduling ------------------------------------------------------------------------------ */

static void *grow_specially(void *arg) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), arg ? 15 : -15);
    struct sched_param parameters = {arg ? 0 : 20};
    sched_setscheduler(0, arg ? SCHED_IDLE : SCHED_RR, &parameters);
    load_make(60 * MIB, 1000);
    while (going())
        test_sleep_ms(5);
    return NULL;
}

static void look_at_scheduling(void *special) {
    cpu_set_t all, its;
    int nice = getpriority(PRIO_PROCESS, 0);
    sched_getaffinity(0, sizeof all, &all);
    free(HIDE(malloc(1)));
    start_hand(grow_specially, special);
    long task = scavenger();
    CHECK(BECOMES(sched_getscheduler((pid_t)task) == SCHED_OTHER, 500));
    CHECK(BECOMES(getpriority(PRIO_PROCESS, (id_t)task) == nice, 500));
    test_sleep_ms(20);
    sched_getaffinity((pid_t)task, sizeof its, &its);
    CHECK(CPU_EQUAL(&all, &its));
    stop_hands();
}

TEST(it_has_the_usual_scheduling_when_a_real_time_thread_started_it) {
    if (getuid() != 0)
        SKIP("needs root");
    CHECK_EXITED(in_child(look_at_scheduling, NULL));
}

TEST(it_has_the_usual_scheduling_when_an_idle_thread_started_it) {
    if (getuid() != 0)
        SKIP("needs root, to raise the priority again");
    CHECK_EXITED(in_child(look_at_scheduling, (void *)1));
}

static void bind_main(void *unused) {
    (void)unused;
    cpu_set_t all, one, its;
    sched_getaffinity(0, sizeof all, &all);
    free(HIDE(malloc(1)));
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    start_second();
    load_make(60 * MIB, 1000);
    long task = scavenger();
    test_sleep_ms(20);
    sched_getaffinity((pid_t)task, sizeof its, &its);
    CHECK(CPU_EQUAL(&all, &its));
    stop_hands();
}

TEST(it_may_use_all_cpus_of_the_process_when_main_bound_itself_to_one) {
    CHECK_EXITED(in_child(bind_main, NULL));
}

/* ---- Rights ---------------------------------------------------------------------------------- */

static void look_at_rights(void *unused) {
    (void)unused;
    enum { SETGID = 1 << 6, SETUID = 1 << 7 };
    char value[256];
    start_second();
    load_make(60 * MIB, 1000);
    long task = scavenger();
    test_sleep_ms(20);
    status_of_task(task, "CapEff", value, sizeof value);
    CHECK_EQ(strtoull(value, NULL, 16) & ~(uint64_t)(SETGID | SETUID), 0);
    status_of_task(task, "CapPrm", value, sizeof value);
    CHECK_EQ(strtoull(value, NULL, 16) & ~(uint64_t)(SETGID | SETUID), 0);
    status_of_task(task, "CapInh", value, sizeof value);
    CHECK_EQ(strtoull(value, NULL, 16), 0);
    status_of_task(task, "NoNewPrivs", value, sizeof value);
    CHECK_STR(value, "1");
    status_of_task(getpid(), "NoNewPrivs", value, sizeof value);
    CHECK_STR(value, "0");
    stop_hands();
}

TEST(it_has_no_capabilities_beyond_those_for_changing_users) {
    CHECK_EXITED(in_child(look_at_rights, NULL));
}

static void check_users(void *key, long task) {
    char value[256], wanted[64];
    snprintf(wanted, sizeof wanted, "%d\t%d\t%d\t%d", NOBODY, NOBODY, NOBODY, NOBODY);
    status_of_task(task, key, value, sizeof value);
    CHECK_STR(value, wanted);
}

static void check_no_groups(void *unused, long task) {
    (void)unused;
    char value[256];
    status_of_task(task, "Groups", value, sizeof value);
    CHECK_STR(value, "");
}

static void check_no_capabilities(void *unused, long task) {
    (void)unused;
    char value[256];
    status_of_task(task, "CapEff", value, sizeof value);
    CHECK_EQ(strtoull(value, NULL, 16), 0);
    status_of_task(task, "CapPrm", value, sizeof value);
    CHECK_EQ(strtoull(value, NULL, 16), 0);
}

static void change_users(void *way) {
    start_second();
    struct load load = load_make(60 * MIB, 1000);
    scavenger();
    CHECK_EQ(setgroups(0, NULL), 0);
    each_task(check_no_groups, NULL);
    if (way) {
        CHECK_EQ(setresgid(NOBODY, NOBODY, NOBODY), 0);
        CHECK_EQ(setresuid(NOBODY, NOBODY, NOBODY), 0);
    } else {
        CHECK_EQ(setgid(NOBODY), 0);
        CHECK_EQ(setuid(NOBODY), 0);
    }
    each_task(check_users, (void *)"Uid");
    each_task(check_users, (void *)"Gid");
    each_task(check_no_capabilities, NULL);
    CHECK_EQ(scavengers(), 1);
    errno = 0;
    CHECK_EQ(setuid(0), -1); /* fails in each thread */
    CHECK_EQ(errno, EPERM);
    CHECK_EQ(seteuid(0), -1);
    load_free(load);
    stop_hands();
}

TEST(setuid_and_setgid_change_the_scavenger_too) {
    if (getuid() != 0)
        SKIP("needs root");
    CHECK_EXITED(in_child(change_users, NULL));
    CHECK_EXITED(in_child(change_users, (void *)1));
}

static void leave_and_return(void *unused) {
    (void)unused;
    start_second();
    load_make(60 * MIB, 1000);
    scavenger();
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(setegid(NOBODY), 0);
        CHECK_EQ(seteuid(NOBODY), 0);
        CHECK_EQ(seteuid(0), 0);
        CHECK_EQ(setegid(0), 0);
    }
    stop_hands();
}

TEST(a_program_may_change_its_user_for_a_while) {
    if (getuid() != 0)
        SKIP("needs root");
    CHECK_EXITED(in_child(leave_and_return, NULL));
}

/* ---- Namespaces and filters ------------------------------------------------------------------ */

static int can_unshare;

static void unshare_small(void *unused) {
    (void)unused;
    CHECK_EQ(unshare(CLONE_NEWUSER), 0);
}

static void unshare_large(void *threads) {
    struct load load = load_make(100 * MIB, 1000);
    if (threads) {
        start_second();
        load_free(load_make(60 * MIB, 3000));
        scavenger();
        stop_hands();
        (void)BECOMES(tasks() == 1, 500);
    }
    CHECK_EQ(unshare(CLONE_NEWUSER), 0);
    load_free(load);
}

TEST(a_large_single_threaded_program_may_enter_a_user_namespace) {
    can_unshare = WEXITSTATUS(in_child(unshare_small, NULL).status) == 0;
    if (!can_unshare)
        SKIP("user namespaces are not available");
    CHECK_EXITED(in_child(unshare_large, NULL));
    CHECK_EXITED(in_child(unshare_large, (void *)1));
}

/* Allows every system call except clone and clone3, which get `action`. */
static void filter_clone(uint32_t action) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, action),
    };
    struct sock_fprog filter = {TEST_COUNT(code), code};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static void sandbox(void *action) {
    start_second();
    filter_clone((uint32_t)(uintptr_t)action);
    struct load load = load_make(100 * MIB, 1000);
    CHECK_EQ(scavengers(), 0);
    size_t full = test_rss();
    load_free(load);
    load_free(load_make(60 * MIB, 200000));
    CHECK_EQ(scavengers(), 0);
    CHECK_LE(test_rss(), full - 80 * MIB); /* memory is still returned */
    stop_hands();
}

TEST(a_program_with_a_seccomp_filter_gets_no_scavenger) {
    CHECK_EXITED(in_child(sandbox, (void *)(uintptr_t)SECCOMP_RET_ALLOW));
    CHECK_EXITED(in_child(sandbox, (void *)(uintptr_t)SECCOMP_RET_KILL_PROCESS));
    CHECK_EXITED(in_child(sandbox, (void *)(uintptr_t)(SECCOMP_RET_ERRNO | EAGAIN)));
}

/* Kills the process at all system calls, except those for memory, waiting, output, and information
 * on the calling thread. */
static void filter_all_but_usual(void) {
    static const int allowed[] = {
        SYS_mmap,      SYS_munmap,          SYS_mremap,         SYS_madvise,
        SYS_mprotect,  SYS_futex,           SYS_write,          SYS_read,
        SYS_openat,    SYS_close,           SYS_exit,           SYS_exit_group,
        SYS_prctl,     SYS_getpid,          SYS_getrusage,      SYS_gettid,
        SYS_brk,       SYS_sched_yield,     SYS_rt_sigprocmask, SYS_rt_sigreturn,
        SYS_nanosleep, SYS_clock_nanosleep,
    };
    struct sock_filter code[2 * TEST_COUNT(allowed) + 2];
    struct sock_filter *at = code;
    *at++ =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < TEST_COUNT(allowed); i++) {
        *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog filter = {TEST_COUNT(code), code};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static void strict_sandbox(void *threads) {
    free(HIDE(malloc(1)));
    if (threads)
        start_second();
    filter_all_but_usual();
    for (int i = 0; i < 3; i++) {
        load_free(load_make(60 * MIB, 1000));
        load_free(load_make(60 * MIB, 5 * MIB));
        churn(5, 2000);
    }
    hak_trim();
    _exit(0);
}

TEST(a_program_may_allocate_under_a_filter_that_kills_at_most_system_calls) {
    CHECK_EXITED(in_child(strict_sandbox, NULL));
    CHECK_EXITED(in_child(strict_sandbox, (void *)1));
}

/* Kills the process, in all of its threads, at a system call. */
static void filter_call(unsigned call) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {TEST_COUNT(code), code};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0);
}

/* The start of another program under a filter that kills at a call which libc does not make. */
static void start_without_mincore(void *unused) {
    (void)unused;
    filter_call(SYS_mincore);
    setenv("TEST_ONLY_START", "1", 1);
    execl("/proc/self/exe", "privileges", (char *)NULL);
}

/* Runs in the other program. */
__attribute__((constructor)) static void only_start(void) {
    if (getenv("TEST_ONLY_START")) {
        load_free(load_make(MIB, 1000));
        _exit(0);
    }
}

TEST(a_program_may_start_under_a_filter_that_kills_at_mincore) {
    CHECK_EXITED(in_child(start_without_mincore, NULL));
}

static void note_limit(void *arg, const struct hak_limit *limit) {
    (void)limit;
    __atomic_add_fetch((unsigned *)arg, 1, __ATOMIC_SEQ_CST);
}

/* The scavenger starts before the filter, and would read the pressure while it waits. */
static void sandbox_without_files(void *unused) {
    static unsigned called;
    (void)unused;
    CHECK_EQ(hak_option_set("purge_delay_ms", "100"), 0);
    start_second();
    load_free(load_make(60 * MIB, 3000));
    scavenger();
    filter_call(SYS_openat);

    CHECK_EQ(hak_option_set("limit_soft", "100000000"), 0);
    hak_on_limit(note_limit, &called);
    for (int i = 0; i < 3; i++) {
        load_free(load_make(90 * MIB, 5 * MIB));
        load_free(load_make(20 * MIB, 1000));
        churn(5, 2000);
        test_sleep_ms(500);
    }
    CHECK(__atomic_load_n(&called, __ATOMIC_SEQ_CST) > 0); /* the options still count */
    _exit(test_state.failures != 0);
}

TEST(under_a_filter_no_file_is_read_while_the_program_runs) {
    CHECK_EXITED(in_child(sandbox_without_files, NULL));
}
