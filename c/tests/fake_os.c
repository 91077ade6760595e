/* fake_os.c - an OS layer for tests. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "fake_os.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "os/lock.h"

enum { FAKE_OS_MAPPINGS_MAX = 4096 };

struct fake_mapping {
    uintptr_t start;
    size_t bytes;
};

struct hk_os_counts hk_os_counts; /* relaxed, for statistics. Written under the mutex. */
struct fake_os fake_os = {.page_bytes = 4096,
                          .cpus = 1,
                          .now_ms = 1000000,
                          .huge_mode = HK_OS_HUGE_ON_REQUEST,
                          .mappings_max = 65530};

static pthread_mutex_t fake_mutex = PTHREAD_MUTEX_INITIALIZER; /* protects all data below */
static struct fake_mapping fake_mappings[FAKE_OS_MAPPINGS_MAX];
static size_t fake_count;
static struct {
    uint64_t calls;
    uint64_t fail_first;
    uint64_t fail_count;
    uint64_t fail_every; /* 0: see fail_first */
} fake_kinds[FAKE_OS_CALLS];
static size_t fake_errors_bytes;

/* ---- The contract ---------------------------------------------------------------------------- */

static void fake_broken(const char *call, const char *what) {
    fprintf(stderr, "fake_os: %s: %s\n%s", call, what, fake_os.errors);
    abort();
}

static bool fake_is_whole_pages(uintptr_t start, size_t bytes) {
    return bytes > 0 && ((start | bytes) & (fake_os.page_bytes - 1)) == 0;
}

/* Debug builds of the core track the locks of each thread. Taking a rank asserts that no lower rank
 * is held. */
static void fake_check_no_lock(void) {
    hk_lock_note_taken(HK_RANK_THREADS);
    hk_lock_note_released(HK_RANK_THREADS);
}

static void fake_enter(const char *call, const void *start, size_t bytes) {
    fake_check_no_lock();
    if (!fake_is_whole_pages((uintptr_t)start, bytes))
        fake_broken(call, "not whole pages");
    if (fake_os.delay != NULL)
        fake_os.delay();
    pthread_mutex_lock(&fake_mutex);
}

static void fake_unlock(void) { pthread_mutex_unlock(&fake_mutex); }

static void fake_leave(void) {
    fake_unlock();
    if (fake_os.delay != NULL)
        fake_os.delay();
}

/* Counts a call. Returns true if it should fail. Under the mutex. */
static bool fake_fails(enum fake_os_call kind) {
    uint64_t call = ++fake_kinds[kind].calls;
    uint64_t after = call - fake_kinds[kind].fail_first;
    if (fake_kinds[kind].fail_every != 0)
        return after % fake_kinds[kind].fail_every == 0;
    return after < fake_kinds[kind].fail_count;
}

/* A fork waits for calls of other threads. Otherwise the mutex could stay locked in the child. This
 * handler is registered before the core's handlers, so it takes the mutex after all locks of the
 * core. */
static void fake_fork_prepare(void) { pthread_mutex_lock(&fake_mutex); }
__attribute__((constructor)) static void fake_fork_install(void) {
    pthread_atfork(fake_fork_prepare, fake_unlock, fake_unlock);
}

/* ---- The table of mappings (under the mutex) ------------------------------------------------- */

static void fake_add(uintptr_t start, size_t bytes) {
    if (fake_count == FAKE_OS_MAPPINGS_MAX)
        fake_broken("map", "more mappings than the table holds");
    fake_mappings[fake_count++] = (struct fake_mapping){start, bytes};
    hk_max_relaxed(&hk_os_counts.bytes_mapped_peak,
                   hk_add_relaxed(&hk_os_counts.bytes_mapped, bytes));
}

/* Returns the mapping that contains the whole range, or NULL if there is none. */
static struct fake_mapping *fake_holder(uintptr_t start, size_t bytes) {
    for (size_t i = 0; i < fake_count; i++) {
        uintptr_t offset = start - fake_mappings[i].start;
        if (offset < fake_mappings[i].bytes && bytes <= fake_mappings[i].bytes - offset)
            return &fake_mappings[i];
    }
    return NULL;
}

/* Returns whether the whole range is mapped, by one or more adjacent mappings. */
static bool fake_is_covered(uintptr_t start, size_t bytes) {
    for (uintptr_t end = start + bytes; start < end;) {
        const struct fake_mapping *holder = fake_holder(start, 1);
        if (holder == NULL)
            return false;
        start = holder->start + holder->bytes;
    }
    return true;
}

/* Removes a range within one mapping. The rest of the mapping on both sides stays. */
static void fake_remove(const char *call, uintptr_t start, size_t bytes) {
    struct fake_mapping *holder = fake_holder(start, bytes);
    if (holder == NULL)
        fake_broken(call, "not mapped");
    struct fake_mapping whole = *holder;
    *holder = fake_mappings[--fake_count];
    hk_sub_relaxed(&hk_os_counts.bytes_mapped, whole.bytes);
    if (start > whole.start)
        fake_add(whole.start, start - whole.start);
    if (start + bytes < whole.start + whole.bytes)
        fake_add(start + bytes, whole.start + whole.bytes - (start + bytes));
}

/* Removes a range, which may span several adjacent mappings. */
static void fake_remove_all(const char *call, uintptr_t start, size_t bytes) {
    while (bytes > 0) {
        const struct fake_mapping *holder = fake_holder(start, 1);
        size_t part = holder == NULL ? bytes : holder->start + holder->bytes - start;
        part = part < bytes ? part : bytes;
        fake_remove(call, start, part);
        start += part;
        bytes -= part;
    }
}

size_t fake_os_mapped(void) {
    size_t bytes = 0;
    pthread_mutex_lock(&fake_mutex);
    for (size_t i = 0; i < fake_count; i++)
        bytes += fake_mappings[i].bytes;
    pthread_mutex_unlock(&fake_mutex);
    return bytes;
}

bool fake_os_is_mapped(const void *start, size_t bytes) {
    pthread_mutex_lock(&fake_mutex);
    bool mapped = fake_is_covered((uintptr_t)start, bytes);
    pthread_mutex_unlock(&fake_mutex);
    return mapped;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

void fake_os_fail(enum fake_os_call kind, uint64_t first, uint64_t count) {
    pthread_mutex_lock(&fake_mutex);
    fake_kinds[kind].fail_first = fake_kinds[kind].calls + first;
    fake_kinds[kind].fail_count = count;
    fake_kinds[kind].fail_every = 0;
    pthread_mutex_unlock(&fake_mutex);
}

void fake_os_fail_every(enum fake_os_call kind, uint64_t n) {
    pthread_mutex_lock(&fake_mutex);
    fake_kinds[kind].fail_first = fake_kinds[kind].calls;
    fake_kinds[kind].fail_count = 0;
    fake_kinds[kind].fail_every = n;
    pthread_mutex_unlock(&fake_mutex);
}

void fake_os_fail_maps(uint64_t first, uint64_t count) { fake_os_fail(FAKE_OS_MAP, first, count); }

uint64_t fake_os_calls(enum fake_os_call kind) {
    pthread_mutex_lock(&fake_mutex);
    uint64_t calls = fake_kinds[kind].calls;
    pthread_mutex_unlock(&fake_mutex);
    return calls;
}

/* Maps real memory at `at` or, if that is 0, at any multiple of `align`. */
static char *fake_memory(uintptr_t at, size_t bytes, size_t align) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (at != 0) {
        char *p =
            mmap((void *)at, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (p != MAP_FAILED && (uintptr_t)p != at)
            fake_broken("map", "the place asked for is taken");
        return p == MAP_FAILED ? NULL : p;
    }
    if (bytes + align < bytes)
        return NULL;
    char *p = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    char *start = (char *)hk_round_up((uintptr_t)p, align);
    if (start > p)
        munmap(p, (size_t)(start - p));
    if (p + align > start)
        munmap(start + bytes, (size_t)(p + align - start));
    return start;
}

/* Counts a map call. Returns true if it should fail. */
static bool fake_map_fails(void) {
    fake_os.map_calls++;
    hk_add_relaxed(&hk_os_counts.map_calls, 1);
    return fake_fails(FAKE_OS_MAP);
}

void *hak_os_map_boundary(size_t bytes, size_t align) {
    fake_enter("map", NULL, bytes);
    if (!hk_is_power_of_two(align) || align < fake_os.page_bytes)
        fake_broken("map", "no alignment");
    char *p = NULL;
    if (!fake_map_fails()) {
        bool placed = fake_os.chunks_at != 0 && align > fake_os.page_bytes;
        uintptr_t at = placed ? hk_round_up(fake_os.chunks_at, align) : 0;
        p = fake_memory(at, bytes, align);
        if (placed)
            fake_os.chunks_at = at + bytes;
    }
    if (p != NULL)
        fake_add((uintptr_t)p, bytes);
    fake_leave();
    return p;
}

/* The table contains only the accessible part. */
void *hk_os_map_guarded(size_t bytes) {
    fake_enter("map_guarded", NULL, bytes);
    char *p = NULL;
    size_t guard = fake_os.page_bytes;
    if (!fake_map_fails())
        p = fake_memory(0, bytes + 2 * guard, guard);
    if (p != NULL) {
        mprotect(p, guard, PROT_NONE);
        mprotect(p + guard + bytes, guard, PROT_NONE);
        p += guard;
        fake_add((uintptr_t)p, bytes);
    }
    fake_leave();
    return p;
}

void hk_os_unmap_guarded(void *start, size_t bytes) {
    fake_enter("unmap_guarded", start, bytes);
    hk_add_relaxed(&hk_os_counts.unmap_calls, 1);
    fake_remove("unmap_guarded", (uintptr_t)start, bytes);
    munmap((char *)start - fake_os.page_bytes, bytes + 2 * fake_os.page_bytes);
    fake_leave();
}

bool hk_os_unmap(void *start, size_t bytes) {
    fake_enter("unmap", start, bytes);
    hk_add_relaxed(&hk_os_counts.unmap_calls, 1);
    bool done = !fake_fails(FAKE_OS_UNMAP) && !fake_os.unmap_fails;
    if (done) {
        fake_remove_all("unmap", (uintptr_t)start, bytes);
        munmap(start, bytes);
    }
    fake_leave();
    return done;
}

/* The end of a mapping moves. The mapping may begin before the range, and stays whole. */
static void fake_move_end(uintptr_t start, size_t old_bytes, size_t new_bytes) {
    uintptr_t from = fake_holder(start, old_bytes)->start;
    fake_remove("resize", from, start - from + old_bytes);
    fake_add(from, start - from + new_bytes);
}

int hk_os_resize(void *start, size_t old_bytes, size_t new_bytes) {
    fake_enter("resize", start, old_bytes);
    if (!fake_is_whole_pages(0, new_bytes) || !fake_holder((uintptr_t)start, old_bytes))
        fake_broken("resize", "not in one mapping");
    hk_add_relaxed(&hk_os_counts.remap_calls, 1);
    int error = fake_fails(FAKE_OS_RESIZE) || fake_os.resize_fails ? ENOMEM : 0;
    if (fake_os.resize_refused)
        error = EFAULT; /* as of several mappings */
    if (error == 0 && mremap(start, old_bytes, new_bytes, 0) == MAP_FAILED)
        error = ENOMEM;
    if (error == 0)
        fake_move_end((uintptr_t)start, old_bytes, new_bytes);
    fake_leave();
    return error;
}

enum hk_os_move hk_os_move(void *start, size_t old_bytes, void *to, size_t new_bytes) {
    fake_enter("move", start, old_bytes);
    if (!fake_holder((uintptr_t)start, old_bytes) || !fake_holder((uintptr_t)to, new_bytes))
        fake_broken("move", "not mapped");
    hk_add_relaxed(&hk_os_counts.remap_calls, 1);
    enum hk_os_move result = HK_OS_MOVE_REFUSED;
    if (!fake_fails(FAKE_OS_MOVE) && !fake_os.move_fails &&
        mremap(start, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED) {
        fake_remove("move", (uintptr_t)start, old_bytes);
        result = HK_OS_MOVE_DONE;
    } else if (fake_os.move_unmaps) {
        fake_remove("move", (uintptr_t)to, new_bytes);
        munmap(to, new_bytes);
        result = HK_OS_MOVE_TARGET_GONE;
    }
    fake_leave();
    return result;
}

bool hk_os_purge(void *start, size_t bytes) {
    fake_enter("purge", start, bytes);
    if (!fake_is_covered((uintptr_t)start, bytes))
        fake_broken("purge", "not mapped");
    hk_add_relaxed(&hk_os_counts.purge_calls, 1);
    bool done = !fake_fails(FAKE_OS_PURGE) && !fake_os.purge_fails &&
                madvise(start, bytes, MADV_DONTNEED) == 0;
    if (done)
        hk_add_relaxed(&hk_os_counts.bytes_purged, bytes);
    fake_leave();
    return done;
}

bool hk_os_protect(void *start, size_t bytes, enum hk_os_access access) {
    fake_enter("protect", start, bytes);
    if (!fake_is_covered((uintptr_t)start, bytes))
        fake_broken("protect", "not mapped");
    int rights = access == HK_OS_ACCESS_ALL ? PROT_READ | PROT_WRITE : PROT_NONE;
    bool done = !fake_fails(FAKE_OS_PROTECT) && mprotect(start, bytes, rights) == 0;
    fake_leave();
    return done;
}

/* The reports of tests in other folders come from real faults. */
void hk_os_handle_faults(void (*report)(const struct hk_os_fault *fault)) { (void)report; }

void hk_os_set_huge(void *start, size_t bytes, enum hk_os_huge huge) {
    fake_enter("set_huge", start, bytes);
    if (!fake_is_covered((uintptr_t)start, bytes))
        fake_broken("set_huge", "not mapped");
    hk_add_relaxed(&hk_os_counts.purge_calls, 1);
    if (fake_fails(FAKE_OS_HUGE)) {
        fake_leave();
        return;
    }
    if (huge == HK_OS_HUGE_WANTED)
        fake_os.huge_wanted_bytes += bytes;
    else
        fake_os.huge_refused_bytes += bytes;
    fake_leave();
}

enum hk_os_huge_mode hk_os_huge_mode(void) { return fake_os.huge_mode; }
size_t hk_os_mappings_max(void) { return fake_os.mappings_max; }
bool hk_os_huge_pages_exist(void) { return fake_os.huge_mode != HK_OS_HUGE_NEVER; }

/* ---- The rest -------------------------------------------------------------------------------- */

size_t hk_os_page_bytes(void) { return fake_os.page_bytes; }
unsigned hk_os_cpus(void) { return fake_os.cpus; }
uint32_t hk_os_cpu(void) {
    fake_check_no_lock();
    return fake_os.cpu;
}
void hk_os_nodes(void (*visit)(void *arg, uint32_t node, uint32_t first, uint32_t last),
                 void *arg) {
    fake_check_no_lock();
    hk_add_relaxed(&fake_os.node_reads, 1);
    for (uint32_t node = 0; node < fake_os.nodes; node++) {
        uint32_t first = node * fake_os.cpus_per_node;
        visit(arg, node, first, first + fake_os.cpus_per_node - 1);
    }
}
uint64_t hk_os_memory_limit(void) { return fake_os.memory_limit; }
struct hk_os_memory hk_os_memory_use(void) {
    hk_add_relaxed(&fake_os.memory_reads, 1);
    return fake_os.memory_use;
}
uint32_t hk_os_memory_pressure(void) {
    hk_add_relaxed(&fake_os.pressure_reads, 1);
    return hk_load_relaxed(&fake_os.memory_pressure);
}
uint64_t hk_os_now_ms(void) { return __atomic_load_n(&fake_os.now_ms, __ATOMIC_SEQ_CST); }
void hk_os_note_error(void) {}
void hk_os_keep_error(void) {}
bool hk_os_mark_tree(void) {
    bool first = !fake_os.tree_is_marked;
    fake_os.tree_is_marked = true;
    return first;
}
char *const *hk_os_environment(void) { return fake_os.environment; }
bool hk_os_environment_is_early(void) { return fake_os.environment_is_early; }

/* A wait of 1 ms is a poll of something that wakes nobody, like the end of a thread in the kernel.
 * It ends even if the clock stands still. */
void hk_os_wait_ms(uint32_t *word, uint32_t expected, uint64_t ms) {
    const struct timespec tick = {0, 500000};
    if (ms <= 1) {
        nanosleep(&tick, NULL);
        return;
    }
    uint64_t end = hk_os_now_ms() + ms;
    __atomic_add_fetch(&fake_os.sleepers, 1, __ATOMIC_SEQ_CST);
    while (hk_os_now_ms() < end && __atomic_load_n(word, __ATOMIC_SEQ_CST) == expected)
        nanosleep(&tick, NULL);
    __atomic_sub_fetch(&fake_os.sleepers, 1, __ATOMIC_SEQ_CST);
}

void hk_os_wait(uint32_t *word, uint32_t expected) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

void hk_os_wake(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

void hk_os_write_error(const char *text, size_t bytes) {
    pthread_mutex_lock(&fake_mutex);
    size_t room = sizeof fake_os.errors - 1 - fake_errors_bytes;
    bytes = bytes < room ? bytes : room;
    memcpy(fake_os.errors + fake_errors_bytes, text, bytes);
    fake_errors_bytes += bytes;
    fake_os.errors[fake_errors_bytes] = 0;
    pthread_mutex_unlock(&fake_mutex);
}

const char *fake_os_take_errors(void) {
    static char taken[FAKE_OS_ERRORS_BYTES];
    pthread_mutex_lock(&fake_mutex);
    memcpy(taken, fake_os.errors, fake_errors_bytes + 1);
    fake_os.errors[0] = 0;
    fake_errors_bytes = 0;
    pthread_mutex_unlock(&fake_mutex);
    return taken;
}

void hk_os_abort(void) {
    if (fake_os.catches_abort)
        longjmp(fake_os.aborted, 1);
    fake_broken("abort", "not expected; what was written to standard error:");
    abort();
}

/* ---- Processes and threads ------------------------------------------------------------------- */

uint32_t hk_os_generation(void) {
    static uint64_t noticed; /* atomic: the generation above the process */
    uint64_t seen = __atomic_load_n(&noticed, __ATOMIC_SEQ_CST);
    uint32_t process = (uint32_t)getpid();
    if ((uint32_t)seen == process)
        return (uint32_t)(seen >> 32);
    uint64_t next = (seen == 0 ? 0 : (seen >> 32) + 1) << 32 | process;
    if (__atomic_compare_exchange_n(&noticed, &seen, next, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
        seen = next;
    return (uint32_t)(seen >> 32);
}

void hk_os_note_fork(void) { hk_os_generation(); }
bool hk_os_is_first_thread(void) { return syscall(SYS_gettid) == getpid(); }
uint64_t hk_os_thread_id(void) { return (uint64_t)syscall(SYS_gettid); }

/* Counts an answer that comes too late. */
static bool fake_is_late(uint32_t *left) {
    uint32_t seen = __atomic_load_n(left, __ATOMIC_SEQ_CST);
    while (seen != 0 && !__atomic_compare_exchange_n(left, &seen, seen - 1, false, __ATOMIC_SEQ_CST,
                                                     __ATOMIC_SEQ_CST))
        ;
    return seen != 0;
}

bool hk_os_thread_is_gone(uint64_t id) {
    int error = errno;
    bool gone = id != 0 && syscall(SYS_tgkill, getpid(), id, 0) != 0 && errno == ESRCH;
    errno = error;
    return gone && !fake_is_late(&fake_os.gone_late);
}
uint64_t hk_os_signal_mask(void) { return 0; }
bool hk_os_may_start_thread(uint64_t usual_mask) { return usual_mask == 0; }
bool hk_os_is_known_to_libc(void) { return true; }

static bool fake_barrier(void) {
    enum { PRIVATE = 1 << 3, REGISTER_PRIVATE = 1 << 4 };
    return syscall(SYS_membarrier, PRIVATE, 0, 0) == 0 ||
           (syscall(SYS_membarrier, REGISTER_PRIVATE, 0, 0) == 0 &&
            syscall(SYS_membarrier, PRIVATE, 0, 0) == 0);
}

bool hk_os_barrier(void) {
    int error = errno;
    pthread_mutex_lock(&fake_mutex);
    bool fails = fake_fails(FAKE_OS_BARRIER);
    pthread_mutex_unlock(&fake_mutex);
    if (fails || (fake_os.barrier_fails != 0 && --fake_os.barrier_fails == 0))
        return false;

    bool done = fake_barrier();
    errno = error;
    return done;
}

bool hk_os_thread_sleeps(uint64_t id, uint64_t usual_mask) {
    (void)usual_mask;
    return id != 0 && fake_os.threads_sleep;
}
bool hk_os_handlers_block_their_signal(void) { return true; }
bool hk_os_is_sandboxed(void) { return false; }
void hk_os_find_thread_create(void) {}
void hk_os_stay_loaded(const void *code) { (void)code; }

void hk_os_unwind_start(void) {}
uint32_t hk_os_unwind(uintptr_t *frames, uint32_t most) {
    (void)frames;
    (void)most;
    return 0; /* the profiler falls back to the caller */
}
uint32_t hk_os_unwind_from(const void *first, uintptr_t *frames, uint32_t most) {
    (void)most;
    frames[0] = ((const uintptr_t *)first)[1];
    return 1;
}
uint32_t hk_os_unwind_interrupted(uintptr_t code, const void *frame, uintptr_t *frames,
                                  uint32_t most) {
    (void)frame;
    (void)most;
    frames[0] = code;
    return 1;
}
uint32_t hk_os_unwind_frame_pointers(const void *first, uintptr_t *frames, uint32_t most) {
    (void)first;
    return hk_os_unwind(frames, most);
}
void hk_os_modules(void (*visit)(void *arg, const struct hk_os_module *module), void *arg) {
    (void)visit;
    (void)arg;
}
void hk_os_find_modules(const uintptr_t *addresses, size_t count,
                        void (*visit)(void *arg, const struct hk_os_module *module), void *arg) {
    (void)addresses;
    (void)count;
    hk_os_modules(visit, arg);
}
const char *hk_os_symbol(uintptr_t address) {
    (void)address;
    return NULL;
}
int hk_os_create_file(const char *path) {
    (void)path;
    return -EACCES;
}
bool hk_os_write_file(int file, const char *text, size_t bytes) {
    (void)file;
    (void)text;
    return bytes == 0;
}
void hk_os_close_file(int file) { (void)file; }
uint64_t hk_os_process_id(void) { return (uint64_t)getpid(); }
uint64_t hk_os_calendar_ns(void) { return hk_os_now_ms() * 1000000; }
bool hk_os_handle_signal(int number, void (*handler)(int number)) {
    (void)number;
    (void)handler;
    return false;
}

bool hk_os_start_thread(const struct hk_os_thread *start) {
    pthread_t thread;
    if (fake_os.thread_fails || pthread_create(&thread, NULL, start->run, NULL) != 0)
        return false;
    pthread_detach(thread);
    return true;
}
