/* replace.c - a program that calls only malloc and free. Linked with libhakmem.a, it uses hakmem.
 * It includes hakmem.h only for the statistics that prove this.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Usage: replace [WORDS]
 * Counts words in a hash table of chains, one block per entry and one per word.
 */
#include <errno.h>
#include <hakmem.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TABLE_SLOTS = 1 << 16, DEFAULT_WORDS = 1000000 };

struct entry {
    struct entry *next;
    char *word;
    unsigned long count;
};

static struct entry *table[TABLE_SLOTS];

static void fail(const char *what) {
    perror(what);
    exit(EXIT_FAILURE);
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint64_t bytes_live(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats.bytes_live;
}

/* FNV-1a. */
static uint32_t hash(const char *word) {
    uint32_t h = 2166136261u;
    for (; *word != '\0'; word++)
        h = (h ^ (unsigned char)*word) * 16777619u;
    return h;
}

/* Counts `word`. Returns the bytes requested for its entry, or 0 if the word already has one. */
static size_t count_word(const char *word) {
    struct entry **slot = &table[hash(word) % TABLE_SLOTS];
    for (struct entry *e = *slot; e != NULL; e = e->next)
        if (strcmp(e->word, word) == 0) {
            e->count++;
            return 0;
        }

    struct entry *e = malloc(sizeof *e);
    if (e == NULL)
        fail("malloc");
    e->word = strdup(word); /* libc's own calls of malloc use hakmem, too */
    if (e->word == NULL)
        fail("strdup");
    e->count = 1;
    e->next = *slot;
    *slot = e;
    return sizeof *e + strlen(word) + 1;
}

/* Frees everything. Returns the sum of the counts. */
static unsigned long empty_table(void) {
    unsigned long total = 0;
    for (size_t i = 0; i < TABLE_SLOTS; i++)
        while (table[i] != NULL) {
            struct entry *e = table[i];
            table[i] = e->next;
            total += e->count;
            free(e->word);
            free(e);
        }
    return total;
}

static unsigned long parse_words(int argc, char **argv) {
    if (argc < 2)
        return DEFAULT_WORDS;
    char *end;
    errno = 0;
    unsigned long words = strtoul(argv[1], &end, 10);
    if (argc > 2 || errno != 0 || end == argv[1] || *end != '\0' || words == 0) {
        fprintf(stderr, "usage: %s [WORDS]\n", argv[0]);
        exit(EXIT_FAILURE);
    }
    return words;
}

int main(int argc, char **argv) {
    const unsigned long words = parse_words(argc, argv);
    printf("replace: malloc is that of hakmem %s\n", hak_version());

    const double start = seconds_now();
    const uint64_t live_before = bytes_live();
    uint64_t requested = 0;
    uint32_t state = 42; /* xorshift: the same words in every run */
    for (unsigned long i = 0; i < words; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char word[32];
        snprintf(word, sizeof word, "word-%lu", state % (words / 2 + 1));
        requested += count_word(word);
    }
    const uint64_t live_full = bytes_live();
    const unsigned long total = empty_table();
    const double seconds = seconds_now() - start;
    const uint64_t live_after = bytes_live();

    printf("counted %lu words in %.2f s, %" PRIu64 " bytes requested\n", total, seconds, requested);
    printf("bytes live: %" PRIu64 " before, %" PRIu64 " with the table, %" PRIu64 " after\n",
           live_before, live_full, live_after);
    fflush(stdout); /* the report bypasses stdio and goes to standard error */
    hak_report(HAK_REPORT_TEXT, NULL, NULL);

    if (total != words) {
        fprintf(stderr, "replace: %lu words went in, %lu came out\n", words, total);
        return EXIT_FAILURE;
    }
    if (live_full < live_before + requested || live_after >= live_before + requested) {
        fprintf(stderr, "replace: malloc did not go through hakmem\n");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
