/* guard/slots.c - the slots of guarded blocks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "slots.h"

#include "../base/bits.h"
#include "../core/meta.h"
#include "../core/pagemap.h"
#include "../core/usage.h"
#include "../os/os.h"

enum {
    SLOTS_ATTEMPTS = 1000, /* to take the lock in a signal handler, a millisecond apart */
};
_Static_assert(sizeof(struct hk_slot) <= 1024, "metadata comes in powers of two");

static struct {
    struct hk_lock lock;    /* rank SLOTS */
    struct hk_slot *newest; /* lock:SLOTS; list of all slots */
    struct hk_slot *first;  /* lock:SLOTS; the queue of free slots */
    struct hk_slot *last;   /* lock:SLOTS */
    struct hk_slot *shown;  /* lock:SLOTS; the slot of the current report, or NULL */
    uint32_t shown_in;      /* lock:SLOTS; process of the report, its hk_os_generation */
    uint32_t count;         /* atomic, stored under SLOTS; all slots */
    uint32_t used;          /* atomic, stored under SLOTS; slots that are not in the queue */
    uint32_t limit;         /* atomic, stored under SLOTS; of `used` */
    uint64_t live_bytes;    /* atomic, stored under SLOTS */
} slots;

/* ---- Making slots ---------------------------------------------------------------------------- */

static size_t slots_block_bytes(void) { return hk_round_up(HK_SLOT_BYTES, hk_os_page_bytes()); }

/* The bytes of a slot, with an inaccessible page on both sides of the largest block. */
static size_t slots_stride(void) {
    return hk_round_up(slots_block_bytes() + 2 * hk_os_page_bytes(), HK_GRANULE_BYTES);
}

static void slots_append_locked(struct hk_slot *slot) {
    slot->next = NULL;
    if (slots.first == NULL)
        slots.first = slot;
    else
        slots.last->next = slot;
    slots.last = slot;
}

static void slots_add(struct hk_slot *slot) {
    hk_lock(&slots.lock, HK_RANK_SLOTS);
    slot->older = slots.newest;
    hk_fence_stores(); /* a forked child finds a complete slot in the list */
    slots.newest = slot;
    slots_append_locked(slot);
    hk_add_locked(&slots.count, 1);
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
}

/* Makes a slot at an inaccessible address. Returns false if out of memory. */
static bool slots_make_one(uintptr_t base) {
    struct hk_slot *slot = hk_meta_alloc(sizeof *slot);
    struct hk_span *span = slot != NULL ? hk_span_create(HK_CLASS_NONE, HK_SPAN_GUARDED) : NULL;
    if (span == NULL) {
        if (slot != NULL)
            hk_meta_free(slot, sizeof *slot);
        return false;
    }

    *slot = (struct hk_slot){.span = span};
    span->base = base;
    span->owner = slot;
    span->granules = (uint32_t)(slots_stride() >> HK_GRANULE_SHIFT);
    if (!hk_pagemap_enter(span)) {
        hk_span_destroy(span);
        hk_meta_free(slot, sizeof *slot);
        return false;
    }

    slots_add(slot);
    return true;
}

/* Makes slots in one mapping. If some cannot be made, their part of it is unmapped. */
static bool slots_make_more(uint32_t count) {
    size_t stride = slots_stride();
    char *region = hak_os_map_boundary(count * stride, HK_GRANULE_BYTES);
    if (region == NULL)
        return false;

    uint32_t made = 0;
    if (hk_os_protect(region, count * stride, HK_OS_ACCESS_NONE)) {
        while (made < count && slots_make_one((uintptr_t)region + made * stride))
            made++;
    }
    if (made < count)
        hk_os_unmap(region + made * stride, (count - made) * stride);
    return made == count;
}

bool hk_slots_make(uint32_t count) {
    uint32_t present = hk_peek(&slots.count);
    if (count > present && !slots_make_more(count - present))
        return false;
    hk_lock(&slots.lock, HK_RANK_SLOTS);
    hk_store_locked(&slots.limit, count);
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
    return true;
}

/* ---- Taking ---------------------------------------------------------------------------------- */

uintptr_t hk_slot_start(const struct hk_slot *slot) {
    return slot->span->base + hk_os_page_bytes();
}

/* The slot that a thread of this process shows, or NULL. A forked child may inherit the slot of a
 * thread that vanished. */
static struct hk_slot *slots_shown_locked(void) {
    return slots.shown_in == hk_os_generation() ? slots.shown : NULL;
}

/* Removes the first slot of the queue, or the second one if the first is shown. */
static struct hk_slot *slots_pop_locked(void) {
    struct hk_slot *slot = slots.first;
    struct hk_slot *shown = slots_shown_locked();
    if (slot != NULL && slot == shown) {
        slots.first = slot->next;
        slots_append_locked(slot);
        slot = slots.first != shown ? slots.first : NULL;
    }
    if (slot != NULL) {
        slots.first = slot->next;
        slot->taken = true;
    }
    return slot;
}

static struct hk_slot *slots_pop(void) {
    struct hk_slot *slot = NULL;
    if (hk_peek(&slots.used) >= hk_peek(&slots.limit))
        return NULL;

    hk_lock(&slots.lock, HK_RANK_SLOTS);
    if (slots.used < slots.limit)
        slot = slots_pop_locked();
    if (slot != NULL)
        hk_add_locked(&slots.used, 1);
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
    return slot;
}

/* Puts a taken slot back at the front of the queue. */
static void slots_push_front(struct hk_slot *slot) {
    hk_lock(&slots.lock, HK_RANK_SLOTS);
    slot->next = slots.first;
    if (slots.first == NULL)
        slots.last = slot;
    slots.first = slot;
    slot->taken = false;
    hk_sub_locked(&slots.used, 1);
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
}

struct hk_slot *hk_slots_take(size_t size) {
    size_t bytes = hk_round_up(size + (size == 0), hk_os_page_bytes());
    struct hk_slot *slot = slots_pop();
    if (slot == NULL)
        return NULL;

    if (hk_usage_add(bytes)) {
        if (hk_os_protect((void *)hk_slot_start(slot), bytes, HK_OS_ACCESS_ALL)) {
            slot->bytes = bytes;
            return slot;
        }
        hk_usage_sub(bytes);
    }
    slots_push_front(slot);
    return NULL;
}

void hk_slots_fill(struct hk_slot *slot, uintptr_t block, size_t size,
                   const struct hk_slot_event *created) {
    hk_lock(&slots.lock, HK_RANK_SLOTS);
    slot->span->bytes = size;
    slot->block = block;
    slot->created = *created;
    slot->taken = false;
    slot->reported = 0;
    slot->state = HK_SLOT_LIVE;
    hk_add_locked(&slots.live_bytes, size);
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
}

/* ---- Freeing --------------------------------------------------------------------------------- */

static enum hk_slot_match slots_match_locked(const struct hk_slot *slot, uintptr_t address) {
    if (slot->state == HK_SLOT_UNUSED)
        return HK_SLOT_IS_NOTHING;
    if (address == slot->block)
        return slot->state == HK_SLOT_LIVE ? HK_SLOT_IS_BLOCK : HK_SLOT_IS_FREED;
    return slot->state == HK_SLOT_LIVE ? HK_SLOT_IS_INSIDE : HK_SLOT_IS_NOTHING;
}

enum hk_slot_match hk_slots_match(const struct hk_slot *slot, uintptr_t address) {
    hk_lock(&slots.lock, HK_RANK_SLOTS);
    enum hk_slot_match match = slots_match_locked(slot, address);
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
    return match;
}

/* Records the free. The slot is not in the queue yet. */
static bool slots_end_block(struct hk_slot *slot, uintptr_t block,
                            const struct hk_slot_event *freed) {
    hk_lock(&slots.lock, HK_RANK_SLOTS);
    bool live = slots_match_locked(slot, block) == HK_SLOT_IS_BLOCK;
    if (live) {
        slot->freed = *freed;
        slot->state = HK_SLOT_FREED;
        slot->dirty = true; /* also in a forked child without this thread */
        hk_sub_locked(&slots.live_bytes, slot->span->bytes);
    }
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
    return live;
}

/* If the OS does not make the pages inaccessible, later accesses go unnoticed. */
bool hk_slots_retire(struct hk_slot *slot, uintptr_t block, const struct hk_slot_event *freed) {
    if (!slots_end_block(slot, block, freed))
        return false;

    void *start = (void *)hk_slot_start(slot);
    hk_os_protect(start, slot->bytes, HK_OS_ACCESS_NONE);
    slot->dirty = !hk_os_purge(start, slot->bytes);
    hk_usage_sub(slot->bytes);

    hk_lock(&slots.lock, HK_RANK_SLOTS);
    slots_append_locked(slot);
    hk_sub_locked(&slots.used, 1);
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
    return true;
}

/* ---- Reports --------------------------------------------------------------------------------- */

static enum hk_slot_show slots_show_locked(struct hk_slot *slot, enum hk_slot_mistake mistake,
                                           struct hk_slot_view *view) {
    if (slots_shown_locked() != NULL || slot->taken)
        return HK_SLOT_BUSY;
    if ((slot->reported >> mistake & 1) != 0)
        return HK_SLOT_SEEN;
    slot->reported |= (uint8_t)(1 << mistake);
    slots.shown = slot;
    slots.shown_in = hk_os_generation();
    *view = (struct hk_slot_view){slot->state, slot->block, slot->span->bytes};
    return HK_SLOT_SHOWN;
}

/* A signal handler may have interrupted the holder of the lock, so we only try it. */
enum hk_slot_show hk_slots_show_begin(struct hk_slot *slot, enum hk_slot_mistake mistake,
                                      struct hk_slot_view *view) {
    enum hk_slot_show show = HK_SLOT_BUSY;
    for (int i = 0; i < SLOTS_ATTEMPTS && show == HK_SLOT_BUSY; i++) {
        if (i > 0)
            hk_os_sleep_ms(1);
        if (hk_lock_try(&slots.lock, HK_RANK_SLOTS)) {
            show = slots_show_locked(slot, mistake, view);
            hk_unlock(&slots.lock, HK_RANK_SLOTS);
        }
    }
    return show;
}

void hk_slots_show_end(void) {
    hk_lock(&slots.lock, HK_RANK_SLOTS);
    slots.shown = NULL;
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
}

/* ---- Counts ---------------------------------------------------------------------------------- */

uint64_t hk_slots_live_bytes(void) { return hk_stat_get(&slots.live_bytes); }

bool hk_slots_valid(void) {
    uint32_t queued = 0;
    bool valid = true;
    hk_lock(&slots.lock, HK_RANK_SLOTS);
    for (struct hk_slot *slot = slots.first; slot != NULL && queued <= slots.count;
         slot = slot->next) {
        queued++;
        valid &= slot->state != HK_SLOT_LIVE && (slot->next != NULL || slot == slots.last);
    }
    valid &= queued + slots.used == slots.count;
    hk_unlock(&slots.lock, HK_RANK_SLOTS);
    return valid;
}

/* The slots that vanished threads had taken are free again. A slot that another thread was freeing
 * may stay accessible. */
void hk_slots_repair(struct hk_lock *lock) {
    uint64_t live_bytes = 0;
    uint32_t count = 0, used = 0;
    (void)lock;
    slots.first = slots.last = NULL;
    slots.shown = NULL;

    for (struct hk_slot *slot = slots.newest; slot != NULL; slot = slot->older) {
        bool live = slot->state == HK_SLOT_LIVE;
        count++;
        slot->taken = false;
        used += live;
        live_bytes += live ? slot->span->bytes : 0;
        if (!live)
            slots_append_locked(slot);
    }

    hk_store_locked(&slots.count, count);
    hk_store_locked(&slots.used, used);
    hk_store_locked(&slots.live_bytes, live_bytes);
}
