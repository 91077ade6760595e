/* standard_error.c - messages go to standard error, and never to a file that reuses its descriptor.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive preload shared
#include "test.h"

#include <malloc.h>
#include <stdbool.h>
#include <sys/socket.h>

extern char **environ;

static char data_path[] = "/tmp/hakmem-data-XXXXXX", log_path[] = "/tmp/hakmem-log-XXXXXX";

static void empty_files(void) {
    static bool made;
    if (!made) {
        close(mkstemp(data_path));
        close(mkstemp(log_path));
        made = true;
    }
    truncate(data_path, 0);
    truncate(log_path, 0);
}

__attribute__((destructor)) static void remove_files(void) {
    if (data_path[strlen(data_path) - 1] != 'X' && !getenv("STANDARD_ERROR_CHILD")) {
        unlink(data_path);
        unlink(log_path);
    }
}

static const char *text_of(const char *path) {
    static char text[2][65536];
    static unsigned next;
    char *to = text[next++ % 2];
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, to, sizeof text[0] - 1);
    close(fd);
    to[n > 0 ? n : 0] = 0;
    return to;
}

/* ---- What the child does --------------------------------------------------------------------- */

/* A constructor that runs before main. In a child process it does the work of the child. */
enum what { RESTARTED_OPENS_DATA = 'o', RESTARTED_CLOSES = 'c', RESTARTED_LOGS = 'l' };

static void write_data(int flags) {
    int fd = open(data_path, O_WRONLY | flags);
    if (fd != 2 || write(fd, "DATA\n", 5) != 5)
        _exit(9);
}

__attribute__((constructor)) static void restarted(void) {
    const char *what = getenv("STANDARD_ERROR_CHILD");
    if (what == NULL)
        return;
    strcpy(data_path, what + 1);
    strcpy(log_path, strchr(data_path, ':') + 1);
    *strchr(data_path, ':') = 0;
    free(malloc(100));
    if (*what == RESTARTED_CLOSES)
        close(2);
    if (*what == RESTARTED_LOGS) {
        int log = open(log_path, O_WRONLY | O_APPEND);
        if (dup2(log, 2) != 2)
            _exit(9);
        close(log);
    } else {
        write_data(0);
    }
    malloc_stats();
    exit(0);
}

struct restart {
    enum what what;
    bool closed; /* standard error, at the start */
    bool stats;  /* with HAKMEM_STATS=1 */
};

/* Executes this program again, with standard error redirected to the log or closed. */
static int restart(struct restart start) {
    empty_files();
    pid_t pid = fork();
    if (pid == 0) {
        char what[100];
        snprintf(what, sizeof what, "%c%s:%s", start.what, data_path, log_path);
        setenv("STANDARD_ERROR_CHILD", what, 1);
        if (start.stats)
            setenv("HAKMEM_STATS", "1", 1);
        int log = open(log_path, O_WRONLY);
        dup2(log, 2);
        close(log);
        if (start.closed)
            close(2);
        execl("/proc/self/exe", "standard_error", NULL);
        _exit(8);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

TEST(a_file_that_is_opened_as_2_by_a_process_without_standard_error_is_data) {
    for (int stats = 0; stats < 2; stats++) {
        AT("stats", stats);
        CHECK_EQ(restart((struct restart){RESTARTED_OPENS_DATA, true, stats}), 0);
        CHECK_STR(text_of(data_path), "DATA\n");
    }
}

TEST(a_file_that_is_opened_as_2_after_a_close_is_data) {
    CHECK_EQ(restart((struct restart){RESTARTED_CLOSES, false, false}), 0);
    CHECK_STR(text_of(data_path), "DATA\n");
    CHECK_STR(text_of(log_path), "");
}

TEST(with_the_option_stats_the_report_is_not_lost_then) {
    CHECK_EQ(restart((struct restart){RESTARTED_CLOSES, false, true}), 0);
    CHECK_STR(text_of(data_path), "DATA\n");
    CHECK_CONTAINS(text_of(log_path), "live");
}

TEST(a_log_that_the_program_appends_standard_error_to_gets_messages) {
    CHECK_EQ(restart((struct restart){RESTARTED_LOGS, false, false}), 0);
    CHECK_CONTAINS(text_of(log_path), "live");
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void free_twice(void) {
    static char nothing[64];
    free(HIDE((void *)(nothing + 16)));
}

static void data_as_2_then_error(void *arg) {
    (void)arg;
    empty_files();
    close(2);
    write_data(0);
    free_twice();
}

TEST(an_error_line_is_not_written_to_data) {
    empty_files();
    struct test_child child = test_in_child(data_as_2_then_error, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT);
    CHECK_STR(text_of(data_path), "DATA\n");
}

static void socket_as_2_then_error(void *arg) {
    int *ends = arg;
    dup2(ends[0], 2);
    close(ends[0]);
    free_twice();
}

TEST(an_error_line_is_not_written_to_a_connection) {
    int ends[2];
    char text[10];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    struct test_child child = test_in_child(socket_as_2_then_error, ends);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT);
    CHECK_EQ(recv(ends[1], text, sizeof text, MSG_DONTWAIT), -1);
    close(ends[0]);
    close(ends[1]);
}

static void log_as_1_and_2_then_error(void *arg) {
    (void)arg;
    int log = open(log_path, O_WRONLY);
    dup2(log, 1);
    dup2(log, 2);
    close(log);
    free_twice();
}

TEST(a_file_for_both_outputs_gets_error_lines) {
    empty_files();
    struct test_child child = test_in_child(log_as_1_and_2_then_error, NULL);
    CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT);
    CHECK_CONTAINS(text_of(log_path), "hakmem: free()");
}
