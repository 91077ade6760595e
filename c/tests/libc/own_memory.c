/* own_memory.c - memory allocated by libc's own functions comes from the library and can be freed.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive preload shared static
// variant: HAKMEM_CHECKS=1
#include "test.h"

#include <dirent.h>
#include <ftw.h>
#include <glob.h>
#include <locale.h>
#include <malloc.h>
#include <regex.h>
#include <search.h>
#include <wchar.h>

TEST(strings_of_libc_can_be_freed) {
    char *copy = strdup("a string"), *part = strndup("a string", 3), *printed = NULL;
    CHECK_STR(copy, "a string");
    CHECK_STR(part, "a s");
    CHECK_EQ(asprintf(&printed, "%s %d", "number", 7), 8);
    CHECK_STR(printed, "number 7");
    wchar_t *wide = wcsdup(L"wide");
    CHECK(wide && wcscmp(wide, L"wide") == 0);
    CHECK_GE(malloc_usable_size(copy), 9);
    free(copy);
    free(part);
    free(printed);
    free(wide);
}

TEST(a_line_of_getline_can_be_grown_and_freed) {
    FILE *file = tmpfile();
    REQUIRE(file);
    for (size_t i = 0; i < 100000; i++)
        fputc('x', file);
    fputs("\nshort\n", file);
    rewind(file);
    size_t room = 1;
    char *line = malloc(room);
    CHECK_EQ(getline(&line, &room, file), 100001);
    CHECK_GE(malloc_usable_size(line), 100002);
    CHECK_EQ(getline(&line, &room, file), 6);
    CHECK_STR(line, "short\n");
    free(line);
    fclose(file);
}

TEST(paths_of_libc_can_be_freed) {
    char *path = realpath("/proc/../.", NULL), *directory = getcwd(NULL, 0);
    CHECK_STR(path, "/");
    CHECK(directory && directory[0] == '/');
    free(path);
    free(directory);
}

TEST(directories_can_be_read) {
    struct dirent **entries = NULL;
    int count = scandir("/", &entries, NULL, alphasort);
    CHECK(count > 2);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    DIR *directory = opendir("/");
    REQUIRE(directory);
    CHECK(readdir(directory) != NULL);
    CHECK_EQ(closedir(directory), 0);
    glob_t found;
    CHECK_EQ(glob("/*", 0, NULL, &found), 0);
    CHECK(found.gl_pathc > 0);
    globfree(&found);
}

static int compare_longs(const void *a, const void *b) {
    long left = *(const long *)a, right = *(const long *)b;
    return left < right ? -1 : left > right;
}

/* qsort of glibc allocates if the array is large. */
TEST(qsort_of_a_large_array_sorts) {
    enum { COUNT = 500000 };
    long *numbers = malloc(COUNT * sizeof *numbers);
    REQUIRE(numbers);
    uint64_t random = 1;
    for (size_t i = 0; i < COUNT; i++)
        numbers[i] = (long)test_random(&random);
    qsort(numbers, COUNT, sizeof *numbers, compare_longs);
    size_t disorder = 0;
    for (size_t i = 1; i < COUNT; i++)
        disorder += numbers[i - 1] > numbers[i];
    CHECK_EQ(disorder, 0);
    free(numbers);
}

TEST(streams_and_memory_streams_work) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    REQUIRE(stream);
    for (int i = 0; i < 10000; i++)
        fprintf(stream, "%d,", i);
    CHECK_EQ(fclose(stream), 0);
    CHECK_EQ(strlen(text), bytes);
    CHECK(bytes > 40000);
    CHECK_GE(malloc_usable_size(text), bytes);
    free(text);
}

TEST(regular_expressions_and_trees_work) {
    regex_t regex;
    CHECK_EQ(regcomp(&regex, "^(a|b)*c{2,30}$", REG_EXTENDED), 0);
    CHECK_EQ(regexec(&regex, "ababcc", 0, NULL, 0), 0);
    regfree(&regex);
    static long keys[1000];
    void *root = NULL;
    for (long i = 0; i < 1000; i++) {
        keys[i] = i * 7919 % 1000;
        CHECK(tsearch(&keys[i], &root, compare_longs));
    }
    for (long i = 0; i < 1000; i++)
        CHECK(tdelete(&keys[i], &root, compare_longs));
    CHECK(!root);
}

TEST(the_environment_can_be_changed) {
    char name[32];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "TEST_VARIABLE_%d", i);
        CHECK_EQ(setenv(name, name, 1), 0);
    }
    CHECK_STR(getenv("TEST_VARIABLE_250"), "TEST_VARIABLE_250");
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "TEST_VARIABLE_%d", i);
        CHECK_EQ(unsetenv(name), 0);
    }
}

static void *nothing(void *arg) { return arg; }

/* libc owns the stacks and thread-local storage of threads. Data that these refer to is on our
 * heap. */
TEST(threads_come_and_go) {
    for (uintptr_t i = 1; i <= 500; i++) {
        void *result = NULL;
        pthread_join(test_thread(nothing, (void *)i), &result);
        CHECK_EQ(result, i);
    }
}
