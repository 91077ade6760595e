/* api/aligned.c - aligned allocation. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <hakmem.h>

#include "front.h"

void *hak_aligned_alloc(size_t alignment, size_t size) {
    if (hk_unlikely(!hk_is_power_of_two(alignment))) {
        errno = EINVAL;
        return NULL;
    }
    return hk_front_alloc(size, alignment > HK_MALLOC_ALIGN ? alignment : HK_MALLOC_ALIGN);
}

int hak_posix_memalign(void **out, size_t alignment, size_t size) {
    if (hk_unlikely(!hk_is_power_of_two(alignment) || alignment % sizeof(void *) != 0))
        return EINVAL;
    int saved = errno;
    void *block = hak_aligned_alloc(alignment, size);
    errno = saved;
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}
