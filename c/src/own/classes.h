/* own/classes.h - the sizes of blocks of private heaps.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a selection of the size classes, with four for each doubling above 128 bytes. Each
 * class of each heap has a slab of its own, so fewer classes mean less memory for small heaps. An
 * aligned class stays aligned, because the steps are powers of two.
 * Owns: constant tables. Threads: any. Boundary: core/size_class.
 */
#ifndef HK_OWN_CLASSES_H
#define HK_OWN_CLASSES_H

#include "../core/size_class.h"

/* X(bytes, arg) for each of them. */
/* clang-format off */
#define HK_OWN_SIZES(X, arg)                                                                       \
    X(8, arg) X(16, arg) X(32, arg) X(48, arg) X(64, arg) X(80, arg) X(96, arg) X(112, arg)        \
    X(128, arg) X(160, arg) X(192, arg) X(224, arg) X(256, arg) X(320, arg) X(384, arg)            \
    X(448, arg) X(512, arg) X(640, arg) X(768, arg) X(896, arg) X(1024, arg) X(1280, arg)          \
    X(1536, arg) X(1792, arg) X(2048, arg) X(2560, arg) X(3072, arg) X(3584, arg) X(4096, arg)     \
    X(5120, arg) X(6144, arg) X(7168, arg) X(8192, arg) X(12288, arg) X(16384, arg) X(20480, arg)  \
    X(24576, arg) X(28672, arg) X(32768, arg) X(40960, arg) X(49152, arg) X(65536, arg)            \
    X(81920, arg) X(98304, arg) X(114688, arg) X(131072, arg) X(163840, arg) X(196608, arg)        \
    X(229376, arg) X(262144, arg)
/* clang-format on */

enum {
    HK_OWN_NONE, /* of large blocks */
#define HK_OWN_NAME(bytes, unused) HK_OWN_##bytes,
    HK_OWN_SIZES(HK_OWN_NAME, 0)
#undef HK_OWN_NAME
        HK_OWN_CLASSES
};

struct hk_own_class {
    uint32_t block_bytes;
    uint32_t class; /* in hk_classes */
};
/* The first one that is not smaller than `size`, as a constant expression. */
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a term of a sum */
#define HK_OWN_IS_SMALLER(bytes, size) +((bytes) < (size))
#define HK_OWN_INDEX(size) (HK_OWN_8 HK_OWN_SIZES(HK_OWN_IS_SMALLER, size))

extern const struct hk_own_class hk_own_classes[HK_OWN_CLASSES];

/* The selected class for the blocks of a class. */
extern const uint8_t hk_own_by_class[HK_CLASS_COUNT];

#endif
