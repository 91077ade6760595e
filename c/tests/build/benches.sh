# benches.sh - the benchmark of many threads runs, and its tables have all rows and columns.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: cargo
# timeout: 400

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

if [[ ! -f build/libhakmem.so ]]; then
    skip benches "build/libhakmem.so is not built"
    finish
fi
export QUICK=1

# scaling ALLOCATOR...: prints the tables of these allocators.
scaling() {
    "${CARGO:-cargo}" run --release --quiet --package hakmem-reports -- scaling "$@"
}

if ! reason=$("${CARGO:-cargo}" build --release --quiet --package hakmem-reports 2>&1); then
    skip benches "the program of the benchmarks is not built: $(grep -m 1 '^error' <<<"$reason")"
    finish
fi
check the_benchmark_programs_build make -s -C benches bench CC="$TEST_CC"

# table TITLE: prints the lines below the header of the table with this title prefix.
table() {
    awk -v title="$1" '
        index($0, title) == 1 { found = 1 }
        found && /^$/ { blank++ }
        found && blank == 1 && NF > 0 && ++lines > 1
        blank == 2 { exit }' "$scratch/tables"
}

rows_of() {
    table "$1" | awk '{ print $1 }' | uniq | xargs
}

scaling system hakmem >"$scratch/tables" 2>"$scratch/errors"
check_equal scaling_runs_on_two_allocators $? 0
all_rows='small pool larson exchange churn blocking'
for title in 'M ops/s' 'peak RSS' 'page faults' 'hakmem, counts'; do
    check_equal "rows_of_${title// /_}" "$(rows_of "$title")" "$all_rows"
done
check_equal only_the_pool_of_sleeping_threads_tells_rss_asleep "$(rows_of 'RSS while all')" blocking
check_equal glibc_and_hakmem_trim "$(table 'the same after' | grep -c -w -e -)" 0
check_equal no_number_of_threads_is_there_twice \
    "$(table 'M ops/s' | awk '{ print $1, $2 }' | sort | uniq -d)" ""
check_match two_threads_for_each_cpu_are_there "$(table 'M ops/s')" "^small +$((2 * $(nproc))) "
check_equal figures_are_positive "$(table 'M ops/s' | awk '$3 <= 0 || $4 <= 0')" ""
if build/bench/bench_quota 2 2 1 1 1 42 >/dev/null 2>"$scratch/errors"; then
    check_equal three_processes_run_on_two_cpus "$(table 'hakmem, 8 threads' | grep -c CPUs)" 3
else
    skip three_processes_run_on_two_cpus "$(cat "$scratch/errors")"
fi
check_equal slow_calls_are_timed_on_1_2_and_64_threads \
    "$(table 'hakmem, slow calls' | awk '{ print $1, $2 }' | xargs)" \
    '1 refill 1 flush 2 refill 2 flush 64 refill 64 flush'
check_equal quantiles_of_slow_calls_rise \
    "$(table 'hakmem, slow calls' | awk '!($3 > 0 && $4 <= $5 && $5 <= $6 && $6 <= $7)')" ""
check_match the_last_line_tells_rounds_and_cores "$(tail -n 1 "$scratch/tables")" \
    "^Medians of 1 rounds on $(nproc) cores.$"

check_match an_unknown_allocator_is_refused "$(scaling other 2>&1)" "'other' is none of"
scaling system >"$scratch/tables" 2>"$scratch/errors"
check_equal scaling_runs_without_hakmem $? 0
check_equal tables_of_hakmem_are_left_out_then "$(grep -c ^hakmem "$scratch/tables")" 0

finish
