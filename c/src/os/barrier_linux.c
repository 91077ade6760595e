/* os/barrier_linux.c - the OS boundary: other threads of the process.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <signal.h>

#include "../base/atomic.h"
#include "../base/string.h"
#include "check.h"
#include "file_linux.h"
#include "os.h"

/* <linux/membarrier.h> came with Linux 4.3, these commands with 4.14. */
enum { OS_BARRIER_PRIVATE = 1 << 3, OS_BARRIER_REGISTER_PRIVATE = 1 << 4 };

bool hk_os_barrier(void) {
    static uint32_t refused; /* atomic: the kernel does not support it */
    /* relaxed: all threads find the same value */
    if (hk_load_relaxed(&refused) || hk_os_is_sandboxed())
        return false;

    long result = os_syscall(SYS_membarrier, OS_BARRIER_PRIVATE, 0, 0);
    if (result == -EPERM && os_syscall(SYS_membarrier, OS_BARRIER_REGISTER_PRIVATE, 0, 0) == 0)
        result = os_syscall(SYS_membarrier, OS_BARRIER_PRIVATE, 0, 0);
    if (result != 0)
        hk_store_relaxed(&refused, 1);
    return result == 0;
}

/* ---- Sleeping threads ------------------------------------------------------------------------ */

/* Opens a file of a thread of this process, but not in a sandbox. The program may have entered one
 * since the drain began, with a filter that ends the process. */
static bool os_thread_open(struct os_lines *lines, uint64_t id, const char *name) {
    char path[sizeof HK_OS_ROOT "/proc/self/task/18446744073709551615/syscall"];
    struct hk_text text = {path, path + sizeof path - 1};
    hk_text_add(&text, HK_OS_ROOT "/proc/self/task/");
    hk_text_add_number(&text, id);
    hk_text_add(&text, name);
    *text.at = 0;
    return !hk_os_is_sandboxed() && os_lines_open(lines, path, '\n');
}

/* The file contains the number of the system call, -1 during a page fault, and "running" in any
 * other state. */
static bool os_thread_is_in_call(uint64_t id) {
    struct os_lines lines;
    if (!os_thread_open(&lines, id, "/syscall"))
        return false;
    const char *line = os_lines_next(&lines);
    bool is_in_call = line != NULL && *line >= '0' && *line <= '9';
    os_lines_close(&lines);
    return is_in_call;
}

/* Parses a number in base 10 or 16. */
static uint64_t os_digits(const char *text, unsigned base) {
    uint64_t number = 0;
    for (; (*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'f'); text++)
        number = number * base + (uint64_t)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return number;
}

struct os_thread_status {
    uint64_t blocked_signals;
    uint64_t sleeps; /* so far */
};

static struct os_thread_status os_thread_status(uint64_t id) {
    static const char mask[] = "SigBlk:\t", sleeps[] = "voluntary_ctxt_switches:\t";
    struct os_thread_status status = {0, 0};
    struct os_lines lines;
    const char *line = NULL;
    if (!os_thread_open(&lines, id, "/status"))
        return status;

    while ((line = os_lines_next(&lines)) != NULL) {
        if (strncmp(line, mask, sizeof mask - 1) == 0)
            status.blocked_signals = os_digits(line + sizeof mask - 1, 16);
        else if (strncmp(line, sleeps, sizeof sleeps - 1) == 0)
            status.sleeps = os_digits(line + sizeof sleeps - 1, 10);
    }

    os_lines_close(&lines);
    return status;
}

bool hk_os_thread_sleeps(uint64_t id, uint64_t usual_mask) {
    if (id == 0 || !os_thread_is_in_call(id))
        return false;
    /* An unchanged number of sleeps proves that it was the same sleep throughout. */
    struct os_thread_status before = os_thread_status(id);
    return before.sleeps != 0 && before.blocked_signals == usual_mask && os_thread_is_in_call(id) &&
           os_thread_status(id).sleeps == before.sleeps;
}

/* The kernel's structure. It may be shorter, because some processors have no restorer. */
struct os_action {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

bool hk_os_handlers_block_their_signal(void) {
    for (long signal = 1; signal < NSIG; signal++) {
        struct os_action action = {NULL, 0, NULL, 0};
        os_syscall(SYS_rt_sigaction, signal, 0, os_address(&action), sizeof action.mask);
        if ((action.flags & SA_NODEFER) != 0)
            return false;
    }
    return true;
}
