/* core/nodes.h - the NUMA nodes of the machine.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the node of each CPU, by which heaps and transfer caches are chosen. The nodes are
 * read once, when the program has its second thread. Until then, and on a machine with one node,
 * all CPUs belong to node 0. So does a CPU that is not known, because a wrong node costs only
 * locality.
 * Owns: the table, which exists only on a machine with several nodes.
 * Threads: any, without a lock. Boundary: hk_os_nodes, core/meta.
 */
#ifndef HK_CORE_NODES_H
#define HK_CORE_NODES_H

#include "../base/atomic.h"
#include "../os/os.h"

#define HK_NODES_MAX 64u /* further nodes share these numbers */

struct hk_nodes {
    uint32_t count;                 /* of the nodes, at least 2. They are numbered from 0 */
    uint32_t cpus[HK_NODES_MAX];    /* of each node, */
    uint32_t all_cpus;              /* and of all */
    uint8_t of_cpu[HK_OS_CPUS_MAX]; /* the node of each CPU */
};

/* atomic; NULL while there is one node. The table is const. */
extern struct hk_nodes *hk_nodes_several;

/* Reads the nodes, unless that was done. It is called without a lock. */
void hk_nodes_read(void);

/* The table, or NULL while there is one node. */
static inline const struct hk_nodes *hk_nodes(void) {
    /* acquire: the table. It pairs with the release in hk_nodes_read. */
    return hk_load_acquire(&hk_nodes_several);
}

/* The number of nodes. */
static inline uint32_t hk_nodes_count(void) {
    const struct hk_nodes *nodes = hk_nodes();
    return hk_likely(nodes == NULL) ? 1 : nodes->count;
}

/* The node of a CPU. */
static inline uint32_t hk_nodes_of(uint32_t cpu) {
    const struct hk_nodes *nodes = hk_nodes();
    return hk_likely(nodes == NULL) || cpu >= HK_OS_CPUS_MAX ? 0 : nodes->of_cpu[cpu];
}

#endif
