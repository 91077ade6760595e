/* guard/slots.h - the slots of guarded blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: places for one block each, with inaccessible pages on both sides:
 *
 *     | inaccessible page | pages of the block | inaccessible for the rest of the granules |
 *
 * All granules of a slot lead to its span in the pagemap, so an access anywhere in the slot leads
 * to its record. A free slot is inaccessible and has no pages. Free slots form a queue, and the
 * slot that was freed longest ago is taken first. Slots are never unmapped.
 * Owns: the slots, their records in metadata, the queue. Threads: any, no lock held. Takes SLOTS.
 * Boundary: core/span, core/pagemap, core/meta, hak_os_map_boundary, hk_os_protect, hk_os_purge.
 */
#ifndef HK_GUARD_SLOTS_H
#define HK_GUARD_SLOTS_H

#include "../core/span.h"
#include "../os/lock.h"

enum {
    HK_SLOT_BYTES = 16 << 10, /* of the largest block */
    HK_SLOT_FRAMES = 58,      /* of a stack, so that a record has 1 KiB */
    HK_SLOTS_MAX = 1 << 16,
};

/* The thread and the stack of an allocation or a free. */
struct hk_slot_event {
    uint64_t thread; /* the kernel's number */
    uint32_t depth;
    uintptr_t frames[HK_SLOT_FRAMES]; /* return addresses, innermost first */
};

enum hk_slot_state { HK_SLOT_UNUSED, HK_SLOT_LIVE, HK_SLOT_FREED };

/* Kinds of mistakes with a block. Of each kind, the first one is reported with its stacks. */
enum hk_slot_mistake { HK_SLOT_ACCESS, HK_SLOT_FREE, HK_SLOT_MISTAKES };

struct hk_slot {
    struct hk_span *span;         /* const */
    struct hk_slot *older;        /* const; list of all slots */
    struct hk_slot *next;         /* lock:SLOTS; queue of free slots */
    enum hk_slot_state state;     /* lock:SLOTS */
    bool taken;                   /* lock:SLOTS; it is about to get another block */
    uint8_t reported;             /* lock:SLOTS; a bit for each enum hk_slot_mistake */
    bool dirty;                   /* of the thread that took or retires the slot; may be nonzero */
    size_t bytes;                 /* like `dirty`; of the accessible pages */
    uintptr_t block;              /* lock:SLOTS, like the next two; the current or last block */
    struct hk_slot_event created; /* its allocation */
    struct hk_slot_event freed;   /* its free, if the state is HK_SLOT_FREED */
};

/* The slot of a guarded span. The span's `bytes` are the requested size of the block. */
static inline struct hk_slot *hk_slot_of(const struct hk_span *span) { return span->owner; }

/* Makes sure that there are `count` slots, and limits the slots in use to this number. Returns
 * false if out of memory. Only one thread at a time may call it. */
HK_COLD bool hk_slots_make(uint32_t count);

/* Takes a slot from the queue, and makes pages for a block of `size` bytes accessible. Returns NULL
 * if all slots are in use, or if the OS or a limit refuses the pages. */
HK_COLD struct hk_slot *hk_slots_take(size_t size);

/* The first address of a slot that may be accessible. */
uintptr_t hk_slot_start(const struct hk_slot *slot);

/* Records that a taken slot holds a block of `size` bytes. */
HK_COLD void hk_slots_fill(struct hk_slot *slot, uintptr_t block, size_t size,
                           const struct hk_slot_event *created);

/* Compares an address with the block of a slot. */
enum hk_slot_match {
    HK_SLOT_IS_BLOCK,
    HK_SLOT_IS_FREED,
    HK_SLOT_IS_INSIDE,
    HK_SLOT_IS_NOTHING,
};
HK_COLD enum hk_slot_match hk_slots_match(const struct hk_slot *slot, uintptr_t address);

/* Frees the block of a slot. Its pages become inaccessible, and the slot joins the queue. Returns
 * false if the block is not live, because another thread freed it first. */
HK_COLD bool hk_slots_retire(struct hk_slot *slot, uintptr_t block,
                             const struct hk_slot_event *freed);

/* A copy of the state of a slot. */
struct hk_slot_view {
    enum hk_slot_state state;
    uintptr_t block;
    size_t size;
};

/* Called before and after a report about a slot. In between, no thread takes the slot, so the
 * events of the copied state do not change. The result is HK_SLOT_BUSY if another thread shows a
 * slot for too long or the lock stays taken, and HK_SLOT_SEEN if such a mistake with this block was
 * already reported. Only after HK_SLOT_SHOWN must hk_slots_show_end follow. Both may be called in a
 * signal handler. */
enum hk_slot_show { HK_SLOT_SHOWN, HK_SLOT_SEEN, HK_SLOT_BUSY };
HK_COLD enum hk_slot_show hk_slots_show_begin(struct hk_slot *slot, enum hk_slot_mistake mistake,
                                              struct hk_slot_view *view);
HK_COLD void hk_slots_show_end(void);

/* Requested bytes of all live guarded blocks. A statistic. */
HK_COLD uint64_t hk_slots_live_bytes(void);

/* Whether the queue and the counts match the slots. */
HK_COLD bool hk_slots_valid(void);

/* Rebuilds the queue and the counts, after the SLOTS lock was taken over from a vanished thread.
 * Under the lock, in a forked child. */
HK_COLD void hk_slots_repair(struct hk_lock *lock);

#endif
