/* death.h - checks the reaction to a bad pointer: a line is printed and the process ends or, with
 * on_error=continue, continues in a sound state.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef TEST_DEATH_H
#define TEST_DEATH_H

#include "hakmem.h"
#include "test.h"

/* A freed large block leaves no trace to recognize it by. */
#define NOT_OURS "not a block of this allocator, or already free"
#define INSIDE "inside a block, not its start"
#define TWICE "already free (double free)"
#define OTHER_LAYOUT "size or alignment differ from the allocation's"

/* When a mistake is detected. */
enum seen {
    AT_ONCE,  /* by the call itself */
    AT_FLUSH, /* by the call itself with checks, otherwise when the block returns to its slab */
};

struct mistake {
    void (*make)(void); /* reports the pointer to the parent, then makes the mistake */
    /* The libc name of a hak_* function. Both names are the same function. */
    const char *function, *cause;
    enum seen seen;
};

static TEST_UNUSED int with_checks(void) {
    const char *value = getenv("HAKMEM_CHECKS");
    return value && strcmp(value, "0") != 0;
}

static TEST_UNUSED uint64_t errors_reported(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats.errors;
}

static TEST_UNUSED void mistake_abort(void *arg) {
    const struct mistake *mistake = (const struct mistake *)arg;
    mistake->make();
    hak_trim();
}

static TEST_UNUSED void mistake_continue(void *arg) {
    const struct mistake *mistake = (const struct mistake *)arg;
    enum { COUNT = 3000 };
    static unsigned char *blocks[COUNT];
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    mistake->make();
    hak_trim();
    CHECK(errors_reported() >= 1);
    CHECK_EQ(hak_validate(), 0);
    /* No block may be handed out twice. */
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = (unsigned char *)hak_malloc(1 + i % 300);
        CHECK(blocks[i]);
        test_fill(blocks[i], 1 + i % 300, i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_EQ(test_intact(blocks[i], 1 + i % 300, i), 1 + i % 300);
        hak_free(blocks[i]);
    }
    CHECK_EQ(hak_validate(), 0);
}

static TEST_UNUSED void check_line(const struct mistake *mistake, const struct test_child *child) {
    char line[256];
    CHECK(child->pointer);
    /* The report names the function that flushes the cache. */
    if (mistake->seen == AT_FLUSH && !with_checks())
        snprintf(line, sizeof line, "(): %p: %s\n", child->pointer, mistake->cause);
    else
        snprintf(line, sizeof line, "hakmem: %s(): %p: %s\n", mistake->function, child->pointer,
                 mistake->cause);
    CHECK_CONTAINS(child->errors, line);
    const char *end = strchr(child->errors, '\n');
    CHECK(strncmp(child->errors, "hakmem: ", 8) == 0 && end && end[1] == '\0');
}

static TEST_UNUSED void check_mistake(void (*make)(void), const char *function, const char *cause,
                                      enum seen seen) {
    struct mistake mistake = {make, function, cause, seen};
    struct test_child child = test_in_child(mistake_abort, &mistake);
    CHECK_ABORTED(child);
    check_line(&mistake, &child);
    child = test_in_child(mistake_continue, &mistake);
    CHECK_EXITED(child);
    check_line(&mistake, &child);
}

#endif
