/* unit/start_linux.c - system information at start, also with incomplete kernel interfaces.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: none
// flags: -Wno-unused-function
#include "os/syscall_linux.h"

/* The first argument of the system call that fails with EINVAL. */
static long refused_call, refused_argument;
static inline long enter(long number, const long arguments[6]) {
    if (number == refused_call && arguments[0] == refused_argument)
        return -EINVAL;
    return os_enter_kernel(number, arguments);
}
#undef os_syscall
#define os_syscall(number, ...) enter((number), (const long[6]){__VA_ARGS__})

/* The folder of a test. It contains no /proc unless the test creates one. */
#define HK_OS_ROOT "/tmp/hakmem-no-such-folder"
#include "base/string.c"
#include "os/start_linux.c"
/* Included after the file under test, which includes the headers in its own order. */
#include "test.h"

#include <sched.h>

/* Neither the auxiliary vector nor, with the root folder above, /proc is available. */
static void refuse_auxv(void) {
    refused_call = SYS_prctl;
    refused_argument = OS_GET_AUXV;
}

static void check_facts(void *arg) {
    (void)arg;
    CHECK_EQ(hk_os_page_bytes(), sysconf(_SC_PAGESIZE));
    CHECK(hk_os_environment() == environ);
    CHECK(!hk_os_environment_is_early());

    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t expected = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    CHECK_LE(hk_os_now_ms(), expected + 1000);
    CHECK_GE(hk_os_now_ms() + 100, expected);
}

static void check_facts_without_auxv(void *arg) {
    refuse_auxv();
    check_facts(arg);
    CHECK_EQ(os_start.clock, OS_CLOCK_MISSING);
}

TEST(page_clock_and_environment_are_known) { CHECK_EXITED(test_in_child(check_facts, NULL)); }

TEST(page_clock_and_environment_are_known_without_the_auxiliary_vector) {
    CHECK_EXITED(test_in_child(check_facts_without_auxv, NULL));
}

static void read_clock_of_kernel(void *arg) {
    (void)arg;
    uint64_t entries[OS_AUXV_ENTRIES][2];
    if (os_read_auxv(entries) == 0)
        return; /* before Linux 6.4, only /proc provides the vector */
    hk_os_now_ms();
    CHECK(os_start.clock > 4096);
}

TEST(the_clock_needs_no_system_call) { CHECK_EXITED(test_in_child(read_clock_of_kernel, NULL)); }

static void become_set_uid(void *arg) {
    (void)arg;
    refuse_auxv();
    REQUIRE(seteuid(65534) == 0);
    CHECK(hk_os_environment() == NULL);
}

static void become_undumpable(void *arg) {
    (void)arg;
    refuse_auxv();
    REQUIRE(prctl(PR_SET_DUMPABLE, 0) == 0);
    CHECK(hk_os_environment() == NULL);
}

TEST(without_the_vector_a_process_of_two_users_trusts_no_environment) {
    if (geteuid() != 0)
        SKIP("only root can change the user");
    CHECK_EXITED(test_in_child(become_set_uid, NULL));
}

TEST(without_the_vector_a_process_with_other_privileges_trusts_no_environment) {
    CHECK_EXITED(test_in_child(become_undumpable, NULL));
}

static void lose_environ(void *arg) {
    (void)arg;
    environ = NULL;
    CHECK(hk_os_environment_is_early());
    CHECK(hk_os_environment() == NULL);
}

TEST(without_environ_and_proc_the_environment_is_early) {
    CHECK_EXITED(test_in_child(lose_environ, NULL));
}

static void mark_tree(void *arg) {
    (void)arg;
    CHECK(hk_os_mark_tree());
    CHECK(!hk_os_mark_tree());
    pid_t pid = fork();
    if (pid == 0)
        _exit(hk_os_mark_tree());
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
}

TEST(a_mark_is_inherited) {
    if (prctl(PR_GET_TIMERSLACK) % 1000 == 1)
        SKIP("the test was started by a marked process");
    CHECK_EXITED(test_in_child(mark_tree, NULL));
}
