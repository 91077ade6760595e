/* heap/heaps.c - the heaps of the process. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "heaps.h"

#include "../core/meta.h"

static struct {
    uint32_t max;                        /* const after the start of the process */
    uint32_t count;                      /* atomic, stored under THREADS */
    struct hk_heap *heaps[HK_HEAPS_MAX]; /* const once counted */
    struct hk_heap *sampled;             /* atomic, stored under THREADS; one of them, or NULL */
} heaps = {.max = 1};

/* Two CPUs share a heap, because each class has a lock of its own, and most batches move between a
 * thread and a transfer cache. With a heap for each of two CPUs no benchmark was faster, and the
 * partly used slabs of both took up to 40 % more memory. */
enum { HEAPS_CPUS = 2 };

static uint32_t heaps_for_cpus(uint32_t cpus) {
    return (uint32_t)hk_min((cpus + HEAPS_CPUS - 1) / HEAPS_CPUS, HK_HEAPS_FOR_CPUS);
}

void hk_heaps_start(uint32_t max, uint32_t cpus) {
    heaps.max = max == 0 ? heaps_for_cpus(cpus) : (uint32_t)hk_min(max, HK_HEAPS_FOR_CPUS);
}

/* The number of heaps for threads. Exact under the THREADS lock. */
static uint32_t heaps_for_threads(void) {
    return hk_peek(&heaps.count) - (hk_peek(&heaps.sampled) != NULL);
}

/* The number of heaps for threads on a node. */
static uint32_t heaps_on_node(uint32_t node) {
    if (hk_likely(hk_nodes() == NULL))
        return heaps_for_threads();

    uint32_t count = 0;
    struct hk_heap *heap;
    for (uint32_t i = 0; (heap = hk_heaps_at(i)) != NULL; i++)
        count += !heap->sampled && hk_heap_node(heap) == node;
    return count;
}

/* The maximum number of heaps on a node: that for its CPUs, or its part of all heaps if the option
 * `heaps` allows more, or if there are more CPUs than heaps. */
static uint32_t heaps_max_on_node(uint32_t node) {
    const struct hk_nodes *nodes = hk_nodes();
    if (hk_likely(nodes == NULL))
        return heaps.max;

    uint32_t all = (uint32_t)hk_max(heaps.max, heaps_for_cpus(nodes->all_cpus));
    return (nodes->cpus[node] * all + nodes->all_cpus - 1) / nodes->all_cpus;
}

/* Whether a node may have another heap. Exact under the THREADS lock. */
static bool heaps_may_add(uint32_t node) {
    uint32_t count = heaps_on_node(node);
    return count == 0 || (heaps_for_threads() < heaps.max && count < heaps_max_on_node(node));
}

/* Adds *spare to the table and sets it to NULL. Under the THREADS lock. */
static struct hk_heap *heaps_add(struct hk_heap **spare, uint32_t cpu) {
    uint32_t count = hk_load_relaxed(&heaps.count); /* relaxed: stored under this lock */
    struct hk_heap *heap = *spare;
    *spare = NULL;
    heap->number = count;
    heap->cpu = cpu;
    heaps.heaps[count] = heap;
    /* release: publishes the heap. It pairs with the acquire in hk_heaps_at. */
    hk_store_release(&heaps.count, count + 1);
    return heap;
}

/* Whether a thread on `node` should use `heap` rather than `other`, which may be NULL. */
static bool heaps_is_better(const struct hk_heap *heap, const struct hk_heap *other,
                            uint32_t node) {
    if (other == NULL)
        return true;
    bool is_local = hk_heap_node(heap) == node;
    bool other_is_local = hk_heap_node(other) == node;
    return is_local == other_is_local ? heap->threads < other->threads : is_local;
}

/* The heap with the fewest threads, of those on `node` if there are any. Under the THREADS lock. */
static struct hk_heap *heaps_best(uint32_t node) {
    uint32_t count = hk_load_relaxed(&heaps.count); /* relaxed: stored under this lock */
    struct hk_heap *best = NULL;

    for (uint32_t i = 0; i < count; i++) {
        struct hk_heap *heap = heaps.heaps[i];
        if (!heap->sampled && heaps_is_better(heap, best, node))
            best = heap;
    }
    return best;
}

/* Whether a thread on `node` should get a new heap rather than `best`. Under the THREADS lock. */
static bool heaps_want(const struct hk_heap *best, uint32_t node) {
    bool is_idle = best != NULL && best->threads == 0 && hk_heap_node(best) == node;
    return !is_idle && heaps_may_add(node);
}

bool hk_heaps_need_spare(uint32_t cpu) {
    uint32_t node = hk_nodes_of(cpu);
    return heaps_want(heaps_best(node), node);
}

struct hk_heap *hk_heaps_choose(struct hk_heap **spare, uint32_t cpu) {
    uint32_t node = hk_nodes_of(cpu);
    struct hk_heap *best = heaps_best(node);
    return *spare != NULL && heaps_want(best, node) ? heaps_add(spare, cpu) : best;
}

struct hk_heap *hk_heaps_sampled(void) {
    return hk_load_acquire(&heaps.sampled); /* acquire: pairs with the release below */
}

struct hk_heap *hk_heaps_use_sampled(struct hk_heap **spare) {
    if (hk_peek(&heaps.sampled) == NULL && *spare != NULL) {
        (*spare)->sampled = true;
        /* release: publishes the heap. It pairs with the acquire in hk_heaps_sampled. */
        hk_store_release(&heaps.sampled, heaps_add(spare, 0));
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
