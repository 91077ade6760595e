# riscv64.sh - the library for riscv64 compiles without a warning, and passes its tests in an emulator.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 600
# needs: riscv64-linux-gnu-gcc qemu-riscv64

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

# Tests that do not say anything about the processor, with the reason.
left_out=(
    api/stack                                            # the unwinder needs more stack there
    api/limits api/zeroed unit/large unit/out_of_memory  # they take a minute or more in an emulator
    unit/limit unit/nth_failure unit/stopped             # the same
    unit/barrier_linux unit/os_linux unit/surroundings   # they examine the kernel, which is emulated
    unit/pagemap                                         # it needs prctl(PR_SET_THP_DISABLE)
    unit/purge unit/watch                                # the emulator crashes in a child with threads
)

export CC=riscv64-linux-gnu-gcc BUILD=$scratch
export TEST_RUNNER='qemu-riscv64 -L /usr/riscv64-linux-gnu' TEST_LINKS='archive fake_os' TEST_SLOWDOWN=4

# Ignore command-line variables of the make that runs the tests (CC, DEBUG).
check library_compiles env -u MAKEFLAGS make --no-print-directory -s BUILD="$scratch" CC=$CC \
    CFLAGS=-Werror "$scratch/libhakmem.a"

tests=()
for source in c/tests/{api,unit}/*.c; do
    name=${source#c/tests/}
    [[ " ${left_out[*]} " == *" ${name%.c} "* ]] || tests+=("$source")
done
check_match tests_of_the_interface_and_of_the_modules_pass "$(c/tests/run "${tests[@]}" 2>&1)" \
    '^[0-9]{3} passed, 0 failed'

finish
