/* producer_consumer.c - one thread allocates blocks, another one frees them.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Producers pass messages through a bounded queue to consumers, which check and free them. When a
 * consumer's thread cache is full, whole batches of blocks return to the producers' heaps. The
 * statistics at the end count these batches.
 */
#include <hakmem.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PRODUCERS = 2,
    CONSUMERS = 2,
    MESSAGES_PER_PRODUCER = 200000,
    QUEUE_SLOTS = 256,
    LARGEST_BODY = 512,
};

struct message {
    size_t bytes;
    unsigned char fill;
    unsigned char body[];
};

/* Head and tail only grow. Their difference is the number of messages in the queue. */
struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty, not_full;
    size_t head, tail;
    unsigned producers_left;
    struct message *slots[QUEUE_SLOTS];
};

static struct queue queue = {
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .not_empty = PTHREAD_COND_INITIALIZER,
    .not_full = PTHREAD_COND_INITIALIZER,
    .producers_left = PRODUCERS,
};

static void queue_push(struct queue *q, struct message *message) {
    pthread_mutex_lock(&q->mutex);
    while (q->tail - q->head == QUEUE_SLOTS)
        pthread_cond_wait(&q->not_full, &q->mutex);
    q->slots[q->tail++ % QUEUE_SLOTS] = message;
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_signal(&q->not_empty);
}

/* Returns the next message, or NULL if the queue is empty and all producers have finished. */
static struct message *queue_pop(struct queue *q) {
    struct message *message = NULL;
    pthread_mutex_lock(&q->mutex);
    while (q->tail == q->head && q->producers_left > 0)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    if (q->tail != q->head)
        message = q->slots[q->head++ % QUEUE_SLOTS];
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_signal(&q->not_full);
    return message;
}

static void queue_producer_finished(struct queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->producers_left--;
    pthread_mutex_unlock(&q->mutex);
    pthread_cond_broadcast(&q->not_empty);
}

static void *produce(void *arg) {
    uint32_t state = (uint32_t)(uintptr_t)arg + 1; /* xorshift: any seed but 0 */
    for (unsigned i = 0; i < MESSAGES_PER_PRODUCER; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        const size_t bytes = state % LARGEST_BODY + 1;
        struct message *message = malloc(sizeof *message + bytes);
        if (message == NULL) {
            perror("malloc");
            exit(EXIT_FAILURE);
        }
        message->bytes = bytes;
        message->fill = (unsigned char)state;
        memset(message->body, message->fill, bytes);
        queue_push(&queue, message);
    }
    queue_producer_finished(&queue);
    return NULL;
}

struct consumer {
    pthread_t thread;
    unsigned long received;
    unsigned long damaged;
};

static void *consume(void *arg) {
    struct consumer *self = arg;
    for (struct message *message; (message = queue_pop(&queue)) != NULL; free(message)) {
        self->received++;
        if (message->body[0] != message->fill || message->body[message->bytes - 1] != message->fill)
            self->damaged++;
    }
    return NULL;
}

static void start(pthread_t *thread, void *(*function)(void *), void *arg) {
    const int error = pthread_create(thread, NULL, function, arg);
    if (error != 0) {
        fprintf(stderr, "pthread_create: %s\n", strerror(error));
        exit(EXIT_FAILURE);
    }
}

int main(void) {
    pthread_t producers[PRODUCERS];
    struct consumer consumers[CONSUMERS] = {0};
    for (size_t i = 0; i < CONSUMERS; i++)
        start(&consumers[i].thread, consume, &consumers[i]);
    for (size_t i = 0; i < PRODUCERS; i++)
        start(&producers[i], produce, (void *)(uintptr_t)i);

    unsigned long received = 0, damaged = 0;
    for (size_t i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i], NULL);
    for (size_t i = 0; i < CONSUMERS; i++) {
        pthread_join(consumers[i].thread, NULL);
        received += consumers[i].received;
        damaged += consumers[i].damaged;
    }

    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    printf("%lu messages received, %lu damaged\n", received, damaged);
    printf("%" PRIu64 " flushes of a full thread cache, %" PRIu64
           " batches into a transfer cache\n",
           stats.flushes, stats.transfer_puts);
    printf("%" PRIu64 " refills, %" PRIu64 " of them from a transfer cache\n", stats.refills,
           stats.transfer_takes);
    printf("%" PRIu64 " sleeps for a lock, %" PRIu64 " KiB mapped at the peak\n", stats.lock_waits,
           stats.bytes_mapped_peak / 1024);

    const size_t faults = hak_validate();
    if (faults != 0)
        fprintf(stderr, "%zu faults in the allocator's structures\n", faults);
    const unsigned long sent = (unsigned long)PRODUCERS * MESSAGES_PER_PRODUCER;
    return received == sent && damaged == 0 && faults == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
