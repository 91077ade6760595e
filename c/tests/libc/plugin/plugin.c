/* plugin.c - a library for moments.c, which allocates when it is loaded and later.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

static void *of_library;

__attribute__((constructor)) static void plugin_load(void) {
    of_library = malloc(12345);
    memset(of_library, 1, 12345);
}

__attribute__((destructor)) static void plugin_unload(void) { free(of_library); }

void *plugin_make(size_t size) { return calloc(1, size); }

void plugin_drop(void *ptr) { free(ptr); }
