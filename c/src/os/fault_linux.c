/* os/fault_linux.c - the OS boundary on Linux: accesses to inaccessible memory.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <ucontext.h>

#include "../base/atomic.h"
#include "os.h"
#include "syscall_linux.h"

enum { FAULTS_NOT, FAULTS_STARTING, FAULTS_HANDLED };

static struct {
    uint32_t state; /* atomic: FAULTS_*; HANDLED once the const fields are set */
    void (*report)(const struct hk_os_fault *fault); /* const */
    struct sigaction previous;                       /* const */
} faults;

/* Code for each processor: its registers, and the error bits that the kernel reports. */
#if defined(__x86_64__)

static void fault_read_registers(struct hk_os_fault *fault, const ucontext_t *context) {
    enum { ERROR_WRITE = 1 << 1 };
    const greg_t *registers = context->uc_mcontext.gregs;
    fault->code = (uintptr_t)registers[REG_RIP];
    fault->frame = (const void *)registers[REG_RBP];
    fault->kind = (registers[REG_ERR] & ERROR_WRITE) != 0 ? HK_OS_FAULT_WRITE : HK_OS_FAULT_READ;
}

#elif defined(__aarch64__)

static void fault_read_registers(struct hk_os_fault *fault, const ucontext_t *context) {
    enum { FRAME_POINTER = 29 };
    fault->code = (uintptr_t)context->uc_mcontext.pc;
    fault->frame = (const void *)context->uc_mcontext.regs[FRAME_POINTER];
}

#else

static void fault_read_registers(struct hk_os_fault *fault, const ucontext_t *context) {
    (void)fault;
    (void)context;
}

#endif

/* Ends the process as if there were no handler. Returning from ours repeats the access, and thereby
 * the fault. A signal that a process sent does not repeat, so we send it again. */
static void fault_end(int number, const siginfo_t *info) {
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigaction(number, &usual, NULL);
    if (info->si_code <= 0)
        raise(number);
}

/* Handles the fault or the signal as if our handler were not installed. */
static void fault_pass_on(int number, siginfo_t *info, void *context) {
    const struct sigaction *previous = &faults.previous;
    struct sigaction usual = {.sa_handler = SIG_DFL};
    if (previous->sa_handler == SIG_IGN && info->si_code <= 0)
        return;
    if (previous->sa_handler == SIG_IGN || previous->sa_handler == SIG_DFL) {
        fault_end(number, info);
        return;
    }

    if ((previous->sa_flags & (int)SA_RESETHAND) != 0)
        sigaction(number, &usual, NULL);
    if ((previous->sa_flags & SA_SIGINFO) != 0)
        previous->sa_sigaction(number, info, context);
    else
        previous->sa_handler(number);
}

static void fault_handle(int number, siginfo_t *info, void *context) {
    int saved = errno;
    struct hk_os_fault fault = {(uintptr_t)info->si_addr, HK_OS_FAULT_ANY, 0, NULL};
    /* acquire: the const fields. It pairs with the release in hk_os_handle_faults. */
    hk_load_acquire(&faults.state);
    if (info->si_code == SEGV_ACCERR || info->si_code == SEGV_MAPERR) {
        fault_read_registers(&fault, context);
        faults.report(&fault);
    }
    errno = saved;
    fault_pass_on(number, info, context);
}

/* We call sigaction of libc, because libraries that track the handlers of a process replace it. Our
 * handler has the mask and the flags of the previous one, which it calls. */
void hk_os_handle_faults(void (*report)(const struct hk_os_fault *fault)) {
    uint32_t not_handled = FAULTS_NOT;
    int saved = errno;
    /* relaxed: one thread wins, and publishes below */
    if (!hk_cas_relaxed(&faults.state, &not_handled, FAULTS_STARTING))
        return;

    faults.report = report;
    sigaction(SIGSEGV, NULL, &faults.previous);
    struct sigaction action = faults.previous;
    action.sa_sigaction = fault_handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | (action.sa_flags & (SA_NODEFER | SA_RESTART));

    /* release: publishes the const fields. It pairs with the acquire in fault_handle. */
    hk_store_release(&faults.state, FAULTS_HANDLED);
    sigaction(SIGSEGV, &action, NULL);
    errno = saved;
}
