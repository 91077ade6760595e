/* api/own.c - allocation from private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "own.h"

#include <errno.h>

#include "../core/error.h"
#include "../purge/retry.h"
#include "count.h"
#include "limit.h"

static struct hk_block own_take_any(const struct hk_own_request *request,
                                    struct hk_own_failure *failure) {
    if (request->class == HK_CLASS_NONE)
        return hk_own_take_large(&request->ref, request->size, request->align, failure);
    size_t class = hk_own_by_class[request->class];
    return request->once ? hk_own_take_once(&request->ref, class, failure)
                         : hk_own_take(request->ref.heap, class, failure);
}

/* The calling thread is in the callback of a limit, which is not called again from there. */
static HK_THREAD_LOCAL bool own_at_limit;

/* Asks the program what to do at the limit. Returns true if the allocation is worth another
 * attempt. */
static bool own_ask_program(const struct hk_own_request *request,
                            const struct hk_own_failure *failure) {
    if (failure->on_limit == NULL || own_at_limit)
        return false;
    own_at_limit = true;
    bool again = failure->on_limit(failure->on_limit_arg, request->ref.heap, request->size) != 0;
    own_at_limit = false;
    return again;
}

/* Handles an allocation at the limit. Free blocks in the caches of other threads count, so they go
 * first. */
static struct hk_block own_take_at_limit(const struct hk_own_request *request,
                                         struct hk_own_failure *failure) {
    struct hk_block block = {NULL, false};
    if (hk_own_flush_shared(&request->ref))
        block = own_take_any(request, failure);
    if (block.start == NULL && failure->fault == HK_OWN_AT_LIMIT &&
        own_ask_program(request, failure))
        block = own_take_any(request, failure);
    return block;
}

/* Handles an allocation that found no memory, in the same way as one of malloc. */
static struct hk_block own_take_purged(const struct hk_own_request *request,
                                       struct hk_own_failure *failure) {
    struct hk_block block = {NULL, false};
    if (hk_purge_for(request->size))
        block = own_take_any(request, failure);
    if (block.start == NULL && hk_limit_call_refused(request->size)) {
        hk_purge_for(request->size);
        block = own_take_any(request, failure);
    }

    if (block.start != NULL)
        hk_purge_helped();
    return block;
}

/* Handles an allocation that failed, but not because its heap has ended. */
static HK_SLOW struct hk_block own_take_again(const struct hk_own_request *request,
                                              struct hk_own_failure *failure) {
    struct hk_block block = {NULL, false};
    if (failure->fault == HK_OWN_AT_LIMIT)
        block = own_take_at_limit(request, failure);
    if (block.start == NULL && failure->fault == HK_OWN_NO_MEMORY)
        block = own_take_purged(request, failure);
    if (block.start == NULL && failure->fault == HK_OWN_AT_LIMIT)
        hk_own_note_refused(&request->ref);
    if (block.start == NULL)
        errno = ENOMEM;
    return block;
}

struct hk_block hk_own_request(const struct hk_own_request *request, bool *gone) {
    struct hk_own_failure failure;
    struct hk_block block = own_take_any(request, &failure);
    if (hk_unlikely(block.start == NULL) && failure.fault != HK_OWN_GONE)
        block = own_take_again(request, &failure);
    *gone = block.start == NULL && failure.fault == HK_OWN_GONE;

    hk_count_block(block.start);
    hk_limit_note();
    return block;
}

struct hk_block hk_own_alloc(struct hak_heap *heap, size_t class, size_t size, size_t align) {
    if (hk_likely(hk_own_is_heap(heap))) {
        struct hk_own_request request = {{heap, hk_own_id(heap)}, false, class, size, align};
        bool gone;
        struct hk_block block = hk_own_request(&request, &gone);
        if (hk_likely(!gone))
            return block;
    }

    hk_bad_pointer("hak_heap_malloc", heap, HK_CAUSE_NO_HEAP);
    errno = EINVAL;
    return (struct hk_block){NULL, false};
}
