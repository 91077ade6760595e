/* profile/samples.c - the recorded samples. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "samples.h"

#include "../base/string.h"
#include "../core/meta.h"

/* With 100,000 stacks, a chain has 12 of them. Most programs have fewer than 1000. */
enum { SAMPLES_CHAINS = 8192 };

struct sample {
    struct hk_stack *stack;  /* const; valid while `number` is the current profile's */
    struct hk_weight weight; /* const */
    uint32_t number;         /* const */
};

static struct {
    struct hk_lock lock;                     /* rank SAMPLES */
    uint32_t number;                         /* lock:SAMPLES; of the profile */
    struct hk_samples_size size;             /* lock:SAMPLES */
    struct hk_stack *chains[SAMPLES_CHAINS]; /* atomic, stored under SAMPLES */
} samples;

/* ---- Stacks ---------------------------------------------------------------------------------- */

static size_t stack_bytes(uint32_t depth) {
    return sizeof(struct hk_stack) + depth * sizeof(uintptr_t);
}

static uint32_t stack_hash(const struct hk_allocation *allocation) {
    uint64_t hash = allocation->depth;
    for (uint32_t i = 0; i < allocation->depth; i++) {
        hash = (hash ^ allocation->frames[i]) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static struct hk_stack *stack_create(const struct hk_allocation *allocation, uint32_t hash) {
    struct hk_stack *stack = hk_meta_alloc(stack_bytes(allocation->depth));
    if (stack == NULL)
        return NULL;
    memset(stack, 0, sizeof *stack);
    stack->hash = hash;
    stack->depth = allocation->depth;
    memcpy(stack->frames, allocation->frames, allocation->depth * sizeof stack->frames[0]);
    return stack;
}

static void stack_destroy(struct hk_stack *stack) {
    hk_meta_free(stack, stack_bytes(stack->depth));
}

static struct hk_stack *stack_find_locked(const struct hk_allocation *allocation, uint32_t hash) {
    struct hk_stack *stack = samples.chains[hash % SAMPLES_CHAINS];
    while (stack != NULL &&
           (stack->hash != hash || stack->depth != allocation->depth ||
            memcmp(stack->frames, allocation->frames, stack->depth * sizeof stack->frames[0]) != 0))
        stack = stack->next;
    return stack;
}

static void stack_insert_locked(struct hk_stack *stack) {
    struct hk_stack **chain = &samples.chains[stack->hash % SAMPLES_CHAINS];
    stack->next = *chain;
    samples.size.stacks++;
    samples.size.frames += stack->depth;
    hk_fence_stores(); /* a forked child finds only complete and counted stacks in the chain */
    hk_store_locked(chain, stack);
}

/* Finds the stack of an allocation, or inserts *fresh and sets it to NULL. */
static struct hk_stack *stack_get_locked(const struct hk_allocation *allocation, uint32_t hash,
                                         struct hk_stack **fresh) {
    struct hk_stack *stack = stack_find_locked(allocation, hash);
    if (stack == NULL && *fresh != NULL) {
        stack = *fresh;
        *fresh = NULL;
        stack_insert_locked(stack);
    }
    return stack;
}

/* ---- Samples --------------------------------------------------------------------------------- */

static void stack_add_locked(struct hk_stack *stack, const struct hk_weight *weight) {
    stack->values[HK_VALUE_ALLOC_OBJECTS] += weight->objects;
    stack->values[HK_VALUE_ALLOC_SPACE] += weight->bytes;
    stack->values[HK_VALUE_INUSE_OBJECTS] += weight->objects;
    stack->values[HK_VALUE_INUSE_SPACE] += weight->bytes;
}

/* Counts a sample in its stack. Returns false if *fresh is needed for a new stack, or if the sample
 * belongs to an earlier profile. */
static bool sample_count(struct sample *sample, const struct hk_allocation *allocation,
                         uint32_t hash, struct hk_stack **fresh) {
    hk_lock(&samples.lock, HK_RANK_SAMPLES);
    if (samples.number == sample->number)
        sample->stack = stack_get_locked(allocation, hash, fresh);
    if (sample->stack != NULL)
        stack_add_locked(sample->stack, &sample->weight);
    hk_unlock(&samples.lock, HK_RANK_SAMPLES);
    return sample->stack != NULL;
}

void hk_samples_add(void **place, const struct hk_allocation *allocation, uint64_t mean) {
    struct sample *sample = hk_meta_alloc(sizeof *sample);
    if (sample == NULL)
        return;

    uint32_t hash = stack_hash(allocation);
    struct hk_stack *fresh = NULL;
    sample->stack = NULL;
    sample->number = allocation->number;
    sample->weight = hk_sampler_weight(allocation->size, mean);

    /* Metadata is allocated without the lock, because it may need a system call. */
    bool counted = sample_count(sample, allocation, hash, &fresh);
    if (!counted && (fresh = stack_create(allocation, hash)) != NULL)
        counted = sample_count(sample, allocation, hash, &fresh);
    if (fresh != NULL)
        stack_destroy(fresh);

    if (counted)
        hk_store_relaxed(place, sample); /* relaxed: no other thread has the block yet */
    else
        hk_meta_free(sample, sizeof *sample);
}

void hk_samples_remove(void **place) {
    /* acquire: pairs with the program's synchronisation when it passed the block to this thread. If
     * two threads free the block, only one of them gets the sample. */
    struct sample *sample = hk_swap_acquire(place, NULL);
    if (sample == NULL)
        return;

    hk_lock(&samples.lock, HK_RANK_SAMPLES);
    if (samples.number == sample->number) {
        sample->stack->values[HK_VALUE_INUSE_OBJECTS] -= sample->weight.objects;
        sample->stack->values[HK_VALUE_INUSE_SPACE] -= sample->weight.bytes;
    }
    hk_unlock(&samples.lock, HK_RANK_SAMPLES);
    hk_meta_free(sample, sizeof *sample);
}

/* ---- All stacks ------------------------------------------------------------------------------ */

/* Detaches the stacks of one chain. */
static struct hk_stack *samples_take_chain(size_t chain) {
    hk_lock(&samples.lock, HK_RANK_SAMPLES);
    struct hk_stack *first = samples.chains[chain];
    hk_store_locked(&samples.chains[chain], NULL);
    for (struct hk_stack *stack = first; stack != NULL; stack = stack->next) {
        samples.size.stacks--;
        samples.size.frames -= stack->depth;
    }
    hk_unlock(&samples.lock, HK_RANK_SAMPLES);
    return first;
}

static void samples_set_number(uint32_t number) {
    hk_lock(&samples.lock, HK_RANK_SAMPLES);
    samples.number = number;
    hk_unlock(&samples.lock, HK_RANK_SAMPLES);
}

/* While the number is 0, no thread follows a sample to its stack, and no stack is added. */
void hk_samples_restart(uint32_t number) {
    samples_set_number(0);
    for (size_t chain = 0; chain < SAMPLES_CHAINS; chain++) {
        struct hk_stack *next;
        struct hk_stack *stack = hk_peek(&samples.chains[chain]) ? samples_take_chain(chain) : NULL;
        for (; stack != NULL; stack = next) {
            next = stack->next;
            stack_destroy(stack);
        }
    }
    samples_set_number(number);
}

struct hk_samples_size hk_samples_size(void) {
    hk_lock(&samples.lock, HK_RANK_SAMPLES);
    struct hk_samples_size size = samples.size;
    hk_unlock(&samples.lock, HK_RANK_SAMPLES);
    return size;
}

bool hk_samples_each(bool (*visit)(void *arg, const struct hk_stack *stack), void *arg) {
    bool wanted = true;
    hk_lock(&samples.lock, HK_RANK_SAMPLES);
    for (size_t chain = 0; chain < SAMPLES_CHAINS && wanted; chain++) {
        for (struct hk_stack *stack = samples.chains[chain]; stack != NULL && wanted;
             stack = stack->next)
            wanted = visit(arg, stack);
    }
    hk_unlock(&samples.lock, HK_RANK_SAMPLES);
    return wanted;
}
