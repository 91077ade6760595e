/* own/classes.c - sizes of private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "classes.h"

const struct hk_own_class hk_own_classes[HK_OWN_CLASSES] = {
#define CLASSES_ROW(bytes, unused) [HK_OWN_##bytes] = {bytes, HK_CLASS_##bytes},
    HK_OWN_SIZES(CLASSES_ROW, 0)
#undef CLASSES_ROW
};

const uint8_t hk_own_by_class[HK_CLASS_COUNT] = {
#define SIZE_CLASS(bytes, granules, depth, prewarm) [HK_CLASS_##bytes] = HK_OWN_INDEX(bytes),
#include "../core/size_class.def"
#undef SIZE_CLASS
};
