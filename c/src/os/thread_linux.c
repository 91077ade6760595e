/* os/thread_linux.c - the OS boundary on Linux: waiting, processes, threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "../base/atomic.h"
#include "../base/string.h"
#include "syscall_linux.h"

/* ---- Waiting --------------------------------------------------------------------------------- */

void hk_os_wait(uint32_t *word, uint32_t expected) {
    os_syscall(SYS_futex, os_address(word), OS_FUTEX_WAIT_PRIVATE, expected);
}

void hk_os_wait_ms(uint32_t *word, uint32_t expected, uint64_t ms) {
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    os_syscall(SYS_futex, os_address(word), OS_FUTEX_WAIT_PRIVATE, expected, os_address(&time));
}

void hk_os_wake(uint32_t *word) {
    os_syscall(SYS_futex, os_address(word), OS_FUTEX_WAKE_PRIVATE, 1);
}

/* ---- Generations of processes ---------------------------------------------------------------- */

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* The generation plus one, in a page that the kernel zeroes in a forked child (Linux 4.14). */
static uint32_t *os_mark;      /* atomic; NULL if there is no such page */
static uint32_t os_generation; /* atomic */
static long os_process;        /* atomic; the last process that was noticed */
static long os_libc_process;   /* atomic; the last process that libc started or noticed */

static long os_getpid(void) { return os_syscall(SYS_getpid, 0); }

static void os_notice_process(void) {
    /* relaxed: other threads of a child start later, and pthread_create orders them */
    hk_store_relaxed(&os_process, os_getpid());
    hk_add_relaxed(&os_generation, 1);
}

/* Maps the page of the mark, unless another thread maps it first. */
static HK_SLOW void os_make_mark(void) {
    long process = os_getpid();
    hk_store_relaxed(&os_process, process);      /* relaxed: as above */
    hk_store_relaxed(&os_libc_process, process); /* relaxed: as above */

    size_t bytes = hk_os_page_bytes();
    long address = os_syscall(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address < 0)
        return;

    uint32_t *fresh = (uint32_t *)(uintptr_t)address;
    uint32_t *none = NULL;
    if (os_syscall(SYS_madvise, address, (long)bytes, MADV_WIPEONFORK) == 0) {
        *fresh = hk_load_relaxed(&os_generation) + 1; /* relaxed: a number */
        /* acq_rel: publishes the mark. It pairs with the acquire in hk_os_generation. */
        if (hk_cas_acq_rel(&os_mark, &none, fresh))
            return;
    }

    os_syscall(SYS_munmap, address, (long)bytes);
}

/* Starts the new generation, at its first use in a forked child. Several threads of the child may
 * call this at the same time, and all see the same new generation. */
static HK_SLOW uint32_t os_notice_wiped(uint32_t *mark) {
    uint32_t wiped = 0;
    uint32_t next = hk_load_relaxed(&os_generation) + 2; /* relaxed: a number of the parent */
    if (!hk_cas_relaxed(mark, &wiped, next))             /* relaxed: one thread wins */
        return wiped;
    hk_store_relaxed(&os_process,
                     os_getpid()); /* relaxed: until then, ids of threads are unknown */
    hk_store_relaxed(&os_generation, next - 1); /* relaxed: read by children of this process */
    return next;
}

uint32_t hk_os_generation(void) {
    static uint32_t tried;                      /* atomic */
    uint32_t *mark = hk_load_acquire(&os_mark); /* acquire: pairs with os_make_mark */
    if (hk_unlikely(mark == NULL)) {
        uint32_t no = 0;
        /* relaxed: one thread wins and tries */
        if (hk_load_relaxed(&tried) == 0 && hk_cas_relaxed(&tried, &no, 1))
            os_make_mark();
        return hk_load_relaxed(&os_generation); /* relaxed: a number */
    }

    uint32_t value = hk_load_relaxed(mark); /* relaxed: a number */
    return (hk_likely(value != 0) ? value : os_notice_wiped(mark)) - 1;
}

void hk_os_note_fork(void) {
    hk_os_generation();
    hk_store_relaxed(&os_libc_process, os_getpid()); /* relaxed: the child has one thread */
    /* relaxed: as above */
    if (hk_load_relaxed(&os_process) != os_getpid())
        os_notice_process();
}

/* Weak: a static executable has neither. */
extern HK_WEAK void *dlsym(void *handle, const char *name);
extern HK_WEAK int dladdr(const void *address, Dl_info *info);

static void *os_find(void *library, const char *name) {
    return dlsym != NULL ? dlsym(library, name) : NULL;
}

/* ---- The CPU --------------------------------------------------------------------------------- */

/* The offset of the thread's area for restartable sequences from the thread pointer (since glibc
 * 2.35). The kernel stores the number of the CPU there at each migration. We only read it. */
static ptrdiff_t os_rseq_offset; /* const after constructors ran; 0 if there is none */

static void os_find_rseq(void) {
    const ptrdiff_t *offset = os_find(RTLD_DEFAULT, "__rseq_offset");
    const unsigned *size = os_find(RTLD_DEFAULT, "__rseq_size");
    if (offset != NULL && size != NULL && *size != 0)
        os_rseq_offset = *offset;
}

static inline const char *os_thread_pointer(void) {
    const char *pointer = NULL;
#if defined(__x86_64__)
    __asm__("mov %%fs:0, %0" : "=r"(pointer));
#elif defined(__aarch64__)
    __asm__("mrs %0, tpidr_el0" : "=r"(pointer));
#endif
    return pointer;
}

/* Elsewhere we ask the kernel. That costs as much as the rest of a slow path, so we do it only once
 * in a while. libc's function may be quicker, but another library may replace it with one that
 * allocates. */
static HK_SLOW uint32_t os_ask_cpu(void) {
    enum { CALLS_BETWEEN = 64 };
    static HK_THREAD_LOCAL uint32_t cpu, calls;
    if (calls++ % CALLS_BETWEEN == 0)
        os_syscall(SYS_getcpu, os_address(&cpu), 0, 0);
    return cpu;
}

uint32_t hk_os_cpu(void) {
    const char *pointer = os_thread_pointer();
    if (hk_unlikely(os_rseq_offset == 0 || pointer == NULL))
        return os_ask_cpu();

    /* relaxed: a hint. The first field is 0 in a thread that is not registered. */
    return hk_load_relaxed((const uint32_t *)(const void *)(pointer + os_rseq_offset));
}

/* ---- Starting a thread ----------------------------------------------------------------------- */

enum {
    OS_STACK_BYTES = 64 * 1024,
    OS_SIGNALS_BYTES = 8, /* of the kernel's signal set */
    OS_SIGNAL_FIRST = 32, /* libc's own signals start here and end before SIGRTMIN */
};

/* The functions that start a thread. The constructor replaces them with libc's own, because a
 * wrapper may take a lock that our caller holds. */
static struct {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int (*attr_init)(pthread_attr_t *);
    int (*attr_setstacksize)(pthread_attr_t *, size_t);
    int (*attr_setdetachstate)(pthread_attr_t *, int);
    int (*attr_destroy)(pthread_attr_t *);
} os_threads = {pthread_create, pthread_attr_init, pthread_attr_setstacksize,
                pthread_attr_setdetachstate,
                pthread_attr_destroy}; /* const after constructors ran */

/* Opens a library that is already loaded, or returns NULL. We look up dlopen by its name, because
 * the linker warns about each reference to it from a static executable. */
static void *os_open_loaded(const char *file, int flags) {
    void *(*open_library)(const char *, int) = NULL;
    void *found = os_find(RTLD_DEFAULT, "dlopen");
    memcpy(&open_library, &found, sizeof found);
    return found != NULL ? open_library(file, RTLD_LAZY | RTLD_NOLOAD | flags) : NULL;
}

static void os_note_cpus(void);

/* Replaces *function with libc's own. Before glibc 2.34, the functions for threads were in
 * libpthread. */
static void os_find_own(void *libc, const char *name, void *function) {
    void *found = os_find(libc, name);
    if (found == NULL) {
        void *libpthread = os_open_loaded("libpthread.so.0", 0);
        found = libpthread != NULL ? os_find(libpthread, name) : NULL;
    }
    if (found != NULL)
        memcpy(function, &found, sizeof found);
}

void hk_os_find_thread_create(void) {
    os_note_cpus();
    int saved = errno;
    os_find_rseq();

    void *libc = HK_THREAD_SANITIZER ? NULL : os_open_loaded("libc.so.6", 0);
    if (libc != NULL) {
        os_find_own(libc, "pthread_create", &os_threads.create);
        os_find_own(libc, "pthread_attr_init", &os_threads.attr_init);
        os_find_own(libc, "pthread_attr_setstacksize", &os_threads.attr_setstacksize);
        os_find_own(libc, "pthread_attr_setdetachstate", &os_threads.attr_setdetachstate);
        os_find_own(libc, "pthread_attr_destroy", &os_threads.attr_destroy);
    }

    errno = saved;
}

void hk_os_stay_loaded(const void *code) {
    Dl_info info;
    int saved = errno;
    /* The program itself is never unloaded, and dlopen would search for its name and leave an error
     * for dlerror. */
    if (dladdr != NULL && dladdr(code, &info) != 0 && info.dli_fname != NULL &&
        (program_invocation_name == NULL || strcmp(info.dli_fname, program_invocation_name) != 0))
        os_open_loaded(info.dli_fname, RTLD_NODELETE);
    errno = saved;
}

static uint64_t os_swap_signal_mask(uint64_t mask) {
    uint64_t old = 0;
    enum { SET_MASK = 2 };
    os_syscall(SYS_rt_sigprocmask, SET_MASK, os_address(&mask), os_address(&old), OS_SIGNALS_BYTES);
    return old;
}

bool hk_os_is_first_thread(void) { return os_syscall(SYS_gettid, 0) == os_getpid(); }

uint64_t hk_os_thread_id(void) {
    /* relaxed: stored before this process had threads */
    bool own = hk_load_relaxed(&os_process) == os_getpid();
    return own ? (uint64_t)os_syscall(SYS_gettid, 0) : 0;
}

bool hk_os_thread_is_gone(uint64_t id) {
    /* A child of vfork shares our memory, but has none of our threads.
     * relaxed: stored before this process had threads */
    long process = hk_load_relaxed(&os_process);
    return id != 0 && process == os_getpid() &&
           os_syscall(SYS_tgkill, process, (long)id, 0) == -ESRCH;
}

uint64_t hk_os_signal_mask(void) {
    uint64_t mask = 0;
    os_syscall(SYS_rt_sigprocmask, 0, 0, os_address(&mask), OS_SIGNALS_BYTES);
    return mask;
}

bool hk_os_may_start_thread(uint64_t usual_mask) {
    /* relaxed: stored before this process had threads */
    return hk_os_signal_mask() == usual_mask && hk_load_relaxed(&os_process) == os_getpid();
}

bool hk_os_is_known_to_libc(void) {
    /* relaxed: stored before this process had threads */
    return hk_load_relaxed(&os_libc_process) == os_getpid();
}

bool hk_os_is_sandboxed(void) { return os_syscall(SYS_prctl, PR_GET_SECCOMP) != 0; }

/* Gives up every capability except CAP_SETGID and CAP_SETUID. Those two must stay while the program
 * has them, because setuid runs in each thread, and libc aborts the process if one thread fails. */
static void os_drop_capabilities(void) {
    struct {
        uint32_t version;
        int process;
    } header = {0x20080522, 0}; /* _LINUX_CAPABILITY_VERSION_3 */
    struct {
        uint32_t effective, permitted, inheritable;
    } sets[2];
    enum { CAPABILITY_SETGID = 1 << 6, CAPABILITY_SETUID = 1 << 7 };

    if (os_syscall(SYS_capget, os_address(&header), os_address(sets)) != 0)
        return;

    sets[0].effective &= CAPABILITY_SETGID | CAPABILITY_SETUID;
    sets[0].permitted &= CAPABILITY_SETGID | CAPABILITY_SETUID;
    sets[0].inheritable = 0;
    sets[1].effective = sets[1].permitted = sets[1].inheritable = 0;
    os_syscall(SYS_capset, os_address(&header), os_address(sets));
}

/* The CPUs that the process could use when it started. A thread may bind itself to fewer later. */
static struct {
    long bytes; /* const after constructors ran; unknown if not positive */
    unsigned long mask[1024 / (8 * sizeof(long))];
} os_cpus;

static void os_note_cpus(void) {
    os_cpus.bytes = os_syscall(SYS_sched_getaffinity, os_getpid(), sizeof os_cpus.mask,
                               os_address(os_cpus.mask));
}

/* Replaces the scheduling and the CPUs that the thread inherited from the thread that started it.
 * The new nice value is that of the first thread, which is that of the process. */
static void os_become_background(const char *name) {
    enum { NICE_BIAS = 20 }; /* the system call returns 20 - nice */
    int priority = 0;

    os_syscall(SYS_prctl, PR_SET_NAME, os_address(name));
    os_syscall(SYS_sched_setscheduler, 0, 0 /* SCHED_OTHER */, os_address(&priority));

    long nice = os_syscall(SYS_getpriority, 0 /* PRIO_PROCESS */, os_getpid());
    if (nice > 0)
        os_syscall(SYS_setpriority, 0 /* PRIO_PROCESS */, 0, NICE_BIAS - nice);

    if (os_cpus.bytes > 0)
        os_syscall(SYS_sched_setaffinity, 0, os_cpus.bytes, os_address(os_cpus.mask));
    os_drop_capabilities();
    os_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
}

static void *os_thread_main(void *arg) {
    const struct hk_os_thread *thread = arg;
    os_become_background(thread->name);
    return thread->run(NULL);
}

/* Starts a detached thread with a stack of the given size, or of the usual size if it is 0. */
static bool os_create_thread(const struct hk_os_thread *start, size_t stack_bytes) {
    void *arg = (void *)(uintptr_t)start;
    pthread_t thread;
    pthread_attr_t attr;
    if (os_threads.attr_init(&attr) != 0)
        return false;
    if (stack_bytes != 0)
        os_threads.attr_setstacksize(&attr, stack_bytes);
    os_threads.attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);

    bool created = os_threads.create(&thread, &attr, os_thread_main, arg) == 0;
    os_threads.attr_destroy(&attr);
    return created;
}

bool hk_os_start_thread(const struct hk_os_thread *thread) {
    int saved = errno;
    /* libc's own signals stay deliverable, because setuid sends one to each thread. */
    uint64_t libc_signals = ((UINT64_C(1) << (SIGRTMIN - OS_SIGNAL_FIRST)) - 1)
                            << (OS_SIGNAL_FIRST - 1);
    uint64_t mask = os_swap_signal_mask(~libc_signals);

    /* Static TLS lies on the stack, so a program with much of it needs the usual size. */
    bool created = os_create_thread(thread, OS_STACK_BYTES) || os_create_thread(thread, 0);

    os_swap_signal_mask(mask);
    errno = saved;
    return created;
}
