/* guard/slots.h - the slots of guarded blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: places for one block each, between inaccessible pages:
 *
 *     | inaccessible page | pages of the block | inaccessible for the rest of the granules |
 *
 * A slot has a span and all of its granules in the pagemap, so that an access anywhere in it leads
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

struct hk_slot {
    struct hk_span *span;         /* const */
    struct hk_slot *older;        /* const; list of all slots */
    struct hk_slot *next;         /* lock:SLOTS; queue of free slots */
    enum hk_slot_state state;     /* lock:SLOTS */
    bool taken;                   /* lock:SLOTS; it is about to get another block */
    bool reported;                /* lock:SLOTS; a fault of this block was reported */
    bool dirty;                   /* of the thread that took or retires the slot; not zeroed */
    size_t bytes;                 /* as `dirty`; of the accessible pages */
    uintptr_t block;              /* lock:SLOTS, like the following; of the current or last block */
    struct hk_slot_event created; /* its allocation */
    struct hk_slot_event freed;   /* its free, if the state is HK_SLOT_FREED */
};

/* The slot of a guarded span. The span's `bytes` are the requested size of the block. */
static inline struct hk_slot *hk_slot_of(const struct hk_span *span) { return span->owner; }

/* Makes sure that there are `count` slots, and limits the slots in use to that number. Returns
 * false if out of memory. One thread at a time may call it. */
HK_COLD bool hk_slots_make(uint32_t count);

/* Takes a slot from the queue, and makes room for a block of `size` bytes. Returns NULL if all
 * slots are in use, or if the OS or a limit refuses the pages. */
HK_COLD struct hk_slot *hk_slots_take(size_t size);

/* The first address of a slot that may be accessible. */
uintptr_t hk_slot_start(const struct hk_slot *slot);

/* Makes a taken slot that of a block of `size` bytes. */
HK_COLD void hk_slots_fill(struct hk_slot *slot, uintptr_t block, size_t size,
                           const struct hk_slot_event *created);

/* Whether an address is that of the live block of a slot. */
enum hk_slot_match {
    HK_SLOT_IS_BLOCK,
    HK_SLOT_IS_FREED,
    HK_SLOT_IS_INSIDE,
    HK_SLOT_IS_NOTHING,
};
HK_COLD enum hk_slot_match hk_slots_match(const struct hk_slot *slot, uintptr_t address);

/* Frees the block of a slot, if it is live. Its pages become inaccessible, and the slot joins the
 * queue. Returns false if another thread has freed it. */
HK_COLD bool hk_slots_retire(struct hk_slot *slot, uintptr_t block,
                             const struct hk_slot_event *freed);

/* A copy of a slot. */
struct hk_slot_view {
    enum hk_slot_state state;
    uintptr_t block;
    size_t size;
};

/* Enclose a report about a slot. In between, the slot is not taken, so the events of the copied
 * state stay. If another thread shows a slot for too long, or the lock is not available, the result
 * is HK_SLOT_BUSY. It is HK_SLOT_SEEN if a fault of the block was reported before. Only after
 * HK_SLOT_SHOWN, the end must follow. May be called in a signal handler. */
enum hk_slot_show { HK_SLOT_SHOWN, HK_SLOT_SEEN, HK_SLOT_BUSY };
HK_COLD enum hk_slot_show hk_slots_show_begin(struct hk_slot *slot, struct hk_slot_view *view);
HK_COLD void hk_slots_show_end(void);

/* Requested bytes of all guarded blocks that are live. A statistic. */
HK_COLD uint64_t hk_slots_live_bytes(void);

/* Whether the queue and the counts match the slots. */
HK_COLD bool hk_slots_valid(void);

/* Rebuilds the queue and the counts, after the SLOTS lock was taken over from a thread that stopped
 * in the middle. Under the lock, in a forked child. */
HK_COLD void hk_slots_repair(struct hk_lock *lock);

#endif
