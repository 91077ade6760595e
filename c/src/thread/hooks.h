/* thread/hooks.h - thread events for the layers above.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the only way up from this layer. The functions are constants that api/hooks.c
 * defines, so that a compiler that sees all of hakmem calls them directly.
 * Owns: nothing. Threads: the thread of the event, except for `gone`, no lock held.
 * Boundary: none.
 */
#ifndef HK_THREAD_HOOKS_H
#define HK_THREAD_HOOKS_H

#include "tcache.h"

enum hk_freed { HK_FREED_SMALL, HK_FREED_LARGE };

struct hk_thread_hooks {
    void (*process_started)(void);                     /* once, before any other */
    void (*allocated)(const struct hk_thread *thread); /* a slow call of an allocation */
    void (*freed)(enum hk_freed kind);                 /* a slow call of a free reached a heap */
    void (*clock)(uint64_t now_ms);                    /* now and then in slow calls */
    void (*ended)(void);                               /* a thread has given up its cache */
    void (*gone)(uint32_t number);                     /* a thread ended without that, in another */
};

extern const struct hk_thread_hooks hk_thread_hooks;

#endif
