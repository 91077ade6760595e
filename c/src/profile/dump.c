/* profile/dump.c - profiles of unmodified programs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "dump.h"

#include <signal.h>

#include "../base/atomic.h"
#include "../core/options.h"
#include "../os/check.h"
#include "../os/os.h"
#include "profile.h"
#include "write.h"

enum { DUMP_PATH_BYTES = 512, DUMP_LINE_BYTES = 640 };

static struct {
    uint32_t wanted; /* atomic; signals so far */
    uint32_t served; /* atomic; signals that the thread has seen */
    uint32_t files;  /* atomic; files so far */
    uint32_t owner;  /* atomic; dump_mark() of the process with the thread, 0 if there is none */
} dump;

/* Signal numbers, in the order of the choices of profile_signal. */
static const int dump_signals[] = {0, SIGHUP, SIGUSR1, SIGUSR2, SIGPROF};

/* ---- Files ----------------------------------------------------------------------------------- */

/* Replaces %p and %n in the pattern. */
static void dump_print_path(struct hk_text *path, const char *pattern) {
    uint32_t number = hk_add_relaxed(&dump.files, 1) - 1; /* relaxed: a unique number */
    for (; *pattern != 0; pattern++) {
        if (pattern[0] == '%' && pattern[1] == 'p')
            hk_text_add_number(path, hk_os_process_id());
        else if (pattern[0] == '%' && pattern[1] == 'n')
            hk_text_add_number(path, number);
        else {
            hk_text_add_bytes(path, pattern, 1);
            continue;
        }
        pattern++;
    }
}

static void dump_warn(const char *path) {
    char line[DUMP_LINE_BYTES];
    struct hk_text text = {line, line + sizeof line};
    hk_text_add(&text, "hakmem: cannot write the profile ");
    hk_text_add(&text, path);
    hk_text_add(&text, "\n");
    hk_os_write_error(line, (size_t)(text.at - line));
}

struct dump_file {
    int file;
    bool failed;
};

static void dump_take(void *arg, const char *text, size_t bytes) {
    struct dump_file *to = arg;
    to->failed = to->failed || !hk_os_write_file(to->file, text, bytes);
}

static void dump_to_file(void) {
    char path[DUMP_PATH_BYTES];
    struct hk_text text = {path, path + sizeof path - 1};
    dump_print_path(&text, hk_option_text(HK_OPTION_profile_file));
    *text.at = 0;

    struct dump_file to = {hk_os_create_file(path), false};
    bool done = to.file >= 0 && hk_profile_write(HAK_PROFILE_PPROF, dump_take, &to) == 0;
    if (to.file >= 0)
        hk_os_close_file(to.file);
    if (!done || to.failed)
        dump_warn(path);
}

static void dump_now(void) {
    if (hk_option(HK_OPTION_profile) == HK_PROFILE_LEAKS)
        hk_profile_write(HAK_PROFILE_LEAKS, NULL, NULL);
    else
        dump_to_file();
}

/* ---- Signals --------------------------------------------------------------------------------- */

/* Runs in a signal handler of any thread, which may hold any lock. */
static void dump_on_signal(int number) {
    (void)number;
    hk_add_relaxed(&dump.wanted, 1); /* relaxed: the futex orders it */
    hk_os_wake(&dump.wanted);
}

static void *dump_run(void *unused) {
    hk_thread_disable_cache();
    for (;;) {
        uint32_t wanted = hk_load_relaxed(&dump.wanted); /* relaxed: as above */
        if (wanted == hk_load_relaxed(&dump.served)) {   /* relaxed: we store it */
            hk_os_wait(&dump.wanted, wanted);
            continue;
        }
        hk_store_relaxed(&dump.served, wanted); /* relaxed: a hint for hk_dump_after_sample */
        dump_now();
    }
    return unused;
}

static bool dump_start_thread(void) {
    static const struct hk_os_thread thread = {dump_run, "hakmem-profile"};
    return hk_os_start_thread(&thread);
}

static uint32_t dump_mark(void) { return hk_os_generation() + 1; }

/* relaxed: these are counts and a mark, which order nothing else */
void hk_dump_after_sample(void) {
    uint32_t owner = hk_load_relaxed(&dump.owner);
    if (hk_likely(hk_load_relaxed(&dump.wanted) == hk_load_relaxed(&dump.served)) || owner == 0 ||
        owner == dump_mark())
        return;
    if (hk_cas_relaxed(&dump.owner, &owner, dump_mark()) && !dump_start_thread())
        hk_store_relaxed(&dump.owner, owner);
}

void hk_dump_start(void) {
    enum hk_profile mode = (enum hk_profile)hk_option(HK_OPTION_profile);
    uint64_t mean = hk_option(HK_OPTION_profile_rate);
    int number = dump_signals[hk_option(HK_OPTION_profile_signal)];

    if (mode == HK_PROFILE_OFF)
        return;
    if (mean == 0)
        mean = mode == HK_PROFILE_LEAKS ? 1 : HK_PROFILE_MEAN;
    if (hk_profile_start(mean, HK_UNWINDER_TABLES) != 0)
        return;
    if (number != 0 && dump_start_thread()) {
        hk_store_relaxed(&dump.owner, dump_mark()); /* relaxed: before there is a child */
        hk_os_handle_signal(number, dump_on_signal);
    }
}

void hk_dump_at_exit(void) {
    if (hk_option(HK_OPTION_profile) != HK_PROFILE_OFF && hk_profile_times().mean != 0)
        dump_now();
}
