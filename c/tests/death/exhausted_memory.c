/* exhausted_memory.c - exhausted address space gives NULL and ENOMEM, and loses no memory.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// timeout: 120
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_PREWARM=all
#include "hakmem.h"
#include "test.h"

enum { MIB = 1024 * 1024, ROOM = 96 * MIB };

/* Limits the process to `room` more bytes of mappings. */
static void limit_address_space(size_t room) {
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = test_statm(0) + room;
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

struct node {
    struct node *next;
    size_t bytes;
};

/* Allocates blocks of `bytes` until memory is exhausted. Each block stores its size and
 * a pattern. */
static struct node *allocate_all(size_t bytes, size_t *count) {
    struct node *list = NULL;
    *count = 0;
    for (;;) {
        errno = 0;
        struct node *node = malloc(bytes);
        if (!node) {
            CHECK_EQ(errno, ENOMEM);
            return list;
        }
        test_fill(node + 1, bytes - sizeof *node < 512 ? bytes - sizeof *node : 512, bytes);
        node->next = list;
        node->bytes = bytes;
        list = node;
        ++*count;
        if (*count > ROOM / bytes * 2) {
            CHECK(!"the limit was reached");
            return list;
        }
    }
}

static void free_all(struct node *list) {
    while (list) {
        struct node *next = list->next;
        size_t checked = list->bytes - sizeof *list < 512 ? list->bytes - sizeof *list : 512;
        CHECK_EQ(test_intact(list + 1, checked, list->bytes), checked);
        free(list);
        list = next;
    }
}

static void exhaust_by(void *arg) {
    size_t bytes = *(size_t *)arg, count, again;
    limit_address_space(ROOM);
    struct node *list = allocate_all(bytes, &count);
    CHECK_GE(count * bytes, ROOM / 2);
    CHECK_EQ(hak_validate(), 0);
    CHECK(!realloc(list, ROOM * 2));
    CHECK(!calloc(2, ROOM));
    void *out = &out;
    CHECK_EQ(posix_memalign(&out, 4096, ROOM * 2), ENOMEM);
    CHECK_EQ(out, &out);
    free_all(list);
    CHECK_EQ(hak_validate(), 0);
    list = allocate_all(bytes, &again);
    CHECK_GE(again, count / 10 * 9);
    free_all(list);
}

TEST(by_blocks_of_one_size) {
    static const size_t sizes[] = {32, 1000, 5000, 20000, 100000, 300000, 3 * MIB, 20 * MIB};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        size_t bytes = sizes[i];
        AT("bytes", bytes);
        struct test_child child = test_in_child(exhaust_by, &bytes);
        CHECK_EXITED(child);
    }
}

/* Memory freed in one size can be reused for another. */
static void exhaust_by_turns(void *arg) {
    (void)arg;
    limit_address_space(ROOM);
    static const size_t sizes[] = {64, 5 * MIB, 4000, 200000, 48, 700000};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        size_t count;
        AT("bytes", sizes[i]);
        struct node *list = allocate_all(sizes[i], &count);
        CHECK_GE(count * sizes[i], ROOM / 3);
        free_all(list);
    }
    CHECK_EQ(hak_validate(), 0);
}

TEST(by_one_size_after_the_other) {
    struct test_child child = test_in_child(exhaust_by_turns, NULL);
    CHECK_EXITED(child);
}

static void grow_to_the_end(void *arg) {
    (void)arg;
    limit_address_space(ROOM);
    size_t size = 1000;
    unsigned char *p = malloc(size);
    for (;;) {
        test_fill(p, 1000, 1);
        unsigned char *grown = realloc(p, size * 2);
        if (!grown)
            break;
        p = grown;
        size *= 2;
        CHECK_EQ(test_intact(p, 1000, 1), 1000);
        CHECK_LE(size, (size_t)2 * ROOM);
    }
    CHECK_EQ(test_intact(p, 1000, 1), 1000);
    CHECK_GE(size, ROOM / 4);
    p = realloc(p, 10);
    CHECK(p);
    CHECK_EQ(test_intact(p, 10, 1), 10);
    free(p);
    CHECK_EQ(hak_validate(), 0);
}

TEST(by_realloc) {
    struct test_child child = test_in_child(grow_to_the_end, NULL);
    CHECK_EXITED(child);
}

static pthread_barrier_t barrier;

static void *exhaust_in_thread(void *arg) {
    pthread_barrier_wait(&barrier);
    for (int round = 0; round < 3; round++) {
        size_t count;
        free_all(allocate_all((size_t)(uintptr_t)arg, &count));
    }
    return NULL;
}

static void exhaust_in_threads(void *arg) {
    (void)arg;
    pthread_t threads[4];
    pthread_barrier_init(&barrier, NULL, TEST_COUNT(threads) + 1);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(exhaust_in_thread, (void *)(uintptr_t)(100 + 3000 * i));
    limit_address_space(ROOM);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(hak_validate(), 0);
    size_t count;
    struct node *list = allocate_all(1000, &count);
    CHECK_GE(count * 1000, ROOM / 3);
    free_all(list);
}

TEST(in_several_threads_at_once) {
    struct test_child child = test_in_child(exhaust_in_threads, NULL);
    CHECK_EXITED(child);
}

/* A thread works without a cache if its cache cannot be created. */
static void *allocate_in_new_thread(void *arg) {
    void *p = malloc(100);
    *(int *)arg = p != NULL || errno == ENOMEM;
    free(p);
    return NULL;
}

static void start_thread_when_exhausted(void *arg) {
    (void)arg;
    size_t count;
    int answered = 0;
    pthread_barrier_init(&barrier, NULL, 1);
    limit_address_space(ROOM);
    struct node *list = allocate_all(64, &count);
    pthread_t thread;
    /* libc itself may fail to allocate a stack. */
    if (pthread_create(&thread, NULL, allocate_in_new_thread, &answered) == 0) {
        pthread_join(thread, NULL);
        CHECK(answered);
    }
    free_all(list);
    hak_trim(); /* the stack of a thread needs address space */
    pthread_join(test_thread(allocate_in_new_thread, &answered), NULL);
    CHECK(answered);
}

TEST(before_a_thread_starts) {
    struct test_child child = test_in_child(start_thread_when_exhausted, NULL);
    CHECK_EXITED(child);
}
