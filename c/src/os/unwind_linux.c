/* os/unwind_linux.c - the OS boundary on Linux: stacks, loaded modules, symbols.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <string.h>
#include <unwind.h>

#include "../base/atomic.h"
#include "../base/bits.h"
#include "os.h"
#include "syscall_linux.h"

/* Weak: a static executable may have none of them. */
extern HK_WEAK void *dlsym(void *handle, const char *name);
extern HK_WEAK int dladdr(const void *address, Dl_info *info);
extern HK_WEAK _Unwind_Reason_Code _Unwind_Backtrace(_Unwind_Trace_Fn visit, void *arg);
extern HK_WEAK _Unwind_Ptr _Unwind_GetIP(struct _Unwind_Context *context);

/* ---- Stacks ---------------------------------------------------------------------------------- */

typedef _Unwind_Reason_Code unwind_backtrace(_Unwind_Trace_Fn, void *);
typedef _Unwind_Ptr unwind_get_ip(struct _Unwind_Context *);

static struct {
    unwind_backtrace *backtrace; /* atomic; NULL if there is none */
    unwind_get_ip *get_ip;       /* atomic; stored before `backtrace` */
} unwinder;

struct unwind {
    uintptr_t *frames;
    uint32_t most;
    uint32_t count;
    unwind_get_ip *get_ip;
};

static _Unwind_Reason_Code unwind_visit(struct _Unwind_Context *context, void *arg) {
    struct unwind *unwind = arg;
    uintptr_t address = (uintptr_t)unwind->get_ip(context);
    if (address == 0 || unwind->count == unwind->most)
        return _URC_END_OF_STACK;
    unwind->frames[unwind->count++] = address;
    return _URC_NO_REASON;
}

/* Opens the library of the unwinder, which a C program may not have loaded yet. We look up dlopen by
 * its name, because the linker warns about each reference to it from a static executable. */
static void *unwind_open_library(void) {
    void *(*open_library)(const char *, int) = NULL;
    void *found = dlsym(RTLD_DEFAULT, "dlopen");
    memcpy(&open_library, &found, sizeof found);
    return found != NULL ? open_library("libgcc_s.so.1", RTLD_LAZY) : NULL;
}

static void unwind_find(unwind_backtrace **backtrace, unwind_get_ip **get_ip) {
    *backtrace = _Unwind_Backtrace;
    *get_ip = _Unwind_GetIP;
    if ((*backtrace != NULL && *get_ip != NULL) || dlsym == NULL)
        return;

    void *library = RTLD_DEFAULT;
    if (dlsym(library, "_Unwind_Backtrace") == NULL)
        library = unwind_open_library();
    void *found = dlsym(library, "_Unwind_Backtrace");
    memcpy(backtrace, &found, sizeof found);
    found = dlsym(library, "_Unwind_GetIP");
    memcpy(get_ip, &found, sizeof found);
}

void hk_os_unwind_start(void) {
    enum { FRAMES = 4 };
    uintptr_t frames[FRAMES];
    unwind_backtrace *backtrace = NULL;
    unwind_get_ip *get_ip = NULL;
    int saved = errno;

    unwind_find(&backtrace, &get_ip);
    if (backtrace != NULL && get_ip != NULL) {
        hk_store_relaxed(&unwinder.get_ip, get_ip); /* relaxed: the release orders it */
        /* release: publishes `get_ip`. It pairs with the acquire in hk_os_unwind. */
        hk_store_release(&unwinder.backtrace, backtrace);
    }

    hk_os_unwind(frames, FRAMES); /* the first call allocates */
    errno = saved;
}

uint32_t hk_os_unwind(uintptr_t *frames, uint32_t most) {
    /* acquire: sees `get_ip`. It pairs with the release in hk_os_unwind_start. */
    unwind_backtrace *backtrace = hk_load_acquire(&unwinder.backtrace);
    if (backtrace == NULL)
        return 0;
    struct unwind unwind = {frames, most, 0, hk_load_relaxed(&unwinder.get_ip)}; /* acquired */
    backtrace(unwind_visit, &unwind);
    return unwind.count;
}

/* Whether the word at an address can be read. The kernel copies a signal set from there before it
 * looks at its first argument, which is invalid. */
static bool unwind_can_read(uintptr_t address) {
    enum { INVALID = -1, SIGNALS_BYTES = 8 };
    return os_syscall(SYS_rt_sigprocmask, INVALID, (long)address, 0, SIGNALS_BYTES) != -EFAULT;
}

/* Whether both words of a frame can be read, given that one at `known` could. */
static bool unwind_can_follow(uintptr_t frame, uintptr_t known) {
    uintptr_t page = hk_os_page_bytes();
    uintptr_t last = frame + sizeof(uintptr_t);
    return (frame / page == known / page || unwind_can_read(frame)) &&
           (last / page == frame / page || unwind_can_read(last));
}

uint32_t hk_os_unwind_frame_pointers(const void *first, uintptr_t *frames, uint32_t most) {
    enum { FRAME_BYTES_MAX = 1 << 20 };
    uintptr_t frame = (uintptr_t)first;
    uint32_t count = 0;

    while (count < most) {
        const uintptr_t *words = (const uintptr_t *)frame;
        uintptr_t next = words[0];
        if (words[1] == 0)
            break;
        frames[count++] = words[1];

        /* A frame is above that of its callee. Anything else is not a frame pointer. */
        if (next <= frame || next - frame > FRAME_BYTES_MAX || next % sizeof(uintptr_t) != 0 ||
            !unwind_can_follow(next, frame))
            break;
        frame = next;
    }

    return count;
}

/* ---- Modules --------------------------------------------------------------------------------- */

struct modules {
    void (*visit)(void *arg, const struct hk_os_module *module);
    void *arg;
    char program[PATH_MAX];
};

/* Finds the build ID among the notes of a segment. */
static void modules_find_build_id(struct hk_os_module *module, const char *notes, size_t bytes) {
    const char *end = notes + bytes;
    while ((size_t)(end - notes) >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, notes, sizeof note);
        const char *name = notes + sizeof note;
        const char *value = name + hk_round_up(note.n_namesz, 4);
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof "GNU" &&
            memcmp(name, "GNU", sizeof "GNU") == 0 && note.n_descsz <= sizeof module->build_id) {
            memcpy(module->build_id, value, note.n_descsz);
            module->build_id_bytes = (uint8_t)note.n_descsz;
            return;
        }
        notes = value + hk_round_up(note.n_descsz, 4);
    }
}

static int modules_visit(struct dl_phdr_info *info, size_t bytes, void *arg) {
    struct modules *modules = arg;
    struct hk_os_module module = {.name = info->dlpi_name, .base = info->dlpi_addr};
    (void)bytes;
    if (module.name == NULL || module.name[0] == 0)
        module.name = modules->program;

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE && module.build_id_bytes == 0)
            modules_find_build_id(&module, (const char *)(info->dlpi_addr + segment->p_vaddr),
                                  segment->p_memsz);
    }

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0)
            continue;
        /* Whole pages, as in /proc/self/maps. */
        size_t page = hk_os_page_bytes();
        uintptr_t before = segment->p_vaddr % page;
        module.start = info->dlpi_addr + segment->p_vaddr - before;
        module.end = module.start + hk_round_up(before + segment->p_memsz, page);
        module.offset = segment->p_offset - before;
        modules->visit(modules->arg, &module);
    }
    return 0;
}

void hk_os_modules(void (*visit)(void *arg, const struct hk_os_module *module), void *arg) {
    struct modules modules = {.visit = visit, .arg = arg};
    long bytes = os_syscall(SYS_readlinkat, -1, os_address("/proc/self/exe"),
                            os_address(modules.program), sizeof modules.program - 1);
    modules.program[bytes > 0 ? bytes : 0] = 0;
    dl_iterate_phdr(modules_visit, &modules);
}

const char *hk_os_symbol(uintptr_t address) {
    Dl_info info;
    int saved = errno;
    bool found = dladdr != NULL && dladdr((const void *)address, &info) != 0;
    errno = saved;
    return found ? info.dli_sname : NULL;
}
