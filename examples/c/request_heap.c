/* request_heap.c - a heap for each request, with a limit that refuses.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Each request builds a list of words. The heap of the request frees all of them at once, and one
 * request that asks for too much does not take the memory of the others.
 */
#include <hakmem.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 1 << 20, REQUESTS = 4, WORD_BYTES = 24 };

struct word {
    struct word *next;
    char text[WORD_BYTES];
};

/* What a request may do without when it reaches its limit. */
struct cache {
    void *pages;
    unsigned calls;
};

/* Called at the limit. Drops the cache of the request once, which is worth another attempt. */
static int drop_cache(void *arg, struct hak_heap *heap, size_t bytes) {
    struct cache *cache = arg;
    (void)heap;
    (void)bytes;
    cache->calls++;
    if (cache->pages == NULL)
        return 0;
    hak_free(cache->pages);
    cache->pages = NULL;
    return 1;
}

/* Builds a list of `count` words. Returns NULL if the heap refuses. There is nothing to clean up,
 * because the heap has all words. */
static struct word *build(struct hak_heap *heap, unsigned count) {
    struct word *first = NULL;
    for (unsigned i = 0; i < count; i++) {
        struct word *word = hak_heap_malloc(heap, sizeof *word);
        if (word == NULL)
            return NULL;
        snprintf(word->text, sizeof word->text, "word %u", i);
        word->next = first;
        first = word;
    }
    return first;
}

static void serve(unsigned number, unsigned words) {
    struct cache cache = {NULL, 0};
    struct hak_heap_options options = {
        .name = "request", .limit = LIMIT, .on_limit = drop_cache, .on_limit_arg = &cache};
    struct hak_heap *heap = hak_heap_new(&options, sizeof options);
    if (heap == NULL) {
        perror("hak_heap_new");
        exit(EXIT_FAILURE);
    }

    cache.pages = hak_heap_calloc(heap, 1, LIMIT / 2);
    struct word *list = build(heap, words);

    struct hak_heap_stats stats;
    hak_heap_stats(heap, &stats, sizeof stats);
    printf("request %u: %u words, %s, %" PRIu64 " KiB in %" PRIu64 " blocks, cache %s\n", number,
           words, list != NULL ? "served" : "refused", stats.bytes_live / 1024, stats.blocks_live,
           cache.pages != NULL ? "kept" : "dropped");
    hak_heap_destroy(heap);
}

int main(void) {
    static const unsigned words[REQUESTS] = {10, 25000, 40000, 100};
    for (unsigned i = 0; i < REQUESTS; i++)
        serve(i + 1, words[i]);

    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    printf("left: %" PRIu64 " heaps, %" PRIu64 " bytes in them\n", stats.heaps_private,
           stats.bytes_private);
    return stats.heaps_private == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
