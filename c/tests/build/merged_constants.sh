# merged_constants.sh - the library works if equal constants share one address.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 120

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

check library_compiles env -u MAKEFLAGS make --no-print-directory -s BUILD="$scratch" CC="$TEST_CC" \
    CFLAGS="-O2 -fmerge-all-constants" "$scratch/libhakmem.a"
check test_compiles "$TEST_CC" -g -O1 -fno-builtin -pthread -D_GNU_SOURCE -I c/include -I c/src -I c/tests \
    c/tests/stress/many_threads.c "$scratch/libhakmem.a" -o "$scratch/threads"
check_tests threads_start_and_end "$("$scratch/threads" 2>&1)"

# The objects that the code distinguishes by address or content.
sentinels=$(nm "$scratch/libhakmem.a" 2>/dev/null | awk '$3 ~ /^tcache_(uninitialized|disabled)$/ { print $1 }')
check_equal the_sentinel_caches_are_two "$(sort -u <<<"$sentinels" | wc -l)" 2

finish
