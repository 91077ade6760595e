# counts.sh - memory system calls of the benchmark programs, and the memory of an idle process.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 120
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# ---- mmap + munmap + madvise -----------------------------------------------------------------------

# calls PROGRAM...: counts the calls of the program and its threads, including those of the loader.
calls() {
    strace -f -qq -e trace=mmap,munmap,madvise -o "$scratch/trace" -E "LD_PRELOAD=$library" "$@" \
        >/dev/null 2>"$scratch/errors" && ! grep -q 'cannot be preloaded' "$scratch/errors" || return
    grep -cE '(mmap|munmap|madvise)\(' "$scratch/trace"
}

# limit MOST PROGRAM ARGUMENT...
limit() {
    local most=$1 name=$2 count
    shift 2
    local label
    label=${name}_$(tr ' ' _ <<<"$*")_makes_at_most_${most}_calls
    if ! installed strace; then
        skip "$label" "not installed: strace"
    elif ! strace -qq -o /dev/null true 2>/dev/null; then
        skip "$label" "strace may not trace here"
    elif ! [[ -x $TEST_ROOT/build/bench/$name ]]; then
        skip "$label" "the benchmark programs are not built"
    elif count=$(calls "$TEST_ROOT/build/bench/$name" "$@"); then
        echo "    $name $*: $count calls"
        check_at_most "$label" "$count" "$most"
    else
        not_ok "$label" "$(cat "$scratch/errors")"
    fi
}

if [[ -f $TEST_ROOT/benches/Makefile ]]; then
    check the_benchmark_programs_build make -s -C "$TEST_ROOT/benches" bench CC="$TEST_CC"
fi
# Three of these are for the class map and the page that detects a fork, which were in .bss before. One
# asks whether the vDSO is mapped, which mincore did before, a call that is not counted here.
limit 22 bench_random_mixed 100000 256 42
# 17 of these return the memory that the thread freed last, because there is no scavenger.
limit 46 bench_pool_tls 1 100000 256 42
# Two thirds return fragments after three of the four threads have ended, and their number varies.
limit 160 bench_pool_tls 4 50000 256 42

# ---- An idle process -------------------------------------------------------------------------------

cat >"$scratch/idle.c" <<'END'
#include <stdlib.h>
#include <unistd.h>
int main(void) {
    free(malloc(1));
    write(1, "x", 1);
    pause();
    return 0;
}
END

# idle_kib COMMAND...: prints its resident and anonymous KiB when it is idle. The files of libc do not
# count: which of their pages the kernel maps beside those in use depends on the machine.
idle_kib() {
    coproc idle { exec "$@"; }
    local pid=$!
    read -r -n 1 -u "${idle[0]}"
    awk '$1 ~ /^[0-9a-f]+-/ { libc = $6 ~ /\/(libc|ld)[-.]/ }
         $1 == "Rss:" { resident = $2 }
         $1 == "Anonymous:" { anonymous += $2; all += libc ? $2 : resident }
         END { print all, anonymous }' "/proc/$pid/smaps"
    kill "$pid"
    wait "$pid" 2>/dev/null
}

build_idle() {
    "$TEST_CC" -O1 -fno-builtin "$scratch/idle.c" -o "$scratch/idle" &&
        "$TEST_CC" -O1 -fno-builtin "$scratch/idle.c" "$archive" -pthread -o "$scratch/idle_linked"
}
check the_idle_program_compiles build_idle
read -r plain plain_anonymous < <(idle_kib "$scratch/idle")
read -r linked linked_anonymous < <(idle_kib "$scratch/idle_linked")
read -r preloaded preloaded_anonymous < <(idle_kib env LD_PRELOAD="$library" "$scratch/idle")
echo "    an idle process: $plain KiB with libc's malloc, $linked linked, $preloaded preloaded"
echo "    anonymous: $plain_anonymous KiB, $linked_anonymous linked, $preloaded_anonymous preloaded"
check_at_most an_idle_process_that_links_the_archive_holds_at_most_384_kib_more $((linked - plain)) 384
check_at_most an_idle_process_that_preloads_holds_at_most_384_kib_more $((preloaded - plain)) 384
check_at_most an_idle_process_holds_at_most_128_kib_of_its_own_more \
    $((preloaded_anonymous - plain_anonymous)) 128

finish
