# hakmem_run.sh - hakmem-run runs a program with the library and the options that it is given.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 120
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

run=$TEST_BUILD/hakmem-run
real_library=$(readlink -f "$TEST_BUILD")/libhakmem.so.0

# variables OPTION...: prints the variables that a program gets, sorted.
variables() {
    "$run" "$@" -- env 2>&1 | grep -E '^(HAKMEM_|LD_PRELOAD=)' | sort | xargs
}

# refused NAME REGEX ARGUMENT...: the status is 2, the message matches, and the program has not run.
refused() {
    local output status
    output=$("$run" "${@:3}" 2>&1)
    status=$?
    check_match "$1" "status $status: $output" "^status 2: hakmem-run: $2"
}

# ---- The program ------------------------------------------------------------------------------------

check_match the_program_runs_on_hakmem "$("$run" --stats true 2>&1)" '^ +[0-9]+  Bytes in live blocks$'
check_equal the_program_gets_its_arguments \
    "$("$run" --stats=0 -- printf '<%s>' --stats 'a b' '' --)" '<--stats><a b><><-->'
check_equal the_double_dash_may_be_left_out "$("$run" --stats=0 printf '<%s>' --stats)" '<--stats>'
"$run" sh -c 'exit 7'
check_equal the_status_is_that_of_the_program $? 7
"$run" "$scratch/missing" 2>/dev/null
check_equal the_status_is_127_without_a_program $? 127
check_equal only_the_library_is_preloaded "$(variables)" "LD_PRELOAD=$real_library"
check_equal libraries_to_preload_are_kept_after_ours "$(LD_PRELOAD=$library variables)" \
    "LD_PRELOAD=$real_library:$library"

# ---- Options ----------------------------------------------------------------------------------------

preload="LD_PRELOAD=$real_library"
check_equal options_become_variables "$(variables --purge-delay-ms=250 --limit-hard=90%)" \
    "HAKMEM_LIMIT_HARD=90% HAKMEM_PURGE_DELAY_MS=250 $preload"
check_equal underscores_are_dashes "$(variables --purge_delay_ms=250)" "HAKMEM_PURGE_DELAY_MS=250 $preload"
check_equal an_option_without_a_value_is_1 "$(variables --stats=0 --checks)" \
    "HAKMEM_CHECKS=1 HAKMEM_STATS=0 $preload"
check_equal an_option_replaces_the_variable "$(HAKMEM_HEAPS=3 HAKMEM_PREWARM=tiny variables --heaps=2)" \
    "HAKMEM_HEAPS=2 HAKMEM_PREWARM=tiny $preload"

refused an_unknown_option_is_refused '--purge-delay: there is no such option' --purge-delay=1 -- echo started
refused a_short_option_is_refused '-s: there is no such option' -s -- echo started
refused a_value_that_is_missing_is_refused '--heaps: needs a value: 0 to 256' --heaps echo started
refused a_value_out_of_range_is_refused '--heaps=257: not a value of --heaps: 0 to 256' \
    --heaps=257 echo started
refused a_second_line_of_a_value_is_refused '--heaps=1' $'--heaps=1\n2' echo started
refused no_program_is_refused 'no program' --stats
refused no_arguments_are_refused 'no program'

help=$("$run" --help)
check_equal the_help_names_every_option "$(sed -nE 's/^  --([a-z-]+)=.*/\1/p' <<<"$help" | tr - _)" \
    "$(sed -nE 's/^[A-Z_]*OPTION\(([a-z_]+),.*/\1/p' "$TEST_ROOT/c/src/core/options.def")"
version=$(sed -n 's/^.define HAK_VERSION_STRING "\(.*\)"/\1/p' "$TEST_ROOT/c/include/hakmem.h")
check_equal the_version_is_that_of_the_library "$("$run" --version)" "hakmem $version"
# The signal is ignored, as in programs that start hakmem-run from Python.
check the_help_ends_if_nothing_reads_it timeout 10 bash -c \
    "trap '' PIPE; '$run' --help 2>/dev/null | head -n 1"

# ---- hakmem-run and the library accept the same values -----------------------------------------------

check the_probe_compiles "$TEST_CC" -I "$TEST_ROOT/c/include" "$TEST_ROOT/c/tests/env/probe/probe.c" \
    "$archive" -pthread -o "$scratch/probe"

# differences NAME VALUE...: prints the values that only one of the two accepts.
differences() {
    local name=$1 value ours theirs
    shift
    for value; do
        ours=yes theirs=yes
        "$run" "--$name=$value" true 2>/dev/null || ours=no
        env "HAKMEM_${name^^}=$value" "$scratch/probe" 2>&1 | grep -qE 'not (one|a number) of|not a number' &&
            theirs=no
        [[ $ours == "$theirs" ]] || echo "$name=$value: hakmem-run says $ours, the library $theirs"
    done
}

huge=99999999999999999999
sizes=(0 1 08 200M 1.5G 64KiB 64kb 64kiB 1T 0.5k 1.1234567M 1.123456M .5M 1.M 1..5M 1.5.5M 1.5 M 5X
    5Mi 5MIB 5MBx 0% 100% 101% 50%% % 1.5% 8388606T 8388607T 8388608T
    9223372036854775807 9223372036854775808 "$huge")
while IFS=$'\t' read -r name values _; do
    case $values in
    bytes*) candidates=("${sizes[@]}") ;;
    *' to '*)
        least=${values% to *} most=${values#* to }
        candidates=("$least" "$most" "${most}0" 007 1.5 -1 +1 1x "$huge")
        ;;
    *) candidates=("${values%%|*}" "${values##*|}" "${values%%|*}x" "$values" '*' no_such) ;;
    esac
    check_equal "the_library_accepts_the_same_values_of_$name" \
        "$(differences "$name" "${candidates[@]}" '' ' ')" ""
done < <("$TEST_ROOT/c/tools/options" table | grep -v $'\ta text of')

# ---- An option of another kind, such as a later version may have -------------------------------------

folder=$(realpath --relative-to="$(readlink -f "$scratch")" "$TEST_BUILD")
sed -e "s|^library_folder=.*|library_folder=$folder|" \
    -e $'/^prewarm\t/i\\\nlog_file\ta text of at most 255 bytes\ta file\tlog.%p' "$run" >"$scratch/later"
chmod +x "$scratch/later"
ln -s later "$scratch/link"
run=$scratch/link
check_equal a_text_is_passed_on_as_it_is "$(variables '--log-file=a=b|%p')" "HAKMEM_LOG_FILE=a=b|%p $preload"
refused an_empty_text_is_refused '--log-file=: not a value' --log-file= echo started

sed -i 's|^library_folder=.*|library_folder=.|' "$scratch/later"
refused a_library_that_is_missing_is_named ".*/libhakmem.so.0: there is no such library" echo started

finish
