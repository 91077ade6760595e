/* model.h - compares the allocator with a shadow model, driven by a byte stream.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * model_run reads operations from a byte stream, which comes from a fuzzer or a seeded generator.
 * The model records the address, size, alignment and contents of each block, and keeps the blocks
 * in address order. It checks each result: blocks are aligned and do not overlap, zeroed blocks are
 * zeroed, and contents are preserved. A wrong result is a failed check of test.h.
 */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include "hakmem.h"
#include "test.h"

enum {
    MODEL_SLOTS = 128,
    MODEL_BYTES_MOST = 64 * 1024 * 1024, /* live at once */
};

/* The allocation function of a block determines how it may be freed. */
enum model_kind { MODEL_EMPTY, MODEL_MALLOC, MODEL_ALIGNED, MODEL_LAYOUT };

struct model_slot {
    unsigned char *start;
    size_t size, align;
    uint64_t key;
    enum model_kind kind;
};

struct model {
    struct model_slot slots[MODEL_SLOTS];
    unsigned short by_address[MODEL_SLOTS]; /* used slots, in ascending address order */
    size_t used;
    size_t bytes;
    uint64_t next_key;
    const uint8_t *at, *end;
};

/* ---- The stream ------------------------------------------------------------------------------ */

static inline unsigned model_byte(struct model *m) { return m->at < m->end ? *m->at++ : 0; }

static inline unsigned model_word(struct model *m) {
    unsigned high = model_byte(m);
    return high << 8 | model_byte(m);
}

/* Mostly small sizes, but all tiers, and often class boundaries. */
static inline size_t model_size(struct model *m) {
    unsigned kind = model_byte(m), word = model_word(m);
    if (kind < 120)
        return word % 300;
    if (kind < 170)
        return word % 1100;
    if (kind < 200)
        return (size_t)(word % 65) * 128 + (word >> 8) % 3 - (word % 65 != 0);
    if (kind < 230)
        return word;
    if (kind < 250)
        return (size_t)word * 8;
    return (size_t)word * 64;
}

static inline size_t model_align(struct model *m) {
    unsigned kind = model_byte(m);
    return kind < 200 ? (size_t)1 << kind % 5 : (size_t)1 << kind % 18;
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* Large blocks are written and read at both ends only. */
enum { MODEL_WHOLE = 2048, MODEL_END = 256 };

static inline void model_fill(const struct model_slot *s) {
    if (s->size <= MODEL_WHOLE) {
        test_fill(s->start, s->size, s->key);
        return;
    }
    test_fill(s->start, MODEL_END, s->key);
    test_fill(s->start + s->size - MODEL_END, MODEL_END, s->key);
}

/* Checks the first `size` bytes, which have all been filled before. */
static inline void model_check(const struct model_slot *s, size_t size) {
    AT("size align kept", s->size, s->align, size);
    if (s->size <= MODEL_WHOLE) {
        CHECK_EQ(test_intact(s->start, size, s->key), size);
        return;
    }
    size_t begin = size < MODEL_END ? size : MODEL_END;
    CHECK_EQ(test_intact(s->start, begin, s->key), begin);
    if (size == s->size)
        CHECK_EQ(test_intact(s->start + size - MODEL_END, MODEL_END, s->key), MODEL_END);
}

/* Returns the position in by_address of the first block at or after `start`. */
static inline size_t model_rank(const struct model *m, const unsigned char *start) {
    size_t low = 0, high = m->used;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (m->slots[m->by_address[middle]].start < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline void model_add(struct model *m, struct model_slot *s) {
    size_t rank = model_rank(m, s->start);
    AT("size align kind", s->size, s->align, s->kind);
    CHECK_EQ((uintptr_t)s->start & (s->align - 1), 0);
    size_t usable = hak_usable_size(s->start);
    CHECK_GE(usable, s->size);
    if (rank < m->used)
        CHECK_GE(m->slots[m->by_address[rank]].start, s->start + (usable ? usable : 1));
    if (rank > 0) {
        const struct model_slot *below = &m->slots[m->by_address[rank - 1]];
        CHECK_GE(s->start, below->start + (below->size ? below->size : 1));
    }
    memmove(&m->by_address[rank + 1], &m->by_address[rank],
            (m->used - rank) * sizeof m->by_address[0]);
    m->by_address[rank] = (unsigned short)(s - m->slots);
    m->used++;
    m->bytes += s->size;
    model_fill(s);
}

static inline void model_remove(struct model *m, struct model_slot *s) {
    size_t rank = model_rank(m, s->start);
    m->used--;
    m->bytes -= s->size;
    memmove(&m->by_address[rank], &m->by_address[rank + 1],
            (m->used - rank) * sizeof m->by_address[0]);
}

/* All blocks of the model are free again. If there is a scavenger, libc still holds blocks
 * for it. */
static inline void model_check_live(uint64_t before, uint64_t after) {
    enum { OF_HELPER = 4096 };
    const char *helper = getenv("HAKMEM_PURGE_THREAD_MB");
    int exact = helper && strcmp(helper, "0") == 0;
    if (exact)
        CHECK_EQ(after, before);
    else
        CHECK_LE(after, before + OF_HELPER);
}

/* ---- Operations ------------------------------------------------------------------------------ */

static inline void model_allocate(struct model *m, struct model_slot *s) {
    unsigned how = model_byte(m) % 8;
    size_t size = model_size(m), align = how < 4 ? 16 : model_align(m);
    if (m->bytes + size > MODEL_BYTES_MOST)
        return;
    int zeroed = 0;
    void *start = NULL;
    switch (how) {
    case 0:
    case 1:
        s->kind = MODEL_MALLOC;
        start = hak_malloc(size);
        break;
    case 2:
        s->kind = MODEL_MALLOC;
        start = hak_calloc(1, size);
        zeroed = 1;
        break;
    case 3:
        s->kind = MODEL_MALLOC;
        start = hak_realloc(NULL, size);
        break;
    case 4:
        s->kind = MODEL_ALIGNED;
        start = hak_aligned_alloc(align, size);
        break;
    case 5:
        s->kind = MODEL_ALIGNED;
        align = align < sizeof(void *) ? sizeof(void *) : align;
        CHECK_EQ(hak_posix_memalign(&start, align, size), 0);
        break;
    case 6:
        s->kind = MODEL_LAYOUT;
        start = hak_alloc(size, align);
        break;
    default:
        s->kind = MODEL_LAYOUT;
        start = hak_alloc_zeroed(size, align);
        zeroed = 1;
        break;
    }
    s->start = (unsigned char *)HIDE(start);
    REQUIRE(s->start);
    s->size = size;
    s->align = align;
    s->key = m->next_key++;
    if (zeroed)
        CHECK_EQ(test_zeros(s->start, size), size);
    model_add(m, s);
}

static inline void model_free(struct model *m, struct model_slot *s) {
    unsigned how = model_byte(m) % 2;
    model_check(s, s->size);
    model_remove(m, s);
    if (how == 0)
        hak_free(s->start);
    else if (s->kind == MODEL_MALLOC)
        hak_free_sized(s->start, s->size);
    else if (s->kind == MODEL_ALIGNED)
        hak_free_aligned_sized(s->start, s->align, s->size);
    else
        hak_dealloc(s->start, s->size, s->align);
    s->kind = MODEL_EMPTY;
}

static inline void model_resize(struct model *m, struct model_slot *s) {
    unsigned how = model_byte(m) % 4;
    size_t size = model_size(m);
    if (size == 0 || m->bytes + size > MODEL_BYTES_MOST)
        return;
    size_t kept = size < s->size ? size : s->size;
    model_check(s, s->size);
    model_remove(m, s);
    struct model_slot old = *s;
    void *start;
    if (s->kind == MODEL_LAYOUT && how != 0) {
        start = hak_realloc_layout(s->start, s->size, s->align, size);
    } else {
        start = how == 1 ? hak_reallocarray(s->start, 1, size) : hak_realloc(s->start, size);
        s->kind = MODEL_MALLOC;
        s->align = 16;
    }
    s->start = (unsigned char *)HIDE(start);
    REQUIRE(s->start);
    old.start = s->start;
    model_check(&old, kept);
    s->size = size;
    s->key = m->next_key++;
    model_add(m, s);
}

/* Failed requests change nothing. */
static inline void model_ask_too_much(struct model *m, struct model_slot *s) {
    CHECK(!hak_malloc(HIDE((size_t)PTRDIFF_MAX + 1 + model_word(m))));
    CHECK(!hak_calloc(HIDE(SIZE_MAX / 2), 3));
    if (s->kind == MODEL_EMPTY)
        return;
    CHECK(!hak_realloc(s->start, HIDE(SIZE_MAX - 4096)));
    model_check(s, s->size);
}

/* Runs the operations in data[0 .. size), then frees all blocks. */
static inline void model_run(const uint8_t *data, size_t size) {
    static __thread struct model model;
    struct model *m = &model;
    memset(m, 0, sizeof *m);
    m->at = data;
    m->end = data + size;
    while (m->at < m->end) {
        unsigned operation = model_byte(m);
        struct model_slot *s = &m->slots[model_byte(m) % MODEL_SLOTS];
        if (operation == 255)
            hak_trim();
        else if (operation > 251)
            model_ask_too_much(m, s);
        else if (s->kind == MODEL_EMPTY)
            model_allocate(m, s);
        else if (operation % 4 == 0)
            model_resize(m, s);
        else
            model_free(m, s);
    }
    for (size_t i = 0; i < MODEL_SLOTS; i++)
        if (m->slots[i].kind != MODEL_EMPTY)
            model_free(m, &m->slots[i]);
    CHECK_EQ(m->used, 0);
}

#endif
