/* program.c - reaches each tracepoint. Prints the numbers that tracers must see.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <hakmem.h>
#include <stdio.h>

enum { BLOCKS = 10000, BLOCK_BYTES = 3072, LARGE_BYTES = 300001 };

static void *blocks[BLOCKS];

int main(void) {
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = hak_malloc(BLOCK_BYTES);
    for (int i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);

    void *large = hak_malloc(LARGE_BYTES);
    printf("large_alloc %p %d\n", large, LARGE_BYTES);
    hak_free(large);
    hak_trim();

    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    printf("purged %llu\n", (unsigned long long)stats.bytes_purged);
    return 0;
}
