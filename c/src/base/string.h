/* base/string.h - the functions of string.h, without calls of libc.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: replaces <string.h> in all files. A preloaded library may replace memcpy and its
 * relatives, and allocate in them. A call of libc in the middle of a change of a bin, or under a
 * lock, would then enter hakmem a second time. So the assembler names of these functions are ours.
 * gcc also uses the new names for calls that it inserts, and still inlines copies of constant size.
 * clang does neither, and fortified functions cannot get new names, so these builds have macros.
 * Owns: nothing. Threads: any. Boundary: calls nothing.
 */
#ifndef HK_BASE_STRING_H
#define HK_BASE_STRING_H

#include "compiler.h"

#include <string.h>

/* Copy and clear blocks of the program, with the functions of libc, which are faster for large
 * sizes. The caller holds no lock, and no structure is in the middle of a change. */
void *hk_libc_memcpy(void *to, const void *from, size_t bytes) HK_SYMBOL(memcpy);
void *hk_libc_memset(void *to, int value, size_t bytes) HK_SYMBOL(memset);

/* Sanitizers check the arguments of the functions of libc. */
#if !HK_SANITIZER
void *hk_memcpy(void *to, const void *from, size_t bytes);
void *hk_memmove(void *to, const void *from, size_t bytes);
void *hk_memset(void *to, int value, size_t bytes);
int hk_memcmp(const void *a, const void *b, size_t bytes);
void *hk_memchr(const void *from, int value, size_t bytes);
size_t hk_strlen(const char *text);
size_t hk_strnlen(const char *text, size_t most);
int hk_strcmp(const char *a, const char *b);
int hk_strncmp(const char *a, const char *b, size_t most);
char *hk_strchr(const char *text, int value);
char *hk_strrchr(const char *text, int value);
char *hk_strstr(const char *text, const char *part);
size_t hk_strspn(const char *text, const char *set);
size_t hk_strcspn(const char *text, const char *set);

#if defined(__clang__) || defined(_FORTIFY_SOURCE)
#define memcpy hk_memcpy
#define memmove hk_memmove
#define memset hk_memset
#define memcmp hk_memcmp
#define memchr hk_memchr
#define strlen hk_strlen
#define strnlen hk_strnlen
#define strcmp hk_strcmp
#define strncmp hk_strncmp
#define strchr hk_strchr
#define strrchr hk_strrchr
#define strstr hk_strstr
#define strspn hk_strspn
#define strcspn hk_strcspn
#else
void *(memcpy)(void *to, const void *from, size_t bytes)HK_SYMBOL(hk_memcpy);
void *(memmove)(void *to, const void *from, size_t bytes)HK_SYMBOL(hk_memmove);
void *(memset)(void *to, int value, size_t bytes)HK_SYMBOL(hk_memset);
int(memcmp)(const void *a, const void *b, size_t bytes) HK_SYMBOL(hk_memcmp);
void *(memchr)(const void *from, int value, size_t bytes)HK_SYMBOL(hk_memchr);
size_t(strlen)(const char *text) HK_SYMBOL(hk_strlen);
size_t(strnlen)(const char *text, size_t most) HK_SYMBOL(hk_strnlen);
int(strcmp)(const char *a, const char *b) HK_SYMBOL(hk_strcmp);
int(strncmp)(const char *a, const char *b, size_t most) HK_SYMBOL(hk_strncmp);
char *(strchr)(const char *text, int value)HK_SYMBOL(hk_strchr);
char *(strrchr)(const char *text, int value)HK_SYMBOL(hk_strrchr);
char *(strstr)(const char *text, const char *part)HK_SYMBOL(hk_strstr);
size_t(strspn)(const char *text, const char *set) HK_SYMBOL(hk_strspn);
size_t(strcspn)(const char *text, const char *set) HK_SYMBOL(hk_strcspn);
#endif
#endif

#endif
