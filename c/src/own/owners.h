/* own/owners.h - threads that may own private heaps.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a token for each thread that owns heaps, and the answer whether the thread of a token
 * still exists. A heap whose owner has ended gets another owner, without a list of the heaps of
 * each thread, and without a system call. Only threads with a cache get one, because their end is
 * noticed, if only by thread/recover. Owns: a table with a place for each token. If it is full,
 * further threads own no heaps.
 * Threads: any, without a lock. Boundary: os/lock, thread/thread, thread/count.
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

/* The place of a thread, on a cache line of its own. A token consists of the serial number of a
 * place and its number in the table. */
struct hk_owner_place {
    uint32_t number;    /* atomic; hk_lock_thread of the thread that has it, or 0 */
    uint32_t serial;    /* atomic; changes when a thread gets or leaves the place */
    const void *inside; /* atomic, stored by the thread; the part that it uses, see own/hold.h */
} HK_CACHE_ALIGNED;

extern struct hk_owner_place hk_owner_places[HK_OWNERS_MAX];

/* The place of a token. Tokens of no thread have places that are never used. */
HK_FAST struct hk_owner_place *hk_owner_place(uint32_t token) {
    return &hk_owner_places[token % HK_OWNERS_MAX];
}

/* The token of the calling thread, or HK_OWNER_NEW or HK_OWNER_NEVER. */
extern HK_THREAD_LOCAL uint32_t hk_owner_self;

/* The same, or HK_OWNER_NEVER in a thread that counts its bytes, for the fast path. */
extern HK_THREAD_LOCAL uint32_t hk_owner_fast;

/* Called when the calling thread starts or stops to count its bytes. */
void hk_owner_note_count(void);

/* The token of the calling thread, created at the first call, or HK_OWNER_NEVER. */
uint32_t hk_owner_get(void);

/* Whether the thread of a token exists. */
bool hk_owner_exists(uint32_t token);

/* Called when the calling thread ends. It owns no heap from then on. */
void hk_owner_end(void);

/* The same for a thread that ended without that, by its hk_lock_thread. */
void hk_owner_end_of(uint32_t number);

#endif
