/* own/owners.h - threads that may own private heaps.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a token for each thread that owns heaps, and the answer whether the thread of a token
 * still exists. A heap whose owner has ended gets another owner, without a list of the heaps of
 * each thread, and without a system call. Only threads with a cache get one, because their end is
 * noticed. Owns: a table with a place for each token. If it is full, further threads own no heaps.
 * Threads: any, without a lock. Boundary: os/lock, thread/thread.
 */
#ifndef HK_OWN_OWNERS_H
#define HK_OWN_OWNERS_H

#include "../base/compiler.h"

enum {
    HK_OWNER_NOBODY, /* of a heap without an owner */
    HK_OWNER_NEW,    /* of a thread that has not asked for a token yet */
    HK_OWNER_NEVER,  /* of a thread that has ended or has no cache */
    HK_OWNER_FIRST,  /* the first place of the table, because the others are no tokens */
    HK_OWNERS_MAX = 1024,
};

/* The token of the calling thread, or one of the last two. */
extern HK_THREAD_LOCAL uint32_t hk_owner_self;

/* The token of the calling thread, created at the first call, or HK_OWNER_NEVER. */
uint32_t hk_owner_get(void);

/* Whether the thread of a token exists. */
bool hk_owner_exists(uint32_t token);

/* Called when the calling thread ends. It owns no heap from then on. */
void hk_owner_end(void);

#endif
