/* unit/nodes_linux.c - NUMA nodes, read from simulated kernel files.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: none
// flags: -Wno-unused-function
#define HK_OS_ROOT "." /* the folder of each test */
#include "base/string.c"
#include "os/check.c"
#include "os/nodes_linux.c"
/* Included after the file under test, which includes the headers in its own order. */
#include "folder.h"

static bool sandboxed;
bool hk_os_is_sandboxed(void) { return sandboxed; }
void hk_os_write_error(const char *text, size_t bytes) { test_print("%.*s", (int)bytes, text); }
void hk_os_abort(void) { abort(); }

static void add(void *arg, uint32_t node, uint32_t first, uint32_t last) {
    char *text = arg;
    sprintf(text + strlen(text), "%u:%u-%u ", node, first, last);
}

/* The nodes as text, such as "0:0-3 1:4-7 ". */
static const char *nodes(void) {
    static char text[65536];
    *text = 0;
    hk_os_nodes(add, text);
    return text;
}

static void put_node(unsigned node, const char *cpus) {
    char path[64];
    snprintf(path, sizeof path, "sys/devices/system/node/node%u/cpulist", node);
    put(path, cpus);
}

static void put_nodes(const char *list) { put("sys/devices/system/node/has_cpu", list); }

TEST_IN_FOLDER(without_files_nothing_is_known) { CHECK_STR(nodes(), ""); }

TEST_IN_FOLDER(a_single_node_is_not_read) {
    put_nodes("0\n");
    put_node(0, "0-7\n");
    CHECK_STR(nodes(), "");
}

TEST_IN_FOLDER(each_node_has_its_cpus) {
    put_nodes("0-1\n");
    put_node(0, "0-3,8-11\n");
    put_node(1, "4-7,12-15\n");
    CHECK_STR(nodes(), "0:0-3 0:8-11 1:4-7 1:12-15 ");
    put_node(0, "0\n");
    put_node(1, "1,3");
    CHECK_STR(nodes(), "0:0-0 1:1-1 1:3-3 ");
}

/* The kernel does not list nodes that have only memory, and numbers may have gaps. */
TEST_IN_FOLDER(nodes_without_cpus_have_no_number) {
    put_nodes("0,8,16-17\n");
    put_node(0, "0-15\n");
    put_node(1, "\n");
    put_node(8, "16-31\n");
    put_node(16, "32-47\n");
    put_node(17, "48-63\n");
    CHECK_STR(nodes(), "0:0-15 1:16-31 2:32-47 3:48-63 ");
}

TEST_IN_FOLDER(a_node_that_cannot_be_read_has_no_cpus) {
    put_nodes("0-2\n");
    put_node(0, "0-3\n");
    CHECK_STR(nodes(), "0:0-3 ");
    put_node(1, "\n");
    put_node(2, "8-11\n");
    CHECK_STR(nodes(), "0:0-3 2:8-11 ");
}

TEST_IN_FOLDER(broken_files_end_at_the_fault) {
    static const char *const broken[] = {"",    "\n",  "x",    "-1",         "3-",      "5-2",
                                         "0x1", "0 1", "8192", "0-99999999", "99999999"};
    for (size_t i = 0; i < TEST_COUNT(broken); i++) {
        AT("text", i);
        put_nodes(broken[i]);
        CHECK_STR(nodes(), "");
    }

    put_nodes("0-1\n");
    put_node(1, "8\n");
    for (size_t i = 0; i < TEST_COUNT(broken); i++) {
        char text[64];
        AT("text", i);
        snprintf(text, sizeof text, "0-3,%s", broken[i]);
        put_node(0, text);
        CHECK_STR(nodes(), "0:0-3 1:8-8 ");
    }
}

/* With two threads for each core, a machine of 8 nodes may list each CPU alone. */
TEST_IN_FOLDER(a_long_list_of_cpus_is_read_to_its_end) {
    char text[8192] = "", expected[65536] = "";
    put_nodes("0-1\n");
    for (unsigned node = 0; node < 2; node++) {
        *text = 0;
        for (unsigned cpu = node; cpu < 2048; cpu += 2) {
            sprintf(text + strlen(text), "%s%u", *text != 0 ? "," : "", cpu);
            sprintf(expected + strlen(expected), "%u:%u-%u ", node, cpu, cpu);
        }
        strcat(text, "\n");
        put_node(node, text);
    }
    CHECK_STR(nodes(), expected);
}

TEST_IN_FOLDER(a_sandboxed_thread_reads_no_file) {
    put_nodes("0-1\n");
    put_node(0, "0-3\n");
    put_node(1, "4-7\n");
    CHECK_STR(nodes(), "0:0-3 1:4-7 ");
    sandboxed = true;
    CHECK_STR(nodes(), "");
}
