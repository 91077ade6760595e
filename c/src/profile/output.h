/* profile/output.h - buffered output of text and protobuf messages.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a buffer in front of the program's function `write`. It is small, because it is on
 * the stack.
 * Owns: nothing. Threads: an output belongs to its caller. Boundary: the program's function, which
 * is called with no lock held.
 */
#ifndef HK_PROFILE_OUTPUT_H
#define HK_PROFILE_OUTPUT_H

#include "../os/check.h"

enum { HK_OUTPUT_BYTES = 1024 };

struct hk_output {
    void (*write)(void *arg, const char *text, size_t bytes);
    void *arg;
    size_t used;
    char buffer[HK_OUTPUT_BYTES];
};

HK_COLD void hk_output_flush(struct hk_output *output);
HK_COLD void hk_output_bytes(struct hk_output *output, const void *bytes, size_t count);
HK_COLD void hk_output_text(struct hk_output *output, const char *text);
HK_COLD void hk_output_number(struct hk_output *output, uint64_t number);
HK_COLD void hk_output_hex(struct hk_output *output, uint64_t number);

/* Adds a number, right-aligned in `width` columns. */
HK_COLD void hk_output_column(struct hk_output *output, uint64_t number, unsigned width);

#endif
