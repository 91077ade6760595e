/* base/string.c - the functions of string.h, without calls of libc.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The compiler must not replace a loop here by a call of the function that contains it. The
 * fences prevent this.
 */
#include "string.h"

#include "atomic.h"

#if !HK_SANITIZER

/* Units of copies. They need no alignment, and may alias everything. */
typedef uint64_t string_word HK_UNALIGNED;
typedef string_word string_pair HK_VECTOR_16;

enum { STRING_STEP = 2 * sizeof(string_pair) };

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Each step loads all of its bytes before it stores them, so both directions may overlap. */
static void *string_copy_up(char *to, const char *from, size_t bytes) {
    char *start = to;
    for (; bytes >= STRING_STEP; to += STRING_STEP, from += STRING_STEP, bytes -= STRING_STEP) {
        string_pair low = ((const string_pair *)(const void *)from)[0];
        string_pair high = ((const string_pair *)(const void *)from)[1];
        ((string_pair *)(void *)to)[0] = low;
        ((string_pair *)(void *)to)[1] = high;
        hk_fence_compiler();
    }

    for (; bytes >= sizeof(string_word); bytes -= sizeof(string_word)) {
        *(string_word *)(void *)to = *(const string_word *)(const void *)from;
        to += sizeof(string_word);
        from += sizeof(string_word);
        hk_fence_compiler();
    }
    for (; bytes > 0; bytes--) {
        *to++ = *from++;
        hk_fence_compiler();
    }
    return start;
}

static void *string_copy_down(char *to, const char *from, size_t bytes) {
    while (bytes >= sizeof(string_word)) {
        bytes -= sizeof(string_word);
        *(string_word *)(void *)(to + bytes) = *(const string_word *)(const void *)(from + bytes);
        hk_fence_compiler();
    }
    while (bytes > 0) {
        bytes--;
        to[bytes] = from[bytes];
        hk_fence_compiler();
    }
    return to;
}

void *hk_memcpy(void *to, const void *from, size_t bytes) {
    return string_copy_up(to, from, bytes);
}

void *hk_memmove(void *to, const void *from, size_t bytes) {
    return (uintptr_t)to - (uintptr_t)from >= bytes ? string_copy_up(to, from, bytes)
                                                    : string_copy_down(to, from, bytes);
}

void *hk_memset(void *to, int value, size_t bytes) {
    uint64_t word = (unsigned char)value * UINT64_C(0x0101010101010101);
    string_pair pair = {word, word};
    char *at = to;

    for (; bytes >= sizeof pair; at += sizeof pair, bytes -= sizeof pair) {
        *(string_pair *)(void *)at = pair;
        hk_fence_compiler();
    }
    for (; bytes > 0; bytes--) {
        *at++ = (char)value;
        hk_fence_compiler();
    }
    return to;
}

int hk_memcmp(const void *a, const void *b, size_t bytes) {
    const unsigned char *x = a;
    const unsigned char *y = b;
    for (; bytes > 0 && *x == *y; bytes--, x++, y++)
        hk_fence_compiler();
    return bytes > 0 ? *x - *y : 0;
}

void *hk_memchr(const void *from, int value, size_t bytes) {
    const unsigned char *at = from;
    for (; bytes > 0 && *at != (unsigned char)value; bytes--, at++)
        hk_fence_compiler();
    return bytes > 0 ? (void *)(uintptr_t)at : NULL;
}

/* ---- Text ------------------------------------------------------------------------------------ */

size_t hk_strnlen(const char *text, size_t most) {
    size_t bytes = 0;
    for (; bytes < most && text[bytes] != 0; bytes++)
        hk_fence_compiler();
    return bytes;
}

size_t hk_strlen(const char *text) { return hk_strnlen(text, PTRDIFF_MAX); }

int hk_strncmp(const char *a, const char *b, size_t most) {
    for (; most > 0 && *a == *b && *a != 0; most--, a++, b++)
        hk_fence_compiler();
    return most > 0 ? (unsigned char)*a - (unsigned char)*b : 0;
}

int hk_strcmp(const char *a, const char *b) { return hk_strncmp(a, b, PTRDIFF_MAX); }

char *hk_strchr(const char *text, int value) {
    for (; *text != (char)value && *text != 0; text++)
        hk_fence_compiler();
    return *text == (char)value ? (char *)(uintptr_t)text : NULL;
}

char *hk_strrchr(const char *text, int value) {
    const char *last = NULL;
    do {
        if (*text == (char)value)
            last = text;
        hk_fence_compiler();
    } while (*text++ != 0);
    return (char *)(uintptr_t)last;
}

char *hk_strstr(const char *text, const char *part) {
    size_t bytes = hk_strlen(part);
    for (; hk_strncmp(text, part, bytes) != 0; text++) {
        if (*text == 0)
            return NULL;
    }
    return (char *)(uintptr_t)text;
}

/* The length of the start of a text whose letters are all in a set, or are all outside. */
static size_t string_span(const char *text, const char *set, bool inside) {
    size_t bytes = 0;
    while (text[bytes] != 0 && (hk_strchr(set, text[bytes]) != NULL) == inside)
        bytes++;
    return bytes;
}

size_t hk_strspn(const char *text, const char *set) { return string_span(text, set, true); }
size_t hk_strcspn(const char *text, const char *set) { return string_span(text, set, false); }

#endif
