/* wrapped_threads.c - a tool that wraps the functions for threads and allocates under its own lock.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive preload
// flags: -rdynamic
// libs: -ldl
// variant: HAKMEM_BACKGROUND=always
#include "process.h"

#include <dlfcn.h>

static pthread_mutex_t tool_lock = PTHREAD_MUTEX_INITIALIZER; /* not recursive */
static int wrapping;
static unsigned calls; /* lock:tool_lock */

static void *next_function(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        _exit(1);
    return found;
}

/* Allocates much memory under the lock, so that a scavenger may be started here. */
static void note_call(void) {
    if (!__atomic_load_n(&wrapping, __ATOMIC_RELAXED))
        return;
    pthread_mutex_lock(&tool_lock);
    calls++;
    struct load load = load_make(2 * MIB, 1500);
    load_free(load);
    pthread_mutex_unlock(&tool_lock);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *found = next_function("pthread_create");
    memcpy(&real, &found, sizeof found);
    note_call();
    return real(thread, attr, run, arg);
}

int pthread_attr_init(pthread_attr_t *attr) {
    int (*real)(pthread_attr_t *);
    void *found = next_function("pthread_attr_init");
    memcpy(&real, &found, sizeof found);
    note_call();
    return real(attr);
}

int pthread_attr_setstacksize(pthread_attr_t *attr, size_t bytes) {
    int (*real)(pthread_attr_t *, size_t);
    void *found = next_function("pthread_attr_setstacksize");
    memcpy(&real, &found, sizeof found);
    note_call();
    return real(attr, bytes);
}

int pthread_attr_setdetachstate(pthread_attr_t *attr, int state) {
    int (*real)(pthread_attr_t *, int);
    void *found = next_function("pthread_attr_setdetachstate");
    memcpy(&real, &found, sizeof found);
    note_call();
    return real(attr, state);
}

int pthread_attr_destroy(pthread_attr_t *attr) {
    int (*real)(pthread_attr_t *);
    void *found = next_function("pthread_attr_destroy");
    memcpy(&real, &found, sizeof found);
    note_call();
    return real(attr);
}

static void *touch_heap(void *arg) {
    load_free(load_make(1 * MIB, 1000));
    return arg;
}

static void use_tool(void *unused) {
    (void)unused;
    alarm(10);
    wrapping = 1;
    start_sleeper();
    struct load load = load_make(40 * MIB, 1000);
    for (int i = 0; i < 20; i++) {
        pthread_attr_t attr;
        pthread_t thread;
        REQUIRE(pthread_attr_init(&attr) == 0);
        pthread_attr_setstacksize(&attr, 256 << 10);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_JOINABLE);
        REQUIRE(pthread_create(&thread, &attr, touch_heap, NULL) == 0);
        pthread_attr_destroy(&attr);
        pthread_join(thread, NULL);
    }
    CHECK(BECOMES(scavengers() == 1, 1000));
    CHECK_EQ(calls, 1 + 20 * 5); /* none of them for the scavenger */
    load_free(load);
    stop_hands();
}

TEST(malloc_calls_no_wrapper_of_the_functions_for_threads) {
    CHECK_EXITED(in_child(use_tool, NULL));
}

/* A thread is created under the tool's lock while its wrapper allocates. */
static void *create_and_join(void *arg) {
    for (int i = 0; i < 30; i++)
        pthread_join(test_thread(touch_heap, NULL), NULL);
    return arg;
}

static void use_tool_in_threads(void *unused) {
    (void)unused;
    alarm(10);
    wrapping = 1;
    struct load load = load_make(40 * MIB, 1000);
    for (int i = 0; i < 3; i++)
        start_hand(create_and_join, NULL);
    stop_hands();
    load_free(load);
}

TEST(threads_of_a_tool_that_allocates_under_its_lock_come_and_go) {
    CHECK_EXITED(in_child(use_tool_in_threads, NULL));
}
