/* unit/folder.h - tests that each have a folder of their own, with simulated kernel files.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *     TEST_IN_FOLDER(a_missing_file_means_no_limit) { put("proc/self/cgroup", "0::/a\n"); ... }
 *
 * The test runs in a child process, and the folder is its current one. A file for Linux that is
 * compiled with HK_OS_ROOT "." reads the files there.
 */
#ifndef UNIT_FOLDER_H
#define UNIT_FOLDER_H

#include "../test.h"

#include <sys/stat.h>

/* Writes a file below the folder of the test, and creates parent folders. */
static void put(const char *path, const char *text) {
    char folder[512];
    for (const char *at = path; (at = strchr(at + 1, '/')) != NULL;) {
        snprintf(folder, sizeof folder, "%.*s", (int)(at - path), path);
        mkdir(folder, 0700);
    }
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs(text, file) < 0)
        _exit(98);
    fclose(file);
}

static char *folder;

static void enter(void *body) {
    if (chdir(folder) != 0)
        _exit(98);
    ((void (*)(void))body)();
}

/* Runs a test in a child process, in its own folder. */
#define TEST_IN_FOLDER(name_)                                                                      \
    static void body_##name_(void);                                                                \
    TEST(name_) {                                                                                  \
        char path[] = "/tmp/hakmem-test-XXXXXX", command[64];                                      \
        folder = mkdtemp(path);                                                                    \
        REQUIRE(folder != NULL);                                                                   \
        struct test_child child = test_in_child(enter, (void *)body_##name_);                      \
        CHECK_EXITED(child);                                                                       \
        snprintf(command, sizeof command, "rm -rf %s", path);                                      \
        CHECK_EQ(system(command), 0);                                                              \
    }                                                                                              \
    static void body_##name_(void)

#endif
