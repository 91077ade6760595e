# plugins.sh - loading and unloading libraries that contain the archive.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# env: HAKMEM_PURGE_DELAY_MS=200
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

folder=$TEST_ROOT/c/tests/process
flags=(-g -O1 -fno-builtin -pthread -D_GNU_SOURCE -I "$TEST_ROOT/c/include" -I "$TEST_ROOT/c/tests")
plugin=$scratch/plugin.so host=$scratch/host

check a_library_that_contains_the_archive_links \
    "$TEST_CC" "${flags[@]}" -shared -fPIC -fvisibility=hidden "$folder/plugin/plugin.c" "$archive" \
    -Wl,--exclude-libs,ALL -o "$plugin"
check its_host_links "$TEST_CC" "${flags[@]}" -DTEST_NO_MAIN "$folder/host/host.c" -ldl -o "$host"

check a_thousand_rounds_of_dlopen_and_dlclose_keep_the_memory_flat "$host" "$plugin" flat
check a_thread_that_used_a_library_may_end_after_dlclose "$host" "$plugin" thread_ends_later
check a_library_may_be_closed_while_its_scavenger_exists "$host" "$plugin" scavenger_is_there
check a_library_works_in_another_namespace "$host" "$plugin" another_namespace
check a_library_may_be_opened_again_in_a_forked_child "$host" "$plugin" child

# The archive in a program. Its start must leave no error for dlerror.
cat >"$scratch/clean.c" <<'END'
#include <dlfcn.h>
#include <hakmem.h>
#include <stdio.h>
int main(void) {
    const char *error = dlerror();
    hak_free(hak_malloc(1));
    puts(error ? error : "none");
    return 0;
}
END
"$TEST_CC" "${flags[@]}" "$scratch/clean.c" "$archive" -ldl -o "$scratch/clean"
check_equal a_program_finds_no_error_of_dlopen_at_its_start "$("$scratch/clean" 2>&1)" none
check_equal so_does_one_that_was_found_in_the_path "$(PATH=$scratch:$PATH clean 2>&1)" none
check_equal so_does_one_with_the_library_preloaded "$(preloaded "$scratch/clean" 2>&1)" none

finish
