# aarch64.sh - the library for aarch64 compiles without a warning and works, in an emulator, with pages
# of 4, 16 and 64 KiB.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 480
# needs: aarch64-linux-gnu-gcc qemu-aarch64
# env: HAKMEM_PURGE_THREAD_MB=0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

cross=aarch64-linux-gnu-gcc
# Ignore command-line variables of the make that runs the tests (CC, DEBUG).
check library_compiles env -u MAKEFLAGS make --no-print-directory -s BUILD="$scratch" CC=$cross \
    CFLAGS=-Werror "$scratch/libhakmem.a"

# The scavenger is off (see env above), because libc's allocations for it would be counted.
# compiles NAME SOURCE: against the library.
compiles() {
    check "$1_compiles" $cross -g -O1 -fno-builtin -pthread -D_GNU_SOURCE -I c/include -I c/src \
        -I c/tests "$2" "$scratch/libhakmem.a" -o "$scratch/$1"
}

emulated() {
    timeout 100 qemu-aarch64 -L /usr/aarch64-linux-gnu "$scratch/$1" 2>&1
}

compiles hello examples/c/hello.c
check_match hello_runs "$(emulated hello)" '^refused: +Cannot allocate memory$'
compiles producer_consumer examples/c/producer_consumer.c
check_match producer_consumer_runs "$(emulated producer_consumer)" \
    '^400000 messages received, 0 damaged$'
compiles grid c/tests/api/grid.c
check_tests grid_passes "$(emulated grid)"
compiles threads c/tests/model/threads.c
check_tests threads_pass "$(emulated threads)"

# Pages of other sizes. Only a static program is laid out for all of them.
pages_tests=(c/tests/api/{mixed,options,prewarm,realloc,report,sized_free,stats}.c c/tests/libc/own_memory.c)
for kib in 16 64; do
    check_match "tests_pass_with_pages_of_${kib}_kib" "$(
        export CC=$cross BUILD=$scratch TEST_FLAGS=-static TEST_LINKS=archive TEST_SLOWDOWN=4
        TEST_RUNNER="qemu-aarch64 -p $((kib * 1024))" c/tests/run "${pages_tests[@]}" 2>&1
    )" '^[0-9]{3} passed, 0 failed'
done

cat >"$scratch/page.c" <<'END_C'
#include <stdio.h>
#include <unistd.h>
int main(void) { return printf("%ld\n", sysconf(_SC_PAGESIZE)) < 0; }
END_C
check page_compiles $cross -static "$scratch/page.c" -o "$scratch/page"
check_equal the_emulator_has_pages_of_64_kib "$(qemu-aarch64 -p 65536 "$scratch/page")" 65536

# A C program that throws an exception like C++, so that no C++ compiler is needed.
cat >"$scratch/throws.c" <<'END_C'
#include <stdio.h>
void *throws_allocate(unsigned long bytes) __asm__("__cxa_allocate_exception");
void throws_throw(void *, void *, void *) __asm__("__cxa_throw");
void *throws_set_handler(void (*handler)(void)) __asm__("_ZSt15set_new_handlerPFvvE");
void *throws_new(unsigned long bytes, const void *tag) __asm__("_ZnwmRKSt9nothrow_t");
extern char throws_int __asm__("_ZTIi"), throws_tag __asm__("_ZSt7nothrow");
static void handler(void) { throws_throw(throws_allocate(sizeof(int)), &throws_int, NULL); }
int main(void) {
    throws_set_handler(handler);
    puts(throws_new(1UL << 62, &throws_tag) == NULL ? "caught" : "a block");
    return 0;
}
END_C
runtime=/usr/aarch64-linux-gnu/lib/libstdc++.so.6
if [[ -e $runtime ]]; then
    check throws_compiles $cross -fexceptions -pthread "$scratch/throws.c" "$scratch/libhakmem.a" $runtime \
        -o "$scratch/throws"
    check_equal an_exception_of_a_new_handler_is_caught \
        "$(timeout 100 qemu-aarch64 -L /usr/aarch64-linux-gnu "$scratch/throws" 2>&1)" caught
else
    skip an_exception_of_a_new_handler_is_caught "not installed: $runtime"
fi

finish
