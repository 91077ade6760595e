# deepbind.sh - a plugin that is opened with RTLD_DEEPBIND uses the allocator of the process.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: readelf
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# The plugin frees blocks of the host and of libc, and passes its own blocks to the host.
cat >"$scratch/plugin.c" <<'END_C'
#include <stdlib.h>
#include <string.h>
char *plugin_exchange(char *of_host) {
    free(of_host);
    free(strdup("a block of libc"));
    char *line = malloc(100);
    line = realloc(line, 10000);
    return strcpy(line, "exchanged");
}
END_C
cat >"$scratch/host.c" <<'END_C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (plugin == NULL)
        return puts(dlerror()), 1;
    char *(*exchange)(char *) = (char *(*)(char *))dlsym(plugin, "plugin_exchange");
    for (int i = 0; i < 100; i++) {
        char *line = exchange(malloc(100));
        if (i == 99)
            puts(line);
        free(line);
    }
    return 0;
}
END_C
mkdir "$scratch/beside"
build() {
    "$TEST_CC" -fno-builtin -shared -fPIC "$scratch/plugin.c" -o "$scratch/beside/plugin.so" &&
        "$TEST_CC" -fno-builtin -w "$scratch/host.c" -o "$scratch/host" -Wl,-rpath,'$ORIGIN/beside' -ldl &&
        "$TEST_CC" -fno-builtin -w "$scratch/host.c" -o "$scratch/linked" -Wl,-rpath,'$ORIGIN/beside' \
            -L"$TEST_BUILD" -lhakmem -Wl,-rpath,"$TEST_BUILD" -Wl,--no-as-needed -ldl
}
check host_and_plugin_compile build

check_equal a_deeply_bound_plugin_exchanges_blocks_with_the_host \
    "$(preloaded "$scratch/host" "$scratch/beside/plugin.so" 2>&1)" exchanged
check_equal a_host_that_links_the_library_exchanges_blocks_too \
    "$("$scratch/linked" "$scratch/beside/plugin.so" 2>&1)" exchanged

# A name without a path is found with the RUNPATH of the program that calls dlopen.
check_equal the_runpath_of_the_caller_is_searched "$(preloaded "$scratch/host" plugin.so 2>&1)" exchanged

# With the flag, the plugin uses libc's malloc, so the first free of a foreign block ends the program.
result=$(HAKMEM_DEEPBIND=keep preloaded "$scratch/host" "$scratch/beside/plugin.so" 2>&1)
check the_option_passes_the_flag_on test "$result" != exchanged

finish
