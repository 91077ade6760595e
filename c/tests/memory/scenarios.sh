# scenarios.sh - short versions of the scenarios of `make memory`, compared with their limits.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 120
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

programs=$TEST_ROOT/build/memory

# scenario NAME PROGRAM ARGUMENT...: runs it, and checks each value that has a limit.
scenario() {
    local name=$1 lines word figure value limit unit
    shift
    if ! lines=$(preloaded "$programs/$1" "${@:2}" 2>&1); then
        not_ok "$name" "$lines"
        return
    fi
    while read -r word figure value limit unit; do
        [[ $word == figure ]] || continue
        echo "    $name: $figure $value $unit, at most $limit"
        [[ $limit == - ]] || check_at_most "${name}_$figure" "$value" "$limit"
    done <<<"$lines"
    # A scenario without values must not pass.
    check_match "${name}_has_figures" "$lines" '^figure .* [0-9]+ [^-]* *$'
}

check the_scenarios_build make -s -C "$TEST_ROOT/benches" memory CC="$TEST_CC"
scenario a_burst_goes_back burst 256 0 4
scenario pages_between_kept_blocks_go_back burst 256 16 4
scenario memory_does_not_pile_up_where_it_is_freed handover 4 65536
scenario sleeping_threads_hold_little threads 1000 1024 4
scenario drifting_sizes_do_not_add_up phases 9 128
scenario a_vector_grows_without_a_copy growth 512
scenario a_small_program_stays_small idle 1500

# ---- Huge pages ------------------------------------------------------------------------------------

# asks_for_huge_pages ARGUMENT...: counts how often the scenario `dense` requests huge pages.
asks_for_huge_pages() {
    strace -f -qq -e trace=madvise -o "$scratch/trace" -E "LD_PRELOAD=$library" \
        "$programs/dense" "$@" >/dev/null 2>"$scratch/errors" || return
    grep -c 'MADV_HUGEPAGE' "$scratch/trace" || true
}

if ! installed strace; then
    skip huge_pages "not installed: strace"
elif ! strace -qq -o /dev/null true 2>/dev/null; then
    skip huge_pages "strace may not trace here"
else
    check_equal a_program_below_the_threshold_never_asks_for_huge_pages \
        "$(asks_for_huge_pages 3 1)" 0
    check_match a_large_program_does "$(asks_for_huge_pages 20 1)" '^[1-9]'
    export HAKMEM_HUGE_PAGE_MB=0
    check_equal with_the_option_at_zero_it_does_not "$(asks_for_huge_pages 100 1)" 0
    unset HAKMEM_HUGE_PAGE_MB
fi

finish
