/* producers.c - some threads only allocate, others only free.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// variant: HAKMEM_HEAPS=1
// variant: HAKMEM_CHECKS=1
#include "hakmem.h"
#include "test.h"

#include <sched.h>

enum { PRODUCERS = 3, ITEMS = 60000, QUEUE = 4096 };

/* One producer per queue, and one consumer that serves all queues in turn. */
struct queue {
    void *items[QUEUE];
};

static struct queue queues[PRODUCERS];

static void *produce(void *arg) {
    struct queue *queue = arg;
    uint64_t random = (uint64_t)(queue - queues);
    for (size_t i = 0; i < ITEMS; i++) {
        size_t size = 16 + test_random(&random) % 600;
        unsigned char *item = malloc(size);
        REQUIRE(item);
        memset(item, (int)(i & 0x7f), 16);
        while (__atomic_load_n(&queue->items[i % QUEUE], __ATOMIC_ACQUIRE))
            sched_yield();
        __atomic_store_n(&queue->items[i % QUEUE], item, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *consume_all(void *arg) {
    for (size_t i = 0; i < ITEMS; i++)
        for (size_t q = 0; q < PRODUCERS; q++) {
            unsigned char *item;
            while (!(item = __atomic_load_n(&queues[q].items[i % QUEUE], __ATOMIC_ACQUIRE)))
                sched_yield();
            __atomic_store_n(&queues[q].items[i % QUEUE], NULL, __ATOMIC_RELEASE);
            CHECK_EQ(item[0], i & 0x7f);
            CHECK_EQ(item[15], i & 0x7f);
            free(item);
        }
    return arg;
}

/* Blocks must return to the producers. Otherwise the consumer would accumulate free blocks while
 * producers map new memory. */
TEST(one_thread_frees_what_others_allocate_in_bounded_memory) {
    struct hak_stats before, after;
    test_let_libc_keep_threads(PRODUCERS);
    hak_stats(&before, sizeof before);
    pthread_t threads[PRODUCERS];
    for (size_t i = 0; i < PRODUCERS; i++)
        threads[i] = test_thread(produce, &queues[i]);
    consume_all(NULL);
    for (size_t i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.bytes_live, before.bytes_live);
    enum { ALLOWED = 64 * 1024 * 1024 };
    CHECK_LE(after.bytes_mapped_peak, before.bytes_mapped + ALLOWED);
    CHECK_LE(test_rss(), (size_t)40 * 1024 * 1024);
    CHECK_EQ(hak_validate(), 0);
}
