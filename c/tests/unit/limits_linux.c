/* unit/limits_linux.c - limits of control groups and lines of files, read from simulated kernel
 * files.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: none
// flags: -Wno-unused-function
#define HK_OS_ROOT "." /* the folder of each test */
#include "base/string.c"
#include "os/check.c"
#include "os/limits_linux.c"
/* Included after the file under test, which includes the headers in its own order. */
#include "folder.h"

#define MIB ((uint64_t)1 << 20)

void hk_os_write_error(const char *text, size_t bytes) { test_print("%.*s", (int)bytes, text); }
void hk_os_abort(void) { abort(); }

TEST_IN_FOLDER(without_files_there_is_no_limit) {
    CHECK_EQ(hk_os_memory_limit(), 0);
    CHECK_GE(hk_os_cpus(), 1);
    put("proc/self/cgroup", "");
    CHECK_EQ(hk_os_memory_limit(), 0);
}

TEST_IN_FOLDER(version_2_counts_the_least_limit_up_to_the_root) {
    put("proc/self/cgroup", "0::/system.slice/app.service\n");
    put("sys/fs/cgroup/system.slice/app.service/memory.max", "max\n");
    CHECK_EQ(hk_os_memory_limit(), 0);
    put("sys/fs/cgroup/system.slice/memory.max", "300000000\n");
    CHECK_EQ(hk_os_memory_limit(), 300000000);
    put("sys/fs/cgroup/system.slice/app.service/memory.max", "200000000\n");
    CHECK_EQ(hk_os_memory_limit(), 200000000);
    put("sys/fs/cgroup/memory.max", "100000000\n");
    CHECK_EQ(hk_os_memory_limit(), 100000000);
}

static const char version_1[] = "12:pids:/docker/0123\n"
                                "11:cpu,cpuacct:/docker/0123\n"
                                "10:net_cls,net_prio:/docker/0123\n"
                                "4:memory:/docker/0123\n"
                                "1:name=systemd:/docker/0123\n"
                                "0::/system.slice/containerd.service\n";

TEST_IN_FOLDER(version_1_has_a_hierarchy_for_each_controller) {
    put("proc/self/cgroup", version_1);
    put("sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes", "268435456\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK_EQ(hk_os_memory_limit(), 256 * MIB);
    put("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "134217728\n");
    CHECK_EQ(hk_os_memory_limit(), 128 * MIB);
}

TEST_IN_FOLDER(in_a_container_of_version_1_the_root_is_the_own_group) {
    put("proc/self/cgroup", version_1);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n");
    CHECK_EQ(hk_os_memory_limit(), 64 * MIB);
}

TEST_IN_FOLDER(the_largest_numbers_of_version_1_mean_no_limit) {
    put("proc/self/cgroup", version_1);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK_EQ(hk_os_memory_limit(), 0);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854710272\n"); /* 64 KiB pages */
    CHECK_EQ(hk_os_memory_limit(), 0);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "-1\n");
    CHECK_EQ(hk_os_memory_limit(), 0);
}

TEST_IN_FOLDER(where_both_versions_limit_the_lower_limit_counts) {
    put("proc/self/cgroup", version_1);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n");
    put("sys/fs/cgroup/memory.max", "33554432\n");
    CHECK_EQ(hk_os_memory_limit(), 32 * MIB);
    put("sys/fs/cgroup/memory.max", "134217728\n");
    CHECK_EQ(hk_os_memory_limit(), 64 * MIB);
}

#define CHECK_USE(used_, limit_)                                                                   \
    do {                                                                                           \
        struct hk_os_memory use = hk_os_memory_use();                                              \
        CHECK_EQ(use.used, used_);                                                                 \
        CHECK_EQ(use.limit, limit_);                                                               \
    } while (0)

TEST_IN_FOLDER(the_use_of_a_group_does_not_include_files_that_were_not_used_lately) {
    CHECK_USE(0, 0);
    put("proc/self/cgroup", "0::/app\n");
    put("sys/fs/cgroup/app/memory.max", "1000000\n");
    CHECK_USE(0, 1000000);
    put("sys/fs/cgroup/app/memory.current", "900000\n");
    CHECK_USE(900000, 1000000);
    put("sys/fs/cgroup/app/memory.stat",
        "anon 500000\nfile 400000\ninactive_file_x 1\ninactive_file 300000\nactive_file 100000\n");
    CHECK_USE(600000, 1000000);
    put("sys/fs/cgroup/app/memory.stat", "inactive_file 1000000");
    CHECK_USE(0, 1000000);
}

TEST_IN_FOLDER(the_fullest_of_the_groups_up_to_the_root_counts) {
    put("proc/self/cgroup", "0::/pod/app\n");
    put("sys/fs/cgroup/pod/app/memory.max", "1000000\n");
    put("sys/fs/cgroup/pod/app/memory.current", "500000\n");
    put("sys/fs/cgroup/pod/memory.max", "max\n");
    put("sys/fs/cgroup/pod/memory.current", "1900000\n");
    CHECK_USE(500000, 1000000);
    put("sys/fs/cgroup/pod/memory.max", "2000000\n");
    CHECK_USE(1900000, 2000000);
    put("sys/fs/cgroup/pod/memory.current", "900000\n");
    CHECK_USE(500000, 1000000);
}

TEST_IN_FOLDER(the_use_of_a_group_of_version_1_counts) {
    put("proc/self/cgroup", version_1);
    put("sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes", "1000000\n");
    put("sys/fs/cgroup/memory/docker/0123/memory.usage_in_bytes", "900000\n");
    put("sys/fs/cgroup/memory/docker/0123/memory.stat",
        "cache 5\ninactive_file 7\ntotal_inactive_file 200000\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "99900000\n");
    CHECK_USE(700000, 1000000);
}

static void put_pressure(const char *path, const char *avg10) {
    char text[200];
    snprintf(text, sizeof text,
             "some avg10=%s avg60=33.33 avg300=44.44 total=123456789012345\n"
             "full avg10=55.55 avg60=66.66 avg300=77.77 total=123456789012345\n",
             avg10);
    put(path, text);
}

TEST_IN_FOLDER(the_pressure_is_that_of_the_process_s_group_or_else_of_the_system) {
    CHECK_EQ(hk_os_memory_pressure(), HK_OS_PRESSURE_UNKNOWN);
    put("proc/self/cgroup", "0::/pod/app\n");
    CHECK_EQ(hk_os_memory_pressure(), HK_OS_PRESSURE_UNKNOWN);
    put_pressure("proc/pressure/memory", "0.12");
    CHECK_EQ(hk_os_memory_pressure(), 12);
    put_pressure("sys/fs/cgroup/memory.pressure", "3.45");
    CHECK_EQ(hk_os_memory_pressure(), 345);
    put_pressure("sys/fs/cgroup/pod/app/memory.pressure", "100.00");
    CHECK_EQ(hk_os_memory_pressure(), 10000);
    put_pressure("sys/fs/cgroup/pod/app/memory.pressure", "0.00");
    CHECK_EQ(hk_os_memory_pressure(), 0);
}

TEST_IN_FOLDER(a_pressure_in_another_format_is_unknown) {
    static const char *const texts[] = {"",
                                        "some",
                                        "some avg10=",
                                        "full avg10=1.00",
                                        "some avg10=x",
                                        "some avg10=-1.00 ",
                                        "some avg10=99999999999"};
    for (size_t i = 0; i < TEST_COUNT(texts); i++) {
        AT("text", i);
        put("proc/pressure/memory", texts[i]);
        CHECK_EQ(hk_os_memory_pressure(), HK_OS_PRESSURE_UNKNOWN);
    }
    put("proc/pressure/memory", "some avg10=7 avg60=1");
    CHECK_EQ(hk_os_memory_pressure(), 700);
    put("proc/pressure/memory", "some avg10=7.5 avg60=1");
    CHECK_EQ(hk_os_memory_pressure(), 750);
    put("proc/pressure/memory", "some avg10=7.567 avg60=1");
    CHECK_EQ(hk_os_memory_pressure(), 756);
}

/* Kubernetes writes 12 lines of 200 bytes. */
TEST_IN_FOLDER(a_long_list_of_groups_is_read_to_its_end) {
    char text[6000] = "", path[300] = "";
    memset(path, 'p', 200);
    for (int i = 0; i < 12; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d:name=c%d:/%s\n", i + 2, i,
                 path);
    strcat(text, "1:memory:/a\n");
    put("proc/self/cgroup", text);
    put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n");
    CHECK_EQ(hk_os_memory_limit(), MIB);
}

TEST_IN_FOLDER(a_path_that_is_too_long_ends_in_no_limit) {
    char text[3000] = "0::/";
    memset(text + 4, 'p', 2000);
    put("proc/self/cgroup", text);
    CHECK_EQ(hk_os_memory_limit(), 0);
}

TEST_IN_FOLDER(a_quota_of_cpus_is_rounded_up) {
    if (hk_os_cpus() < 2)
        return;
    put("proc/self/cgroup", version_1);
    put("sys/fs/cgroup/cpu.max", "max 100000\n");
    CHECK_GE(hk_os_cpus(), 2);
    put("sys/fs/cgroup/cpu.max", "50000 100000\n");
    CHECK_EQ(hk_os_cpus(), 1);
    put("sys/fs/cgroup/cpu.max", "150000 100000\n");
    CHECK_EQ(hk_os_cpus(), 2);
}

TEST_IN_FOLDER(a_quota_of_version_1_counts) {
    if (hk_os_cpus() < 2)
        return;
    put("proc/self/cgroup", version_1);
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    CHECK_GE(hk_os_cpus(), 2);
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    CHECK_EQ(hk_os_cpus(), 1);
}

TEST_IN_FOLDER(a_quota_of_a_group_above_counts) {
    if (hk_os_cpus() < 2)
        return;
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/cpu.max", "20000 100000\n");
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    CHECK_EQ(hk_os_cpus(), 1);
}

TEST_IN_FOLDER(lines_are_whole_whatever_their_length) {
    static char text[10 * OS_LINE_BYTES];
    struct os_lines lines;
    strcpy(text, "first\n\n");
    memset(text + strlen(text), 'x', 3 * OS_LINE_BYTES);
    strcat(text, "\nafter a long one\n");
    for (size_t i = 0; i < 300; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "line %zu\n", i);
    strcat(text, "last");
    put("lines", text);

    REQUIRE(os_lines_open(&lines, "./lines", '\n'));
    CHECK_STR(os_lines_next(&lines), "first");
    CHECK_STR(os_lines_next(&lines), "");
    CHECK_EQ(strspn(os_lines_next(&lines), "x"), OS_LINE_BYTES - 1);
    CHECK_STR(os_lines_next(&lines), "after a long one");
    for (size_t i = 0; i < 300; i++) {
        char line[20];
        snprintf(line, sizeof line, "line %zu", i);
        CHECK_STR(os_lines_next(&lines), line);
    }
    CHECK_STR(os_lines_next(&lines), "last");
    CHECK(os_lines_next(&lines) == NULL);
    CHECK(os_lines_next(&lines) == NULL);
}
