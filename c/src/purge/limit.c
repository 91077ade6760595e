/* purge/limit.c - a callback for usage that comes close to a limit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "limit.h"

#include <errno.h>
#include <pthread.h>

#include "../core/options.h"
#include "../os/lock.h"
#include "../os/os.h"
#include "decay.h"
#include "tunables.h"

/* Usage in per cent of the limit that is a level. Level 0 is below all of them. */
static const uint32_t limit_levels[] = {0, 80, 90, 100};
enum { LIMIT_TOP = sizeof limit_levels / sizeof limit_levels[0] - 1 };

static struct {
    struct hk_lock lock;         /* rank LIMIT */
    hk_limit_callback *callback; /* atomic, stored under LIMIT; NULL for none */
    void *arg;                   /* lock:LIMIT */
    uint32_t level;              /* atomic, stored under LIMIT; index of the level reached */
    struct hk_os_memory group;   /* lock:LIMIT; of the cgroup, as last read */
    uint64_t read_ms;            /* atomic; time of the next read */
    uint32_t caller;             /* atomic; number of the thread in the callback, or 0 */
} limit;

uint64_t hk_limit_next = UINT64_MAX;

/* ---- Usage and limits ------------------------------------------------------------------------ */

static uint64_t limit_without_free(uint64_t bytes) {
    uint64_t free = hk_decay_dirty_bytes();
    return bytes > free ? bytes - free : 0;
}

/* The lower one of the two options, or 0. */
static uint64_t limit_of_options(void) {
    uint64_t soft = hk_option(HK_OPTION_limit_soft);
    uint64_t hard = hk_option(HK_OPTION_limit_hard);
    return soft == 0 || (hard != 0 && hard < soft) ? hard : soft;
}

static struct hak_limit limit_state(enum hak_limit_kind kind, uint64_t used, uint64_t bytes) {
    struct hak_limit state = {.used = used, .limit = bytes, .kind = HAK_LIMIT_NONE};
    if (bytes == 0)
        return state;

    state.percent = (unsigned)(used * 100 / bytes);
    state.kind = kind;
    return state;
}

/* The limit that is closest to being reached. */
static struct hak_limit limit_closest(const struct hk_os_memory *group) {
    struct hak_limit options =
        limit_state(HAK_LIMIT_OPTION, limit_without_free(hk_usage_bytes()), limit_of_options());
    struct hak_limit cgroup =
        limit_state(HAK_LIMIT_CGROUP, limit_without_free(group->used), group->limit);
    return cgroup.kind != HAK_LIMIT_NONE &&
                   (options.kind == HAK_LIMIT_NONE || cgroup.percent > options.percent)
               ? cgroup
               : options;
}

/* ---- Levels ---------------------------------------------------------------------------------- */

/* The level of a usage, after a level. It falls only some per cent below that level. */
static uint32_t limit_next_level(uint32_t level, uint32_t percent) {
    uint32_t reached = 0, kept = 0;
    for (uint32_t i = 1; i <= LIMIT_TOP; i++) {
        if (percent >= limit_levels[i])
            reached = i;
        if (percent + LIMIT_HYSTERESIS >= limit_levels[i])
            kept = i;
    }
    return reached > level ? reached : kept < level ? kept : level;
}

/* Stores a level, and the usage that an allocation compares itself with: that of the next level, or
 * 0 if it has been reached. */
static void limit_store_locked(uint32_t level, uint32_t percent) {
    uint64_t next = UINT64_MAX, bytes = limit_of_options();
    if (limit.callback != NULL && level < LIMIT_TOP) {
        if (percent >= limit_levels[level + 1])
            next = 0;
        else if (bytes != 0)
            next = bytes / 100 * limit_levels[level + 1];
    }

    hk_store_locked(&limit.level, level);
    hk_store_locked(&hk_limit_next, next);
}

/* Lets the level fall. Only an allocation lets it rise. */
static void limit_settle_locked(void) {
    uint32_t percent = limit_closest(&limit.group).percent;
    uint32_t level = limit_next_level(limit.level, percent);
    limit_store_locked(level < limit.level ? level : limit.level, percent);
}

/* A call of the callback that is to be made without the lock. */
struct limit_call {
    hk_limit_callback *callback; /* NULL if there is none to be made */
    void *arg;
    struct hak_limit state;
};

static struct limit_call limit_update_locked(uint32_t least_percent) {
    struct limit_call call = {NULL, limit.arg, limit_closest(&limit.group)};
    if (call.state.percent < least_percent)
        call.state.percent = least_percent;

    uint32_t before = limit.level;
    uint32_t level = limit_next_level(before, call.state.percent);
    limit_store_locked(level, call.state.percent);
    call.state.level = limit_levels[level];
    if (level > before)
        call.callback = limit.callback;
    return call;
}

/* ---- The callback ---------------------------------------------------------------------------- */

/* Lets one thread at a time go on. The thread that called the callback may have vanished. */
static bool limit_enter(void) {
    uint32_t caller = hk_load_relaxed(&limit.caller); /* relaxed: the lock orders the rest */
    if (caller != 0 && !hk_lock_thread_vanished(caller))
        return false;
    return hk_cas_relaxed(&limit.caller, &caller, hk_lock_self()); /* relaxed: as above */
}

static void limit_leave(void) { hk_store_relaxed(&limit.caller, 0); /* relaxed: as above */ }

/* A cancellation in the callback would leave the allocation in the middle. */
static void limit_run(const struct limit_call *call) {
    int saved_errno = errno, saved;
    bool held = pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &saved) == 0;
    call->callback(call->arg, &call->state);
    if (held)
        pthread_setcancelstate(saved, NULL);
    errno = saved_errno;
}

/* Calls the callback if usage has reached another level, except in a child of vfork. */
static bool limit_check(uint32_t least_percent) {
    if (hk_peek(&limit.callback) == NULL || !limit_enter())
        return false;

    hk_lock(&limit.lock, HK_RANK_LIMIT);
    struct limit_call call = limit_update_locked(least_percent);
    hk_unlock(&limit.lock, HK_RANK_LIMIT);

    bool calls = call.callback != NULL && hk_os_thread_id() != 0;
    if (calls)
        limit_run(&call);
    limit_leave();
    return calls;
}

void hk_limit_check(void) { limit_check(0); }

bool hk_limit_refused(size_t bytes) {
    uint64_t hard = hk_option(HK_OPTION_limit_hard);
    if (bytes >= hard || hk_usage_bytes() + bytes + RETRY_BYTES <= hard)
        return false;
    return limit_check(limit_levels[LIMIT_TOP]);
}

/* A child that is forked in the middle finds no callback, or one with its argument. */
void hk_limit_set(hk_limit_callback *callback, void *arg) {
    hk_lock(&limit.lock, HK_RANK_LIMIT);
    hk_store_locked(&limit.callback, NULL);
    hk_fence_stores();
    limit.arg = arg;
    hk_fence_stores();
    hk_store_locked(&limit.callback, callback);
    hk_store_locked(&limit.level, 0);
    hk_store_locked(&hk_limit_next, callback != NULL ? 0 : UINT64_MAX);
    hk_store_relaxed(&limit.read_ms, 0); /* relaxed: a time */
    hk_unlock(&limit.lock, HK_RANK_LIMIT);
}

/* ---- Observation ----------------------------------------------------------------------------- */

/* The use of the cgroup. A sandbox may forbid to read it. */
static struct hk_os_memory limit_read_group(void) {
    struct hk_os_memory none = {0, 0};
    return hk_os_is_sandboxed() ? none : hk_os_memory_use();
}

struct hak_limit hk_limit_get(void) {
    struct hk_os_memory group = limit_read_group();
    struct hak_limit state = limit_closest(&group);
    state.level = limit_levels[limit_next_level(hk_peek(&limit.level), state.percent)];
    return state;
}

/* Reads the use of the cgroup, and returns true if it was time for that. */
static bool limit_read(struct hk_os_memory *group) {
    uint64_t now = hk_os_now_ms();
    if (now < hk_load_relaxed(&limit.read_ms)) /* relaxed: a time */
        return false;
    hk_store_relaxed(&limit.read_ms, now + LIMIT_READ_MS); /* relaxed: as above */
    *group = limit_read_group();
    return true;
}

void hk_limit_tick(void) {
    struct hk_os_memory group;
    if (hk_likely(hk_peek(&limit.callback) == NULL))
        return;

    bool read = limit_read(&group);
    hk_lock(&limit.lock, HK_RANK_LIMIT);
    if (read)
        limit.group = group;
    limit_settle_locked();
    hk_unlock(&limit.lock, HK_RANK_LIMIT);
}
