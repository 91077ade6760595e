/* own/default.c - the default heap of a thread. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "default.h"

#include "../thread/watch.h"

HK_THREAD_LOCAL struct hk_own_default hk_own_default;

struct hak_heap *hk_own_get_default(void) {
    struct hak_heap *heap = hk_own_default.heap;
    if (hk_likely(heap == NULL || hk_own_id(heap) == hk_own_default.id))
        return heap;
    hk_own_set_default(NULL);
    return NULL;
}

struct hak_heap *hk_own_set_default(struct hak_heap *heap) {
    struct hk_own_default former = hk_own_default;
    hk_own_default = (struct hk_own_default){heap, heap != NULL ? hk_own_id(heap) : 0};
    if (heap != NULL)
        hk_watch_own_start(HK_WATCH_HEAP);
    else
        hk_watch_own_stop(HK_WATCH_HEAP);
    return former.heap != NULL && hk_own_id(former.heap) == former.id ? former.heap : NULL;
}

void hk_own_resume_default(struct hk_own_default suspended) {
    if (suspended.heap == NULL)
        return;
    hk_own_default = suspended;
    hk_watch_own_start(HK_WATCH_HEAP);
}
