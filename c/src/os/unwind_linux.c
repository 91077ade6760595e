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
#include <unwind.h>

#include "../base/atomic.h"
#include "../base/bits.h"
#include "../base/string.h"
#include "file_linux.h"
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
    bool locks;                  /* atomic; stored before `backtrace`; it takes a lock */
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

/* Opens the library of the unwinder, which a C program may not have loaded yet. We look up dlopen
 * by name, because the linker warns about references to it in a static executable. */
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
        /* relaxed: as above */
        hk_store_relaxed(&unwinder.locks, hk_os_is_static());
        /* release: publishes `get_ip`. It pairs with the acquire in hk_os_unwind. */
        hk_store_release(&unwinder.backtrace, backtrace);
    }

    hk_os_unwind(frames, FRAMES); /* the first call allocates */
    errno = saved;
}

/* In a static executable, the unwinder of libgcc takes a lock, which a vanished thread of a forked
 * child may hold for ever. relaxed: acquired by the caller */
static bool unwind_may_lock(void) {
    return !hk_load_relaxed(&unwinder.locks) || hk_os_generation() == 0;
}

/* The unwinder may allocate. These allocations do not enter it again. */
static HK_THREAD_LOCAL bool unwind_inside;

uint32_t hk_os_unwind(uintptr_t *frames, uint32_t most) {
    /* acquire: sees `get_ip`. It pairs with the release in hk_os_unwind_start. */
    unwind_backtrace *backtrace = hk_load_acquire(&unwinder.backtrace);
    if (backtrace == NULL || unwind_inside || !unwind_may_lock())
        return 0;
    struct unwind unwind = {frames, most, 0, hk_load_relaxed(&unwinder.get_ip)}; /* acquired */
    unwind_inside = true;
    backtrace(unwind_visit, &unwind);
    unwind_inside = false;
    return unwind.count;
}

uint32_t hk_os_unwind_from(const void *first, uintptr_t *frames, uint32_t most) {
    enum { OWN_FRAMES = 16, FRAMES = 64 };
    uintptr_t all[OWN_FRAMES + FRAMES];
    uintptr_t caller = ((const uintptr_t *)first)[1];
    uint32_t skipped = 0;
    uint32_t count = hk_os_unwind(all, OWN_FRAMES + (most < FRAMES ? most : FRAMES));

    while (skipped < count && all[skipped] != caller)
        skipped++;
    if (skipped == count) { /* the unwinder has no tables for this code */
        frames[0] = caller;
        return 1;
    }

    count = (uint32_t)hk_min(count - skipped, most);
    memcpy(frames, all + skipped, count * sizeof frames[0]);
    return count;
}

/* Whether the word at an address can be read. The kernel copies a signal set from there before it
 * looks at its first argument, which is invalid. */
static bool unwind_can_read(uintptr_t address) {
    enum { INVALID = -1, SIGNALS_BYTES = 8 };
    return os_syscall(SYS_rt_sigprocmask, INVALID, (long)address, 0, SIGNALS_BYTES) != -EFAULT;
}

/* Whether both words of a frame can be read, if the page of `known` can be read. */
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

        /* A frame is above the frame of its callee. Any other value is not a frame pointer. */
        if (next <= frame || next - frame > FRAME_BYTES_MAX || next % sizeof(uintptr_t) != 0 ||
            !unwind_can_follow(next, frame))
            break;
        frame = next;
    }

    return count;
}

uint32_t hk_os_unwind_interrupted(uintptr_t code, const void *frame, uintptr_t *frames,
                                  uint32_t most) {
    uintptr_t words = (uintptr_t)frame;
    if (most == 0)
        return 0;
    frames[0] = code;
    if (words == 0 || words % sizeof(uintptr_t) != 0 || !unwind_can_read(words) ||
        !unwind_can_follow(words, words))
        return 1;
    return 1 + hk_os_unwind_frame_pointers(frame, frames + 1, most - 1);
}

/* ---- Modules --------------------------------------------------------------------------------- */

#define UNWIND_SELF "/proc/self/exe"

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
    /* The program has no name with glibc, and this name in a static executable of musl. */
    if (module.name == NULL || module.name[0] == 0 || strcmp(module.name, UNWIND_SELF) == 0)
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
    long bytes = os_syscall(SYS_readlinkat, -1, os_address(UNWIND_SELF),
                            os_address(modules.program), sizeof modules.program - 1);
    modules.program[bytes > 0 ? bytes : 0] = 0;
    dl_iterate_phdr(modules_visit, &modules);
}

/* ---- Modules, as the kernel lists them ------------------------------------------------------- */

/* A line of /proc/self/maps: "7f00-7f10 r-xp 00001000 fe:00 1234 /lib/libc.so.6". */
struct mapping {
    uintptr_t start;
    uintptr_t end;
    uint64_t offset;
    uint64_t file[3]; /* the device, as two numbers, and the inode */
    bool readable;
    bool executable;
    const char *path;
};

/* Reads a hexadecimal number, and skips the character after it. */
static const char *mapping_number(const char *at, uint64_t *number) {
    static const char digits[] = "0123456789abcdef";
    const char *digit;
    *number = 0;
    for (; *at != 0 && (digit = strchr(digits, *at)) != NULL; at++)
        *number = *number << 4 | (uint64_t)(digit - digits);
    return *at != 0 ? at + 1 : at;
}

static void mapping_parse(struct mapping *mapping, const char *line) {
    enum { RIGHTS_BYTES = 5 };
    uint64_t start, end;
    const char *at = mapping_number(mapping_number(line, &start), &end);
    mapping->start = start;
    mapping->end = end;
    mapping->readable = at[0] == 'r';
    mapping->executable = strlen(at) > RIGHTS_BYTES && at[2] == 'x';

    at = mapping_number(at + hk_min(strlen(at), RIGHTS_BYTES), &mapping->offset);
    for (int i = 0; i < 3; i++) /* the inode is decimal, but it is only compared */
        at = mapping_number(at, &mapping->file[i]);
    mapping->path = at + strspn(at, " ");
}

static bool mapping_has(const struct mapping *mapping, const uintptr_t *addresses, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (addresses[i] >= mapping->start && addresses[i] < mapping->end)
            return true;
    }
    return false;
}

/* Finds the base and the build ID of a module with the ELF header at the start of its file. Reads
 * only the mapping `head`. */
static void mapping_read_header(struct hk_os_module *module, const struct mapping *head) {
    const ElfW(Ehdr) *header = (const void *)head->start;
    size_t bytes = head->end - head->start;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_phoff > bytes ||
        header->e_phnum * sizeof(ElfW(Phdr)) > bytes - header->e_phoff)
        return;

    const ElfW(Phdr) *segment = (const void *)(head->start + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++, segment++) {
        if (segment->p_type == PT_LOAD && segment->p_offset == 0)
            module->base = head->start - segment->p_vaddr;
        if (segment->p_type == PT_NOTE && module->build_id_bytes == 0 &&
            segment->p_offset <= bytes && segment->p_filesz <= bytes - segment->p_offset)
            modules_find_build_id(module, (const char *)(head->start + segment->p_offset),
                                  segment->p_filesz);
    }
}

void hk_os_find_modules(const uintptr_t *addresses, size_t count,
                        void (*visit)(void *arg, const struct hk_os_module *module), void *arg) {
    struct os_lines lines = {0};
    struct mapping head = {0}; /* the mapping with the start of the current file */
    struct mapping mapping;
    if (!os_lines_open(&lines, HK_OS_ROOT "/proc/self/maps", '\n'))
        return;

    for (const char *line; (line = os_lines_next(&lines)) != NULL;) {
        mapping_parse(&mapping, line);
        if (mapping.offset == 0 && mapping.readable)
            head = mapping;
        if (!mapping.executable || !mapping_has(&mapping, addresses, count))
            continue;

        struct hk_os_module module = {.name = mapping.path,
                                      .base = mapping.start - mapping.offset,
                                      .start = mapping.start,
                                      .end = mapping.end,
                                      .offset = mapping.offset};
        if (mapping.path[0] == '/' && head.start != 0 &&
            memcmp(head.file, mapping.file, sizeof head.file) == 0)
            mapping_read_header(&module, &head);
        visit(arg, &module);
    }
}

const char *hk_os_symbol(uintptr_t address) {
    Dl_info info;
    int saved = errno;
    bool found = dladdr != NULL && dladdr((const void *)address, &info) != 0;
    errno = saved;
    return found ? info.dli_sname : NULL;
}
