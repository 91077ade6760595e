/* heap/heaps.c - the heaps of the process. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "heaps.h"

#include "../core/meta.h"

static struct {
    uint32_t max;                        /* const after the start of the process */
    uint32_t count;                      /* atomic, stored under THREADS */
    struct hk_heap *heaps[HK_HEAPS_MAX]; /* const once counted */
} heaps = {.max = 1};

void hk_heaps_start(uint32_t max) { heaps.max = max < HK_HEAPS_MAX ? max : HK_HEAPS_MAX; }

struct hk_heap *hk_heaps_spare(uint32_t threads) {
    /* relaxed: a guess. hk_heaps_choose decides under the lock. */
    uint32_t count = hk_load_relaxed(&heaps.count);
    return count < heaps.max && count <= threads ? hk_heap_create() : NULL;
}

struct hk_heap *hk_heaps_choose(struct hk_heap **spare) {
    uint32_t count = hk_load_relaxed(&heaps.count); /* relaxed: stored under this lock */
    struct hk_heap *best = NULL;

    for (uint32_t i = 0; i < count; i++) {
        if (best == NULL || heaps.heaps[i]->threads < best->threads)
            best = heaps.heaps[i];
    }

    if (*spare == NULL || (best != NULL && best->threads == 0) || count == heaps.max)
        return best;

    best = *spare;
    *spare = NULL;
    best->number = count;
    heaps.heaps[count] = best;
    /* release: publishes the heap. It pairs with the acquire in hk_heaps_at. */
    hk_store_release(&heaps.count, count + 1);
    return best;
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
