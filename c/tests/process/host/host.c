/* host.c - a program for plugins.sh that opens and closes the plugin: host PLUGIN CASE.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "../process.h"

#include <dlfcn.h>

static const char *path;
static void (*work)(size_t mib, size_t bytes);

static void *load(int flags) {
    void *library = dlopen(path, flags);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    void *found = dlsym(library, "plugin_work");
    memcpy(&work, &found, sizeof found);
    return library;
}

static pthread_barrier_t step;

static void *use_and_wait(void *arg) {
    work(2, 1000);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return arg;
}

static void *use(void *arg) {
    work(1, 300);
    return arg;
}

TEST(flat) {
    enum { ROUNDS = 1000, SETTLED = 100 };
    size_t before = 0;
    for (int i = 0; i < ROUNDS; i++) {
        void *library = load(RTLD_NOW);
        work(1, 1000);
        pthread_join(test_thread(use, NULL), NULL);
        CHECK_EQ(dlclose(library), 0);
        if (i == SETTLED)
            before = test_rss();
    }
    CHECK_LE(test_rss(), before + 1 * MIB);
    CHECK_EQ(tasks(), 1);
}

TEST(thread_ends_later) {
    pthread_barrier_init(&step, NULL, 2);
    for (int i = 0; i < 10; i++) {
        void *library = load(RTLD_NOW);
        pthread_t thread = test_thread(use_and_wait, NULL);
        pthread_barrier_wait(&step);
        CHECK_EQ(dlclose(library), 0);
        pthread_barrier_wait(&step);
        pthread_join(thread, NULL);
    }
}

TEST(scavenger_is_there) {
    pthread_barrier_init(&step, NULL, 2);
    void *library = load(RTLD_NOW);
    pthread_t thread = test_thread(use_and_wait, NULL);
    pthread_barrier_wait(&step);
    work(64, 1000);
    CHECK(BECOMES(scavengers() == 1, 1000));
    CHECK_EQ(dlclose(library), 0);
    test_sleep_ms(100);
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    CHECK(BECOMES(tasks() == 1, 500));
}

TEST(another_namespace) {
    void *library = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
    if (!library)
        SKIP("dlmopen is refused");
    void *found = dlsym(library, "plugin_work");
    memcpy(&work, &found, sizeof found);
    work(20, 1000);
    CHECK_EQ(dlclose(library), 0);
    library = load(RTLD_NOW);
    work(20, 1000);
    CHECK_EQ(dlclose(library), 0);
}

static void load_in_child(void *unused) {
    (void)unused;
    pthread_barrier_init(&step, NULL, 2);
    void *library = load(RTLD_NOW);
    pthread_t thread = test_thread(use_and_wait, NULL);
    pthread_barrier_wait(&step);
    CHECK_EQ(dlclose(library), 0);
    pid_t child = fork();
    if (child == 0) {
        library = load(RTLD_NOW);
        work(20, 1000);
        pthread_join(test_thread(use, NULL), NULL);
        dlclose(library);
        exit(0);
    }
    CHECK(ended_well(child));
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
}

TEST(child) {
    CHECK_EXITED(in_child(load_in_child, NULL));
    CHECK_EXITED(in_child(load_in_child, NULL));
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    path = argv[1];
    test_state.runner = pthread_self();
    for (struct test_case *test = test_state.first; test; test = test->next) {
        if (strcmp(test->name, argv[2]) != 0)
            continue;
        if (setjmp(test_state.end) == 0)
            test->run();
        if (test_state.skip)
            test_print("%s\n", test_state.skip);
        return test_state.failures != 0;
    }
    return 2;
}
