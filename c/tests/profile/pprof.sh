# pprof.sh - a profile is read by the program pprof, with its values, its symbols and its modules.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# needs: go
# timeout: 120
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# pprof downloads nothing, and writes only below this folder.
export HOME=$scratch PPROF_TMPDIR=$scratch PPROF_BINARY_PATH=$scratch
if ! go tool pprof -h >"$scratch/help" 2>&1 && ! grep -q 'Usage' "$scratch/help"; then
    skip pprof_reads_a_profile "go tool pprof does not work here"
    finish
fi

cat >"$scratch/program.c" <<'END'
#include <hakmem.h>
#include <stdio.h>

static void take(void *file, const char *text, size_t bytes) { fwrite(text, 1, bytes, file); }

__attribute__((noinline)) static void *site_kept(void) {
    void *block = NULL;
    for (int i = 0; i < 10; i++) {
        block = hak_malloc(3000);
        __asm__ volatile("" : : "r"(block) : "memory");
    }
    return block;
}

__attribute__((noinline)) static void *site_freed(void) {
    void *block = hak_malloc(500000);
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

int main(int count, char **arguments) {
    FILE *file = fopen(arguments[1], "wb");
    struct hak_profile_options options = {.rate = 1};
    if (file == NULL || count < 2 || hak_profile_start(&options, sizeof options) != 0)
        return 1;
    site_kept();
    hak_free(site_freed());
    hak_profile_stop();
    int error = hak_profile_write(HAK_PROFILE_PPROF, take, file);
    return error != 0 || fclose(file) != 0;
}
END

check the_program_links "$TEST_CC" -g -O1 -pthread -I "$TEST_ROOT/c/include" "$scratch/program.c" "$archive" \
    -o "$scratch/program" -Wl,--build-id
check the_profile_is_written "$scratch/program" "$scratch/heap.pb"

# value INDEX SITE: prints the flat value of a site, without its unit.
value() {
    go tool pprof -top -unit=B -sample_index="$1" "$scratch/program" "$scratch/heap.pb" 2>"$scratch/errors" |
        awk -v site="$2" '$NF == site || $(NF - 1) == site { sub(/B$/, "", $1); print $1 }'
}

check_equal the_bytes_in_use_are_those_of_the_program "$(value inuse_space site_kept)" 30000
check_equal the_blocks_in_use_are_those_of_the_program "$(value inuse_objects site_kept)" 10
check_equal all_allocated_bytes_are_counted "$(value alloc_space site_freed)" 500000
check_equal all_allocated_blocks_are_counted "$(value alloc_objects site_freed)" 1
check_equal a_site_without_live_blocks_is_not_in_use "$(value inuse_space site_freed)" ""

raw=$(go tool pprof -raw "$scratch/heap.pb" 2>&1)
check_match the_types_are_those_of_go "$raw" \
    '^alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes\[dflt\]'
check_match the_period_is_the_rate "$raw" '^Period: 1$'
build_id=$(readelf -n "$scratch/program" | sed -n 's/.*Build ID: //p')
check_match the_program_is_the_first_mapping_and_has_its_build_id "$raw" "^1: 0x.*/program $build_id"

finish
