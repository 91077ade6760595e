/* program.c - succeeds only if its malloc is hakmem's. The tests build it in other projects.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <hakmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char *p = malloc(100), *copy = strdup("copied by the C library");
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    int ours = p && copy && stats.bytes_live >= 100 && hak_usable_size(copy) >= strlen(copy) &&
               hak_validate() == 0;
    free(p);
    hak_free(copy);
    puts(strcmp(hak_version(), HAK_VERSION_STRING) == 0 && ours ? "ours" : "not ours");
    return !ours;
}
