/* probe.c - prints the values of the options named by its arguments, one per line.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "hakmem.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef CONF
const char *hak_conf = CONF;
#endif

int main(int argc, char **argv) {
    free(malloc(1));
    for (int i = 1; i < argc; i++) {
        char value[32];
        int error = hak_option_get(argv[i], value, sizeof value);
        if (error)
            printf("error %d\n", error);
        else
            puts(value);
    }
    return 0;
}
