/* os/nodes_linux.c - the OS boundary on Linux: the NUMA nodes of the CPUs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The kernel lists numbers as ranges, such as "0-3,8-11". A list of many CPUs may be longer than
 * the buffer of a line, so each range is read as a line of its own.
 */
#include "check.h"
#include "file_linux.h"
#include "os.h"

#define OS_NODES HK_OS_ROOT "/sys/devices/system/node/"

/* Reads the number at *text, and moves *text past it. Returns false if there is none, or if it is
 * larger than any number of a CPU or of a node. */
static bool os_node_number(const char **text, uint32_t *number) {
    const char *start = *text;
    *number = 0;
    for (; **text >= '0' && **text <= '9' && *number < HK_OS_CPUS_MAX; ++*text)
        *number = *number * 10 + (uint32_t)(**text - '0');
    return *text > start && *number < HK_OS_CPUS_MAX;
}

/* Calls `visit` for each range of a list. Stops at the first one that is not a range. */
static void os_each_range(const char *path, void (*visit)(void *arg, uint32_t first, uint32_t last),
                          void *arg) {
    struct os_lines lines;
    if (!os_lines_open(&lines, path, ','))
        return;

    const char *at;
    uint32_t first, last;
    while ((at = os_lines_next(&lines)) != NULL && os_node_number(&at, &first)) {
        last = first;
        if (*at == '-' && (++at, !os_node_number(&at, &last)))
            break;
        if ((*at != 0 && *at != '\n') || last < first)
            break;
        visit(arg, first, last);
    }

    os_lines_close(&lines);
}

static void os_count_nodes(void *arg, uint32_t first, uint32_t last) {
    uint32_t *nodes = arg;
    *nodes += last - first + 1;
}

struct os_node_visit {
    void (*visit)(void *arg, uint32_t node, uint32_t first, uint32_t last);
    void *arg;
    uint32_t node; /* as the caller counts them */
};

static void os_visit_cpus(void *arg, uint32_t first, uint32_t last) {
    const struct os_node_visit *to = arg;
    to->visit(to->arg, to->node, first, last);
}

static void os_visit_nodes(void *arg, uint32_t first, uint32_t last) {
    struct os_node_visit *to = arg;
    char path[sizeof OS_NODES "node4294967295/cpulist"];

    for (uint32_t number = first; number <= last; number++) {
        struct hk_text text = {path, path + sizeof path - 1};
        hk_text_add(&text, OS_NODES "node");
        hk_text_add_number(&text, number);
        hk_text_add(&text, "/cpulist");
        *text.at = 0;
        os_each_range(path, os_visit_cpus, to);
        to->node++;
    }
}

void hk_os_nodes(void (*visit)(void *arg, uint32_t node, uint32_t first, uint32_t last),
                 void *arg) {
    struct os_node_visit to = {visit, arg, 0};
    uint32_t nodes = 0;
    if (hk_os_is_sandboxed())
        return;
    os_each_range(OS_NODES "has_cpu", os_count_nodes, &nodes);
    if (nodes > 1)
        os_each_range(OS_NODES "has_cpu", os_visit_nodes, &to);
}
