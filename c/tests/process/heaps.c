/* process/heaps.c - private heaps of threads that end, and of threads that libc allocates for.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
// env: HAKMEM_PURGE_THREAD_MB=1
#include "hakmem.h"
#include "test.h"

enum { BLOCKS = 400, BYTES = 60000 };

static pthread_barrier_t step;

static struct hak_heap_stats stats_of(struct hak_heap *heap) {
    struct hak_heap_stats stats;
    hak_heap_stats(heap, &stats, sizeof stats);
    return stats;
}

static void *wait_twice(void *arg) {
    free(malloc(100));
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return arg;
}

/* The number of threads of this process. */
static int count_threads(void) {
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    close(fd);
    const char *line = n > 0 ? strstr(text, "\nThreads:") : NULL;
    return line ? atoi(line + 9) : 0;
}

TEST(the_background_thread_has_no_memory_in_a_default_heap) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(wait_twice, NULL);
    pthread_barrier_wait(&step);
    CHECK_EQ(count_threads(), 2);

    hak_heap_set_default(heap);
    for (int i = 0; i < BLOCKS; i++)
        memset(hak_malloc(BYTES), 1, BYTES);
    hak_heap_set_default(NULL);
    CHECK_EQ(count_threads(), 3); /* it has started meanwhile */
    CHECK_EQ(stats_of(heap).blocks_live, BLOCKS);

    hak_heap_destroy(heap);
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    CHECK_EQ(hak_validate(), 0);
}

static pthread_key_t key;

static void allocate_late(void *heap) {
    char *block = hak_malloc(100);
    CHECK(hak_heap_of(block) == heap);
    free(hak_heap_malloc(heap, 100));
}

static void *end_with_default(void *heap) {
    pthread_setspecific(key, heap);
    hak_heap_set_default(heap);
    CHECK(hak_malloc(100) != NULL);
    return NULL;
}

TEST(a_thread_that_ends_leaves_its_default_heap_intact) {
    enum { THREADS = 20 };
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    pthread_key_create(&key, allocate_late);
    for (int i = 0; i < THREADS; i++)
        pthread_join(test_thread(end_with_default, heap), NULL);
    CHECK_EQ(stats_of(heap).blocks_live, 2 * THREADS);
    void *block = hak_malloc(100); /* in a cache that was parked */
    CHECK(hak_heap_of(block) == NULL);
    free(block);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
    CHECK_EQ(hak_validate(), 0);
}

static void use_in_child(void *arg) {
    struct hak_heap *heap = arg;
    void *block = hak_malloc(100);
    CHECK(hak_heap_of(block) == heap); /* still the default */
    free(block);
    CHECK(hak_heap_malloc(heap, 1 << 20) != NULL);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_forked_child_has_a_copy_of_each_heap) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    hak_heap_set_default(heap);
    char *block = hak_malloc(100);
    strcpy(block, "parent");
    CHECK_EXITED(test_in_child(use_in_child, heap));
    CHECK_STR(block, "parent");
    hak_heap_set_default(NULL);
    CHECK_EQ(stats_of(heap).blocks_live, 1);
    hak_heap_destroy(heap);
}
