/* core/size_class.c - the size-class tables. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "size_class.h"

enum {
    CLASS_INITIAL_MAX = 6,           /* pointers in a new bin: an array of one cache line */
    CLASS_INITIAL_BYTES = 16 * 1024, /* at most this much in a new bin, but at least one block */
    CLASS_GRANULE = 1 << HK_GRANULE_SHIFT,
};

#define CLASS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CLASS_AT_LEAST_1(a) ((a) < 1 ? 1 : (a))

const struct hk_class hk_classes[HK_CLASS_COUNT] = {
#define SIZE_CLASS(bytes, granules, depth, prewarm)                                                \
    [HK_CLASS_##bytes] = {                                                                         \
        bytes,                                                                                     \
        (uint32_t)(((UINT64_C(1) << 32) + (bytes)-1) / (bytes)),                                   \
        (granules)*CLASS_GRANULE / (bytes),                                                        \
        depth,                                                                                     \
        granules,                                                                                  \
        (uint8_t)CLASS_MIN(                                                                        \
            depth, CLASS_MIN(CLASS_INITIAL_MAX, CLASS_AT_LEAST_1(CLASS_INITIAL_BYTES / (bytes)))), \
        prewarm,                                                                                   \
    },
#include "size_class.def"
#undef SIZE_CLASS
};

#define SIZE_CLASS(bytes, granules, depth, prewarm)                                                \
    _Static_assert((granules) <= HK_SLAB_GRANULES_MAX, "slabs fit the index division");            \
    _Static_assert((granules)*CLASS_GRANULE % (bytes) < (granules)*CLASS_GRANULE / 50,             \
                   "the tail of a slab wastes less than 2 %");                                     \
    _Static_assert((prewarm) <= (depth) && (depth) >= 1, "pre-warming fits the bin");
#include "size_class.def"
#undef SIZE_CLASS

_Static_assert(HK_CLASS_16 == 1 && HK_CLASS_1024 == 64, "Tiny classes are size / 16");
_Static_assert(HK_CLASS_COUNT <= 256, "a class is a byte");

/* The smallest class that holds `size`. One comparison per row above Tiny, all at compile time. */
#define CLASS_HOLDING(size) ((uint8_t)CLASS_ROW(size))
#define CLASS_ROW(size)                                                                            \
    ((size) <= 1152     ? HK_CLASS_1152                                                            \
     : (size) <= 2048   ? HK_CLASS_1152 + ((size)-1 - 1024) / 128                                  \
     : (size) <= 4096   ? HK_CLASS_2304 + ((size)-1 - 2048) / 256                                  \
     : (size) <= 8192   ? HK_CLASS_4608 + ((size)-1 - 4096) / 512                                  \
     : (size) <= 53248  ? HK_CLASS_12288 + ((size)-1 - 8192) / 4096                                \
     : (size) <= 65536  ? HK_CLASS_65536                                                           \
     : (size) <= 131072 ? HK_CLASS_81920 + ((size)-1 - 65536) / 16384                              \
                        : HK_CLASS_163840 + ((size)-1 - 131072) / 32768)

#define CLASS_8(step, i)                                                                           \
    CLASS_HOLDING((step) * ((i) + 1)), CLASS_HOLDING((step) * ((i) + 2)),                          \
        CLASS_HOLDING((step) * ((i) + 3)), CLASS_HOLDING((step) * ((i) + 4)),                      \
        CLASS_HOLDING((step) * ((i) + 5)), CLASS_HOLDING((step) * ((i) + 6)),                      \
        CLASS_HOLDING((step) * ((i) + 7)), CLASS_HOLDING((step) * ((i) + 8))
#define CLASS_64(step)                                                                             \
    CLASS_8(step, 0), CLASS_8(step, 8), CLASS_8(step, 16), CLASS_8(step, 24), CLASS_8(step, 32),   \
        CLASS_8(step, 40), CLASS_8(step, 48), CLASS_8(step, 56)

const uint8_t hk_class_by_128[] = {CLASS_64(128)};
const uint8_t hk_class_by_4096[] = {CLASS_64(4096)};
