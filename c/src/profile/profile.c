/* profile/profile.c - the heap profiler. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "profile.h"

#include <errno.h>

#include "../core/pagemap.h"
#include "../heap/heaps.h"
#include "../os/os.h"
#include "../thread/hooks.h"
#include "../thread/recover.h"
#include "../thread/thread.h"
#include "../thread/threads.h"
#include "../thread/watch.h"
#include "samples.h"

static struct {
    struct hk_lock lock;  /* rank PROFILE */
    uint32_t number;      /* lock:PROFILE; of the last profile */
    uint64_t mean;        /* atomic, stored under PROFILE */
    uint32_t unwinder;    /* atomic, stored under PROFILE; enum hk_unwinder */
    uint64_t started_ns;  /* lock:PROFILE; calendar time */
    uint64_t started_ms;  /* lock:PROFILE */
    uint64_t duration_ms; /* lock:PROFILE; of a stopped profile */
} profile;

/* ---- Start and end --------------------------------------------------------------------------- */

/* Under the lock. The watch publishes the settings. */
static void profile_start_locked(uint64_t mean, enum hk_unwinder unwinder, uint64_t calendar_ns) {
    profile.number += profile.number == UINT32_MAX ? 2 : 1; /* never 0 */
    hk_store_locked(&profile.mean, mean);
    hk_store_locked(&profile.unwinder, (uint32_t)unwinder);
    profile.started_ns = calendar_ns;
    profile.started_ms = hk_os_now_ms();
    hk_samples_restart(profile.number);
    hk_watch_set(HK_WATCHER_PROFILE, profile.number);
}

int hk_profile_start(uint64_t mean, enum hk_unwinder unwinder) {
    hk_thread_get(); /* starts the process */
    if (hk_thread_sampled_heap() == NULL)
        return ENOMEM;
    if (unwinder == HK_UNWINDER_TABLES)
        hk_os_unwind_start();
    hk_recover_vanished();
    uint64_t now = hk_os_calendar_ns();

    hk_lock(&profile.lock, HK_RANK_PROFILE);
    bool runs = hk_watch_number(HK_WATCHER_PROFILE) != 0;
    if (!runs)
        profile_start_locked(mean, unwinder, now);
    hk_unlock(&profile.lock, HK_RANK_PROFILE);
    return runs ? EALREADY : 0;
}

void hk_profile_stop(void) {
    hk_lock(&profile.lock, HK_RANK_PROFILE);
    if (hk_watch_number(HK_WATCHER_PROFILE) != 0) {
        hk_watch_set(HK_WATCHER_PROFILE, 0);
        profile.duration_ms = hk_os_now_ms() - profile.started_ms;
    }
    hk_unlock(&profile.lock, HK_RANK_PROFILE);
}

struct hk_profile_times hk_profile_times(void) {
    struct hk_profile_times times;
    hk_lock(&profile.lock, HK_RANK_PROFILE);
    bool runs = hk_watch_number(HK_WATCHER_PROFILE) != 0;
    times.mean = profile.mean;
    times.calendar_ns = profile.started_ns;
    times.duration_ms = runs ? hk_os_now_ms() - profile.started_ms : profile.duration_ms;
    hk_unlock(&profile.lock, HK_RANK_PROFILE);
    return times;
}

/* ---- Taking a sample ------------------------------------------------------------------------- */

/* Fills in the stack, which starts with the return address of `frame`. */
static HK_NOINLINE void profile_unwind(struct hk_allocation *allocation, const void *frame) {
    /* relaxed: acquired with the number of the watch */
    bool frame_pointers = hk_load_relaxed(&profile.unwinder) == HK_UNWINDER_FRAME_POINTERS;
    uint32_t (*unwind)(const void *, uintptr_t *, uint32_t) =
        frame_pointers ? hk_os_unwind_frame_pointers : hk_os_unwind_from;
    allocation->depth = unwind(frame, allocation->frames, HK_STACK_FRAMES);
}

/* Returns true if an allocation of the calling thread is a sample. Then *allocation is filled in,
 * and the thread takes no other sample until profile_end. */
static bool profile_begin(struct hk_allocation *allocation, size_t size, const void *frame) {
    struct hk_sampler *sampler = &hk_sampler;
    uint32_t number = hk_watch_number_acquire(HK_WATCHER_PROFILE);
    if (sampler->inside)
        return false;

    if (number == 0) { /* only other modules watch, so there is no next sample */
        sampler->number = 0;
        sampler->left = UINT64_MAX;
        return false;
    }

    if (sampler->number != number) {
        sampler->number = number;
        hk_sampler_draw(sampler, hk_load_relaxed(&profile.mean)); /* relaxed: acquired above */
    }
    if (!hk_sampler_count(sampler, size))
        return false;

    sampler->inside = true;
    allocation->size = size;
    allocation->number = number;
    profile_unwind(allocation, frame);
    return true;
}

static void profile_end(void) {
    hk_sampler_draw(&hk_sampler, hk_load_relaxed(&profile.mean)); /* relaxed: as above */
    hk_sampler.inside = false;
}

static uint32_t profile_index(const struct hk_span *span, const void *block) {
    uint32_t index = 0;
    if (span->class != HK_CLASS_NONE)
        hk_slab_locate(span, &hk_classes[span->class], block, &index);
    return index;
}

/* relaxed: acquired with the number of the watch. If another profile has started since, its number
 * differs. */
static void profile_record(struct hk_span *span, uint32_t index,
                           const struct hk_allocation *allocation) {
    hk_samples_add(hk_span_sample(span, index), allocation, hk_load_relaxed(&profile.mean));
}

struct hk_block hk_profile_sample(size_t class, size_t size, size_t align, const void *frame) {
    struct hk_allocation allocation;
    struct hk_block block = {NULL, false};
    if (!profile_begin(&allocation, size, frame))
        return block;

    block = class == HK_CLASS_NONE ? hk_slow_take_large(size, align)
                                   : hk_heap_take_one(hk_heaps_sampled(), class);
    if (block.start != NULL) {
        struct hk_span *span = hk_pagemap_find(block.start);
        if (class == HK_CLASS_NONE)
            span->kind = HK_SPAN_SAMPLED;
        profile_record(span, profile_index(span, block.start), &allocation);
    }

    profile_end();
    return block;
}

/* ---- Frees and resizing ---------------------------------------------------------------------- */

void hk_profile_free(const char *function, struct hk_span *span, void *block) {
    hk_samples_remove(hk_span_sample(span, profile_index(span, block)));
    if (span->class == HK_CLASS_NONE) {
        span->kind = HK_SPAN_PLAIN;
        hk_slow_free_large(span);
    } else {
        hk_heap_give_one(function, span->class, block);
        hk_thread_hooks.freed(HK_FREED_SMALL);
    }
}

void hk_profile_resize_begin(struct hk_span *span) {
    if (hk_unlikely(span->kind == HK_SPAN_SAMPLED)) {
        hk_samples_remove(hk_span_sample(span, 0));
        span->kind = HK_SPAN_PLAIN;
    }
}

void hk_profile_resize_end(struct hk_span *span, size_t size, const void *frame) {
    struct hk_allocation allocation;
    if (hk_likely(hk_watch_number(HK_WATCHER_PROFILE) == 0) ||
        !profile_begin(&allocation, size, frame))
        return;
    span->kind = HK_SPAN_SAMPLED;
    profile_record(span, 0, &allocation);
    profile_end();
}
