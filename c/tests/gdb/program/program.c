/* program.c - blocks in each state, for gdb.sh. Prints the statistics and stops.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <hakmem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALL = 4, FREED = 5000 };
enum {
    SMALL_BYTES = 48,
    FREED_BYTES = 3072,
    ALONE_BYTES = 20000,
    GUARDED_BYTES = 99,
    PRIVATE_BYTES = 350000
};

/* gdb reads these. */
void *small[SMALL], *freed[FREED], *alone, *trimmed, *granules, *mapping, *retired, *returned;
void *guarded[2], *private_block;

static pthread_barrier_t barrier;

__attribute__((noinline)) void stop(void) { __asm__ volatile("" ::: "memory"); }

static void write_text(void *arg, const char *text, size_t bytes) {
    (void)arg;
    if (write(STDOUT_FILENO, text, bytes) != (ssize_t)bytes)
        abort();
}

/* Frees blocks of the main thread. Most of them end up in the transfer cache of its CPU. */
static void *free_all(void *arg) {
    for (int i = 0; i < FREED; i++)
        free(freed[i]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return arg;
}

static void *make_private(void) {
    struct hak_heap_options options = {.name = "of the test"};
    return hak_heap_malloc(hak_heap_new(&options, sizeof options), PRIVATE_BYTES);
}

int main(void) {
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);

    private_block = make_private();
    trimmed = malloc(ALONE_BYTES);
    alone = malloc(ALONE_BYTES); /* keeps the slab of `trimmed` */
    free(trimmed);
    hak_trim();

    for (int i = 0; i < FREED; i++)
        freed[i] = malloc(FREED_BYTES);
    if (pthread_create(&thread, NULL, free_all, NULL) != 0)
        return 1;
    pthread_barrier_wait(&barrier);

    for (int i = 0; i < SMALL; i++)
        small[i] = memset(malloc(SMALL_BYTES), i, SMALL_BYTES);
    granules = malloc(400000);
    mapping = malloc(6 << 20);
    for (int i = 0; i < SMALL; i++) { /* the thread then caches such blocks */
        retired = malloc(300000);
        free(retired);
    }
    returned = malloc(9 << 20); /* more than a thread ever caches */
    free(returned);

    hak_guard_start(1, 4);
    guarded[0] = malloc(GUARDED_BYTES);
    guarded[1] = malloc(GUARDED_BYTES);
    free(guarded[1]);
    hak_guard_stop();
    free(small[2]);

    hak_report(HAK_REPORT_JSON, write_text, NULL);
    stop();
    pthread_barrier_wait(&barrier);
    return pthread_join(thread, NULL);
}
