/* unit/barrier_linux.c - a thread is reported as asleep only if this is certain.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"
#include "test.h"

static uint64_t id; /* atomic; of the other thread */
static uint32_t stopped;
static int handler_pipe[2];

static uint64_t other(void) { return __atomic_load_n(&id, __ATOMIC_ACQUIRE); }

static pthread_t start(void *(*run)(void *)) {
    __atomic_store_n(&id, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&stopped, 0, __ATOMIC_RELAXED);
    pthread_t thread = test_thread(run, NULL);
    while (other() == 0)
        test_sleep_ms(1);
    test_sleep_ms(20);
    return thread;
}

static void stop(pthread_t thread) {
    __atomic_store_n(&stopped, 1, __ATOMIC_RELAXED);
    hk_os_wake(&stopped);
    pthread_join(thread, NULL);
}

static void tell_id(void) { __atomic_store_n(&id, hk_os_thread_id(), __ATOMIC_RELEASE); }

static void *sleep_on_a_futex(void *arg) {
    hk_os_generation();
    tell_id();
    while (!__atomic_load_n(&stopped, __ATOMIC_RELAXED))
        hk_os_wait(&stopped, 0);
    return arg;
}

static void *spin(void *arg) {
    tell_id();
    while (!__atomic_load_n(&stopped, __ATOMIC_RELAXED)) {
    }
    return arg;
}

TEST(a_thread_in_a_system_call_sleeps) {
    hk_os_generation();
    pthread_t thread = start(sleep_on_a_futex);
    CHECK(hk_os_thread_sleeps(other(), hk_os_signal_mask()));
    stop(thread);
}

TEST(a_thread_with_another_signal_mask_is_not_known_to_sleep) {
    hk_os_generation();
    pthread_t thread = start(sleep_on_a_futex);
    CHECK(!hk_os_thread_sleeps(other(), hk_os_signal_mask() ^ 1));
    stop(thread);
}

TEST(a_thread_that_runs_does_not_sleep) {
    hk_os_generation();
    pthread_t thread = start(spin);
    for (int i = 0; i < 1000; i++)
        CHECK(!hk_os_thread_sleeps(other(), hk_os_signal_mask()));
    stop(thread);
}

TEST(neither_nobody_nor_a_thread_that_ended_sleeps) {
    hk_os_generation();
    pthread_t thread = start(sleep_on_a_futex);
    uint64_t ended = other();
    stop(thread);
    CHECK(!hk_os_thread_sleeps(ended, hk_os_signal_mask()));
    CHECK(!hk_os_thread_sleeps(0, hk_os_signal_mask()));
}

static void block_in_handler(int signal) {
    char byte;
    (void)signal;
    ssize_t bytes = read(handler_pipe[0], &byte, 1);
    (void)bytes;
}

TEST(a_thread_whose_signal_handler_blocks_does_not_sleep) {
    hk_os_generation();
    REQUIRE(pipe(handler_pipe) == 0);
    struct sigaction action = {.sa_handler = block_in_handler, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t thread = start(spin);
    pthread_kill(thread, SIGUSR1);
    test_sleep_ms(20);
    CHECK(!hk_os_thread_sleeps(other(), hk_os_signal_mask()));
    CHECK_EQ(write(handler_pipe[1], "", 1), 1);
    stop(thread);
}

TEST(handlers_that_do_not_block_their_signal_are_seen) {
    CHECK(hk_os_handlers_block_their_signal());
    struct sigaction action = {.sa_handler = block_in_handler, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR2, &action, NULL);
    CHECK(!hk_os_handlers_block_their_signal());
    action.sa_flags = 0;
    sigaction(SIGUSR2, &action, NULL);
    CHECK(hk_os_handlers_block_their_signal());
}

static uint32_t flag, answer;

static void *answer_flag(void *arg) {
    while (__atomic_load_n(&flag, __ATOMIC_RELAXED) == 0) {
    }
    __atomic_store_n(&answer, 1, __ATOMIC_RELAXED);
    return arg;
}

TEST(a_barrier_passes_where_the_kernel_knows_it) {
    pthread_t thread = test_thread(answer_flag, NULL);
    bool passed = hk_os_barrier();
    if (syscall(SYS_membarrier, 0, 0, 0) >= 0)
        CHECK(passed);
    __atomic_store_n(&flag, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    CHECK_EQ(answer, 1);
}

/* A filter that kills the process at this call. */
static void enter_sandbox_and_ask(void *unused) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {TEST_COUNT(rules), rules};
    (void)unused;
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    CHECK(!hk_os_barrier());
}

TEST(in_a_sandbox_the_kernel_is_not_asked_for_a_barrier) {
    CHECK_EXITED(test_in_child(enter_sandbox_and_ask, NULL));
}
