/* moments.c - allocation before and after main, at thread exit, and as libraries load and unload.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive preload shared
// libs: -ldl
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_PREWARM=all HAKMEM_STATS=1
#include "test.h"

#include <dlfcn.h>

static unsigned char *from_constructor;
static pthread_key_t early_key, late_key;
static unsigned key_destructions;

/* ---- Before main ----------------------------------------------------------------------------- */

/* A key that exists before the library creates its own, so that its destructor runs first
 * or last. */
static void early_key_destroy(void *value) {
    /* Sets the key again until libc gives up. The last rounds run after the library's own
     * destructor. */
    __atomic_fetch_add(&key_destructions, 1, __ATOMIC_RELAXED);
    free(value);
    pthread_setspecific(early_key, memset(malloc(333), 3, 333));
}

static void late_key_destroy(void *value) {
    __atomic_fetch_add(&key_destructions, 1, __ATOMIC_RELAXED);
    value = realloc(value, 70000);
    memset(value, 4, 70000);
    free(value);
}

__attribute__((constructor(101))) static void first_constructor(void) {
    pthread_key_create(&early_key, early_key_destroy);
    from_constructor = malloc(1000);
    test_fill(from_constructor, 1000, 9);
}

TEST(a_block_of_a_constructor_is_kept_and_can_be_freed) {
    CHECK_EQ(test_intact(from_constructor, 1000, 9), 1000);
    from_constructor = realloc(from_constructor, 100000);
    CHECK_EQ(test_intact(from_constructor, 1000, 9), 1000);
    free(from_constructor);
}

/* ---- Thread exit ----------------------------------------------------------------------------- */

static __thread void *of_this_thread;

static void *use_keys(void *arg) {
    of_this_thread = malloc(100);
    pthread_setspecific(early_key, malloc(50));
    pthread_setspecific(late_key, malloc(60));
    free(of_this_thread);
    return arg;
}

TEST(destructors_of_thread_keys_may_allocate_and_free) {
    REQUIRE(pthread_key_create(&late_key, late_key_destroy) == 0);
    for (size_t i = 0; i < 200; i++)
        pthread_join(test_thread(use_keys, NULL), NULL);
    CHECK_GE(key_destructions, 400);
    CHECK_LE(test_rss(), 100 * 1024 * 1024);
}

static void *exit_in_the_middle(void *arg) {
    for (size_t i = 0; i < 100; i++)
        ((void **)arg)[i] = malloc(i * 50);
    pthread_exit(NULL);
}

TEST(blocks_outlive_their_thread) {
    for (size_t round = 0; round < 50; round++) {
        void *blocks[100];
        pthread_join(test_thread(exit_in_the_middle, blocks), NULL);
        for (size_t i = 0; i < 100; i++) {
            memset(blocks[i], 1, i * 50);
            free(blocks[i]);
        }
    }
}

static void *wait_to_be_cancelled(void *arg) {
    void *p = malloc(5000);
    free(p);
    pause();
    return arg;
}

TEST(cancelled_threads_leave_a_sound_heap) {
    for (size_t i = 0; i < 50; i++) {
        pthread_t thread = test_thread(wait_to_be_cancelled, NULL);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
    free(malloc(5000));
}

/* ---- Libraries ------------------------------------------------------------------------------- */

TEST(a_library_that_is_loaded_and_unloaded_shares_the_heap) {
    const char *build = getenv("TEST_BUILD"), *compiler = getenv("TEST_CC"),
               *root = getenv("TEST_ROOT");
    if (!build || !compiler || !root)
        SKIP("run by c/tests/run, which names the compiler");
    char path[4096], command[16384];
    snprintf(path, sizeof path, "%s/tests/libc/plugin.%d.so", build, (int)getpid());
    snprintf(
        command, sizeof command,
        "env -u LD_PRELOAD %s -shared -fPIC -fno-builtin -o %s %s/c/tests/libc/plugin/plugin.c",
        compiler, path, root);
    REQUIRE(system(command) == 0);
    for (size_t i = 0; i < 20; i++) {
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library)
            CHECK_STR(dlerror(), "loaded");
        REQUIRE(library);
        void *(*make)(size_t) = (void *(*)(size_t))dlsym(library, "plugin_make");
        void (*drop)(void *) = (void (*)(void *))dlsym(library, "plugin_drop");
        REQUIRE(make && drop);
        void *from_plugin = make(1000), *from_here = malloc(1000);
        free(from_plugin);
        drop(from_here);
        void *kept = make(100);
        CHECK_EQ(dlclose(library), 0);
        free(kept);
    }
    unlink(path);
}

/* ---- After main ------------------------------------------------------------------------------ */

static void *kept_to_the_end;

static void at_exit(void) {
    free(kept_to_the_end);
    void *p = malloc(100000);
    if (!p)
        _exit(1);
    memset(p, 1, 100000);
    free(p);
}

static void exit_with_handlers(void *arg) {
    (void)arg;
    kept_to_the_end = malloc(300);
    atexit(at_exit);
    exit(0);
}

TEST(exit_handlers_may_allocate_and_free) {
    struct test_child child = test_in_child(exit_with_handlers, NULL);
    CHECK_EXITED(child);
}

static void *allocate_forever(void *arg) {
    for (;;)
        free(malloc(1000));
    return arg;
}

static void exit_under_load(void *arg) {
    (void)arg;
    for (int i = 0; i < 4; i++)
        test_thread(allocate_forever, NULL);
    test_sleep_ms(2);
    atexit(at_exit);
    kept_to_the_end = malloc(300);
    exit(0);
}

TEST(a_process_may_exit_while_its_threads_allocate) {
    for (size_t i = 0; i < 20; i++) {
        struct test_child child = test_in_child(exit_under_load, NULL);
        CHECK_EXITED(child);
    }
}

/* ---- fork ------------------------------------------------------------------------------------ */

static void use_heap_and_thread(void *arg) {
    (void)arg;
    free(malloc(100));
    pthread_join(test_thread(use_keys, NULL), NULL);
    void *p = malloc(10 * 1024 * 1024);
    memset(p, 1, 10 * 1024 * 1024);
    free(p);
}

TEST(a_forked_child_may_allocate_and_make_threads) {
    for (size_t i = 0; i < 20; i++) {
        struct test_child child = test_in_child(use_heap_and_thread, NULL);
        CHECK_EXITED(child);
    }
}
