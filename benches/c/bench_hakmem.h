/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * hakmem's own functions, for programs that must also run where the allocator is another.
 */
#ifndef BENCH_HAKMEM_H
#define BENCH_HAKMEM_H

#include <dlfcn.h>
#include <hakmem.h>
#include <stdbool.h>

typedef size_t hak_prewarm_function(enum hak_prewarm_set set);

/* hak_prewarm of the allocator that this process runs on; NULL when that is not hakmem. */
static inline hak_prewarm_function *bench_find_prewarm(void) {
    void *symbol = dlsym(RTLD_DEFAULT, "hak_prewarm");
    hak_prewarm_function *function;
    memcpy(&function, &symbol, sizeof function); /* ISO C has no cast from object to function */
    return function;
}

#endif
