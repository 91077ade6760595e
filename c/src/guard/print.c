/* guard/print.c - reports about guarded blocks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "print.h"

#include "../base/string.h"
#include "../core/pagemap.h"
#include "../os/check.h"
#include "slots.h"

enum {
    PRINT_LINE_BYTES = 512,
    PRINT_MODULES = 32,
    PRINT_NAME_BYTES = 192,
    PRINT_FAULT_FRAMES = 32,
    PRINT_FRAMES = PRINT_FAULT_FRAMES + 2 * HK_SLOT_FRAMES,
};

/* The current report. It belongs to the thread that shows a slot. It is not on the stack, because
 * the stack of a signal handler may be small. */
static struct {
    bool names;                     /* print function names; not in signal handlers */
    uint32_t frame_count;           /* of all stacks */
    uintptr_t frames[PRINT_FRAMES]; /* addresses of the calls */
    uint32_t module_count;          /* that contain frames */
    struct hk_os_module modules[PRINT_MODULES];
    char module_names[PRINT_MODULES][PRINT_NAME_BYTES];
} print;

/* ---- Lines ----------------------------------------------------------------------------------- */

struct print_line {
    struct hk_text text;
    char bytes[PRINT_LINE_BYTES];
};

static void print_begin(struct print_line *line, const char *words) {
    line->text = (struct hk_text){line->bytes, line->bytes + sizeof line->bytes - 1};
    hk_text_add(&line->text, words);
}

static void print_end(struct print_line *line) {
    *line->text.at++ = '\n';
    hk_os_write_error(line->bytes, (size_t)(line->text.at - line->bytes));
}

/* ---- Modules --------------------------------------------------------------------------------- */

static void print_add_module(void *arg, const struct hk_os_module *module) {
    (void)arg;
    if (print.module_count == PRINT_MODULES)
        return;
    char *name = print.module_names[print.module_count];
    size_t bytes = strlen(module->name);
    size_t kept = bytes < PRINT_NAME_BYTES ? bytes : PRINT_NAME_BYTES - 1;
    memcpy(name, module->name + bytes - kept, kept); /* the end of a path is more useful */
    name[kept] = 0;

    struct hk_os_module *copy = &print.modules[print.module_count++];
    *copy = *module;
    copy->name = name;
}

static const struct hk_os_module *print_module(uintptr_t address) {
    for (uint32_t i = 0; i < print.module_count; i++) {
        if (address >= print.modules[i].start && address < print.modules[i].end)
            return &print.modules[i];
    }
    return NULL;
}

static const char *print_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void print_modules(void) {
    static const char digits[] = "0123456789abcdef";
    for (uint32_t i = 0; i < print.module_count; i++) {
        const struct hk_os_module *module = &print.modules[i];
        struct print_line line;
        print_begin(&line, "module ");
        hk_text_add(&line.text, print_base_name(module->name));
        hk_text_add(&line.text, " build-id ");
        for (size_t k = 0; k < module->build_id_bytes; k++) {
            hk_text_add_bytes(&line.text, &digits[module->build_id[k] >> 4], 1);
            hk_text_add_bytes(&line.text, &digits[module->build_id[k] & 15], 1);
        }
        hk_text_add(&line.text, module->build_id_bytes == 0 ? "unknown " : " ");
        hk_text_add(&line.text, module->name);
        print_end(&line);
    }
}

/* ---- Stacks ---------------------------------------------------------------------------------- */

/* A stack of the report, as a range of its frames. */
struct print_stack {
    uint32_t first;
    uint32_t depth;
};

/* A return address is just after its call, so one byte less is an address in the call. */
static struct print_stack print_add_stack(const struct hk_slot_event *event) {
    struct print_stack stack = {print.frame_count, event->depth};
    for (uint32_t i = 0; i < event->depth; i++)
        print.frames[print.frame_count++] = event->frames[i] - 1;
    return stack;
}

static struct print_stack print_add_fault(const struct hk_os_fault *fault) {
    uintptr_t *frames = print.frames + print.frame_count;
    struct print_stack stack = {print.frame_count, 0};
    stack.depth = hk_os_unwind_interrupted(fault->code, fault->frame, frames, PRINT_FAULT_FRAMES);
    for (uint32_t i = 1; i < stack.depth; i++)
        frames[i]--;
    print.frame_count += stack.depth;
    return stack;
}

/* "    function program+0x1234", with the address that addr2line expects. */
static void print_frame(uintptr_t address) {
    const struct hk_os_module *module = print_module(address);
    const char *symbol = print.names ? hk_os_symbol(address) : NULL;
    struct print_line line;
    print_begin(&line, "    ");
    if (symbol != NULL) {
        hk_text_add(&line.text, symbol);
        hk_text_add(&line.text, " ");
    }
    if (module != NULL) {
        hk_text_add(&line.text, print_base_name(module->name));
        hk_text_add(&line.text, "+");
        address -= module->base;
    }
    hk_text_add_pointer(&line.text, (const void *)address);
    print_end(&line);
}

static void print_stack(const char *words, uint64_t thread, struct print_stack stack) {
    struct print_line line;
    print_begin(&line, words);
    hk_text_add_number(&line.text, thread);
    hk_text_add(&line.text, ":");
    print_end(&line);
    for (uint32_t i = 0; i < stack.depth; i++)
        print_frame(print.frames[stack.first + i]);
}

/* Without frame pointers, the frames after the first may be garbage, so the stack ends before the
 * first one that is not in code. */
static void print_cut_off(struct print_stack *stack) {
    uint32_t depth = 1;
    while (print.module_count > 0 && depth < stack->depth &&
           print_module(print.frames[stack->first + depth]) != NULL)
        depth++;
    stack->depth = depth;
}

/* ---- Reports --------------------------------------------------------------------------------- */

/* Prints the stack of the fault, if there is one, and those of a shown slot. */
static void print_details(const struct hk_slot *slot, const struct hk_slot_view *view,
                          const struct hk_os_fault *fault) {
    struct print_stack access = {0, 0}, freed = {0, 0};
    bool is_freed = view->state == HK_SLOT_FREED;
    print.names = fault == NULL;
    print.frame_count = 0;
    print.module_count = 0;

    if (fault != NULL)
        access = print_add_fault(fault);
    struct print_stack created = print_add_stack(&slot->created);
    if (is_freed)
        freed = print_add_stack(&slot->freed);
    hk_os_find_modules(print.frames, print.frame_count, print_add_module, NULL);

    if (fault != NULL) {
        print_cut_off(&access);
        print_stack("  access by thread ", hk_os_thread_id(), access);
    }
    print_stack("  allocated by thread ", slot->created.thread, created);
    if (is_freed)
        print_stack("  freed by thread ", slot->freed.thread, freed);
    print_modules();
}

/* "12 bytes after the end of the block of 100 bytes at 0x1234". */
static void print_place(struct hk_text *text, const struct hk_slot_view *view, uintptr_t address) {
    uintptr_t end = view->block + view->size;
    if (address < view->block) {
        hk_text_add_number(text, view->block - address);
        hk_text_add(text, " bytes before the start of");
    } else if (address >= end) {
        hk_text_add_number(text, address - end);
        hk_text_add(text, " bytes after the end of");
    } else {
        hk_text_add_number(text, address - view->block);
        hk_text_add(text, " bytes into");
    }
    hk_text_add(text, " the block of ");
    hk_text_add_number(text, view->size);
    hk_text_add(text, " bytes at ");
    hk_text_add_pointer(text, (const void *)view->block);
}

/* A live block is accessible, so a fault within it preceded its allocation. */
static const char *print_mistake(const struct hk_slot_view *view, uintptr_t address) {
    if (view->state == HK_SLOT_UNUSED)
        return "access beside guarded blocks";
    if (view->state == HK_SLOT_LIVE && address < view->block)
        return "underflow";
    if (view->state == HK_SLOT_LIVE && address >= view->block + view->size)
        return "overflow";
    return "use after free";
}

/* "hakmem: use after free: write to 0x1234, 12 bytes into the block of 100 bytes at 0x1228". */
static void print_access(const struct hk_slot_view *view, const struct hk_os_fault *fault) {
    static const char *const kinds[] = {
        [HK_OS_FAULT_ANY] = ": access to ",
        [HK_OS_FAULT_READ] = ": read of ",
        [HK_OS_FAULT_WRITE] = ": write to ",
    };
    struct print_line line;
    print_begin(&line, "hakmem: ");
    hk_text_add(&line.text, print_mistake(view, fault->address));
    hk_text_add(&line.text, kinds[fault->kind]);
    hk_text_add_pointer(&line.text, (const void *)fault->address);
    if (view->state != HK_SLOT_UNUSED) {
        hk_text_add(&line.text, ", ");
        print_place(&line.text, view, fault->address);
    }
    print_end(&line);
}

/* If another thread is printing a report and does not finish in time, prints one line without
 * details. */
void hk_print_fault(const struct hk_os_fault *fault) {
    const struct hk_span *span = hk_pagemap_find((const void *)fault->address);
    if (span == NULL || span->kind != HK_SPAN_GUARDED)
        return;

    struct hk_slot *slot = hk_slot_of(span);
    struct hk_slot_view view;
    enum hk_slot_show show = hk_slots_show_begin(slot, HK_SLOT_ACCESS, &view);
    if (show == HK_SLOT_SHOWN) {
        print_access(&view, fault);
        print_details(slot, &view, fault);
        hk_slots_show_end();
    } else if (show == HK_SLOT_BUSY) {
        struct print_line line;
        print_begin(&line, "hakmem: bad access to a guarded block at ");
        hk_text_add_pointer(&line.text, (const void *)fault->address);
        print_end(&line);
    }
}

void hk_print_block(const void *block) {
    struct hk_slot *slot = hk_slot_of(hk_pagemap_find(block));
    struct hk_slot_view view;
    if (hk_slots_show_begin(slot, HK_SLOT_FREE, &view) != HK_SLOT_SHOWN)
        return;

    if (view.state != HK_SLOT_UNUSED) {
        struct print_line line;
        print_begin(&line, "  ");
        print_place(&line.text, &view, (uintptr_t)block);
        print_end(&line);
        print_details(slot, &view, NULL);
    }
    hk_slots_show_end();
}
