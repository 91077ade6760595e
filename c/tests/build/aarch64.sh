# aarch64.sh - the library for aarch64 compiles without a warning and works, in an emulator.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 240
# needs: aarch64-linux-gnu-gcc qemu-aarch64
# env: HAKMEM_PURGE_THREAD_MB=0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

cross=aarch64-linux-gnu-gcc
# Command-line variables of a make that runs the tests (CC, DEBUG) are not for this build.
check library_compiles env -u MAKEFLAGS make --no-print-directory -s BUILD="$scratch" CC=$cross \
    CFLAGS=-Werror "$scratch/libhakmem.a"

# The helper thread is off (see env above): what it makes libc allocate would be counted.
# runs NAME SOURCE LAST-LINE: compiles the program against the library and runs it.
runs() {
    check "$1_compiles" $cross -g -O1 -fno-builtin -pthread -D_GNU_SOURCE -I c/include -I c/src \
        -I c/tests "$2" "$scratch/libhakmem.a" -o "$scratch/$1"
    check_match "$1_runs" "$(timeout 100 qemu-aarch64 -L /usr/aarch64-linux-gnu "$scratch/$1" 2>&1 |
        tail -n 20)" "$3"
}

runs hello examples/c/hello.c '^refused: +Cannot allocate memory$'
runs producer_consumer examples/c/producer_consumer.c '^400000 messages received, 0 damaged$'
runs grid c/tests/api/grid.c '^[0-9]+ passed, 0 failed'
runs threads c/tests/model/threads.c '^[0-9]+ passed, 0 failed'

finish
