/* hello.c - the hak_* functions, called by name.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <errno.h>
#include <hakmem.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

/* Growing a block keeps its contents, and may move it. */
static void growing_block(void) {
    char *text = hak_malloc(16);
    if (text == NULL)
        fail("hak_malloc");
    strcpy(text, "hello, ");

    /* Store the result in a new variable. On failure, we still own the old block. */
    char *longer = hak_realloc(text, 4096);
    if (longer == NULL) {
        hak_free(text);
        fail("hak_realloc");
    }
    strcat(longer, "allocator");
    printf("grown:    \"%s\" in a block of %zu bytes\n", longer, hak_usable_size(longer));
    hak_free(longer);
}

static void aligned_block(void) {
    const size_t alignment = 4096;
    void *page = hak_aligned_alloc(alignment, 10000);
    if (page == NULL)
        fail("hak_aligned_alloc");
    printf("aligned:  to %zu bytes, remainder %zu\n", alignment, (uintptr_t)page % alignment);
    hak_free(page);
}

/* If the program knows the size and alignment when it frees a block, the layout functions are the
 * fastest. */
static void sized_block(void) {
    struct point {
        double x, y, z;
    };
    struct point *origin = hak_alloc_zeroed(sizeof *origin, _Alignof(struct point));
    if (origin == NULL)
        fail("hak_alloc_zeroed");
    printf("zeroed:   %.0f %.0f %.0f\n", origin->x, origin->y, origin->z);
    hak_dealloc(origin, sizeof *origin, _Alignof(struct point));
}

/* A failed allocation returns NULL and sets errno, here because the product overflows. */
static void impossible_block(void) {
    volatile size_t count = SIZE_MAX / 2; /* volatile prevents a compiler warning about the size */
    errno = 0;
    void *block = hak_calloc(count, 4);
    if (block != NULL) {
        hak_free(block);
        fprintf(stderr, "hak_calloc: more memory than there is\n");
        exit(EXIT_FAILURE);
    }
    printf("refused:  %s\n", strerror(errno));
}

int main(void) {
    printf("hakmem %s\n", hak_version());
    growing_block();
    aligned_block();
    sized_block();
    impossible_block();

    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    printf("mapped:   %" PRIu64 " KiB in %" PRIu64 " calls of mmap, errors: %" PRIu64 "\n",
           stats.bytes_mapped / 1024, stats.map_calls, stats.errors);
    return stats.errors == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
