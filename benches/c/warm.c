/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Touches memory and ends. A virtual machine that gives free pages back to its host pays for their next first
 * touch. A measurement that starts with warm memory does not.
 */
#include "bench.h"

#include <sys/mman.h>

int main(int argc, char **argv) {
    if (argc != 2)
        bench_usage("warm MIB");
    size_t bytes = bench_number(argv[1], 1, 1 << 20, "warm MIB") << 20;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_fail("mmap", errno);
    madvise(memory, bytes, MADV_HUGEPAGE); /* small pages serve as well */
    for (size_t at = 0; at < bytes; at += 4096)
        memory[at] = 1;
    return EXIT_SUCCESS;
}
