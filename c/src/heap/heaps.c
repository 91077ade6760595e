/* heap/heaps.c - the heaps of the process. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "heaps.h"

#include "../core/meta.h"

static struct {
    uint32_t max;                        /* const after the start of the process */
    uint32_t count;                      /* atomic, stored under THREADS */
    struct hk_heap *heaps[HK_HEAPS_MAX]; /* const once counted */
    struct hk_heap *sampled;             /* atomic, stored under THREADS; one of them, or NULL */
} heaps = {.max = 1};

void hk_heaps_start(uint32_t max) { heaps.max = max < HK_HEAPS_MAX ? max : HK_HEAPS_MAX - 1; }

/* The number of heaps for threads. Exact under the THREADS lock. */
static uint32_t heaps_for_threads(void) {
    return hk_peek(&heaps.count) - (hk_peek(&heaps.sampled) != NULL);
}

struct hk_heap *hk_heaps_spare(uint32_t threads) {
    uint32_t count = heaps_for_threads(); /* a guess. hk_heaps_choose decides under the lock. */
    return count < heaps.max && count <= threads ? hk_heap_create() : NULL;
}

/* Adds *spare to the table and sets it to NULL. Under the THREADS lock. */
static struct hk_heap *heaps_add(struct hk_heap **spare) {
    uint32_t count = hk_load_relaxed(&heaps.count); /* relaxed: stored under this lock */
    struct hk_heap *heap = *spare;
    *spare = NULL;
    heap->number = count;
    heaps.heaps[count] = heap;
    /* release: publishes the heap. It pairs with the acquire in hk_heaps_at. */
    hk_store_release(&heaps.count, count + 1);
    return heap;
}

struct hk_heap *hk_heaps_choose(struct hk_heap **spare) {
    uint32_t count = hk_load_relaxed(&heaps.count); /* relaxed: stored under this lock */
    struct hk_heap *best = NULL;

    for (uint32_t i = 0; i < count; i++) {
        struct hk_heap *heap = heaps.heaps[i];
        if (!heap->sampled && (best == NULL || heap->threads < best->threads))
            best = heap;
    }

    if (*spare == NULL || (best != NULL && best->threads == 0) || heaps_for_threads() >= heaps.max)
        return best;
    return heaps_add(spare);
}

struct hk_heap *hk_heaps_sampled(void) {
    return hk_load_acquire(&heaps.sampled); /* acquire: pairs with the release below */
}

struct hk_heap *hk_heaps_use_sampled(struct hk_heap **spare) {
    if (hk_peek(&heaps.sampled) == NULL && *spare != NULL) {
        (*spare)->sampled = true;
        /* release: publishes the heap. It pairs with the acquire in hk_heaps_sampled. */
        hk_store_release(&heaps.sampled, heaps_add(spare));
    }
    return hk_peek(&heaps.sampled);
}

void hk_heaps_drop_spare(struct hk_heap *spare) {
    if (spare != NULL)
        hk_meta_free(spare, sizeof *spare);
}

uint32_t hk_heaps_count(void) {
    return hk_load_acquire(&heaps.count); /* acquire: pairs with the release in hk_heaps_choose */
}

struct hk_heap *hk_heaps_at(uint32_t number) {
    /* acquire: pairs with the release in hk_heaps_choose */
    return number < hk_load_acquire(&heaps.count) ? heaps.heaps[number] : NULL;
}

void hk_heaps_each(void (*visit)(void *arg, struct hk_heap *heap), void *arg) {
    struct hk_heap *heap;
    for (uint32_t i = 0; (heap = hk_heaps_at(i)) != NULL; i++)
        visit(arg, heap);
}

static void heaps_forget_threads(void *unused, struct hk_heap *heap) {
    (void)unused;
    heap->threads = 0;
}

void hk_heaps_forget_threads(void) { hk_heaps_each(heaps_forget_threads, NULL); }
