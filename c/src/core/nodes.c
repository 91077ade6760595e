/* core/nodes.c - the NUMA nodes of the machine. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "nodes.h"

#include "../base/string.h"
#include "meta.h"

struct hk_nodes *hk_nodes_several;

/* Notes the CPUs of a node in the table, which the first range creates. */
static void nodes_note(void *arg, uint32_t node, uint32_t first, uint32_t last) {
    struct hk_nodes **table = arg;
    if (*table == NULL) {
        *table = hk_meta_alloc(sizeof **table);
        if (*table == NULL)
            return;
        memset(*table, 0, sizeof **table);
    }

    node %= HK_NODES_MAX;
    for (uint32_t cpu = first; cpu <= last && cpu < HK_OS_CPUS_MAX; cpu++) {
        (*table)->of_cpu[cpu] = (uint8_t)node;
        (*table)->cpus[node]++;
    }
}

/* Counts the nodes of a table. Returns false if only one has CPUs, because a file is missing. */
static bool nodes_count(struct hk_nodes *table) {
    uint32_t with_cpus = 0;
    for (uint32_t node = 0; node < HK_NODES_MAX; node++) {
        table->all_cpus += table->cpus[node];
        if (table->cpus[node] > 0) {
            table->count = node + 1;
            with_cpus++;
        }
    }
    return with_cpus > 1;
}

void hk_nodes_read(void) {
    static uint32_t done; /* atomic */
    /* relaxed: a hint. A thread that sees it before the table counts as one on node 0. */
    if (hk_load_relaxed(&done))
        return;

    struct hk_nodes *table = NULL, *none = NULL;
    hk_os_nodes(nodes_note, &table);
    /* acq_rel: publishes the table. It pairs with the acquire in hk_nodes. One thread wins. */
    bool used =
        table != NULL && nodes_count(table) && hk_cas_acq_rel(&hk_nodes_several, &none, table);
    if (table != NULL && !used)
        hk_meta_free(table, sizeof *table);
    hk_store_relaxed(&done, 1); /* relaxed: as above */
}
