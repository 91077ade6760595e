# options.sh - options from the environment and from hak_conf.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# build_probe NAME FLAGS...
build_probe() {
    "$TEST_CC" -I "$TEST_ROOT/c/include" "${@:2}" "$TEST_ROOT/c/tests/env/probe/probe.c" "$archive" \
        -pthread -o "$scratch/$1"
}
check the_probe_compiles build_probe probe
check the_probe_with_hak_conf_compiles build_probe probe_conf \
    '-DCONF="purge_delay_ms=77,thread_cache_kb=33,prewarm=tiny"'
check the_probe_with_a_bad_hak_conf_compiles build_probe probe_bad_conf \
    '-DCONF="purge_delay_ms=x,no_such=1,,thread_cache_kb=44"'

# probe ENVIRONMENT... -- OPTION...: prints standard error and output of the probe.
probe() {
    local -a assigned=()
    while [[ $1 != -- ]]; do
        assigned+=("$1")
        shift
    done
    shift
    env "${assigned[@]}" "$scratch/${program:-probe}" "$@" 2>&1
}

# A profile at exit goes nowhere.
export HAKMEM_PROFILE_FILE=/dev/null

# ---- Every option in options.def parses --------------------------------------------------------------

# check_takes VARIABLE NAME VALUE: checks that the value is read back, without a warning.
check_takes() {
    local taken
    taken=$(env "$1=$3" "$scratch/probe" "$2" 2>"$scratch/errors")
    check_equal "$1_takes_$3" "$taken$(grep '^hakmem: ' "$scratch/errors")" "$3"
}

while read -r name usual least most choices; do
    variable=HAKMEM_${name^^}
    if [[ $choices == % ]]; then
        # Bytes, or a percentage of the cgroup's memory, which may be unlimited.
        check_takes "$variable" "$name" 1048576000
        check_match "${variable}_takes_50%_without_a_warning" "$(probe "$variable=50%" -- "$name")" '^[0-9]+$'
        bad=(x "" -1 1.5 % 101% 5%% 99999999999999999999999999)
    elif [[ -n $choices ]]; then
        for choice in ${choices//|/ }; do
            check_takes "$variable" "$name" "$choice"
        done
        bad=(no_such_choice "${choices%%|*}x" "" " ${choices%%|*}")
        IFS='|' read -ra names <<<"$choices"
        usual=${names[usual]}
    else
        for value in "$least" "$most"; do
            check_takes "$variable" "$name" "$value"
        done
        bad=(x "" -1 1.5 "${most}0" "${most}x" 99999999999999999999999999)
        ((least > 0)) && bad+=($((least - 1)))
    fi
    for value in "${bad[@]}"; do
        result=$(probe "$variable=$value" -- "$name")
        if [[ $(wc -l <<<"$result") == 2 && $(head -n 1 <<<"$result") == "hakmem: $variable=$value"* &&
            $(tail -n 1 <<<"$result") == "$usual" ]]; then
            ok "${variable}_warns_of_'$value'_and_keeps_$usual"
        else
            not_ok "${variable}_warns_of_'$value'_and_keeps_$usual" "$result"
        fi
    done
done < <("$TEST_CC" -E -P -I "$TEST_ROOT/c/src" \
    -D'OPTION(name,usual,least,most,choices,when,help)=@ name usual least most choices' \
    -x c "$TEST_ROOT/c/src/core/options.def" |
    sed -n 's/"//g; s/@ *//p' | sed -E 's/(NULL|\(\(void \*\)0\)) *$//')

# ---- Names ------------------------------------------------------------------------------------------

result=$(probe HAKMEM_CHECKSS=1 -- checks)
check_match a_misspelt_name_gives_a_warning_that_names_it "$result" '^hakmem: HAKMEM_CHECKSS: .*the nearest is checks'
check_equal a_misspelt_name_changes_nothing "$(tail -n 1 <<<"$result")" 0
check_equal a_variable_of_another_tool_gives_no_warning "$(probe HAKMEM_DIR=/opt/x HAKMEM_ROOT=1 -- checks)" 0

# The shell, its children, their children, and the program that replaces the shell.
tree=$(env HAKMEM_STAT=1 LD_PRELOAD="$library" bash -c '/bin/true; (/bin/true; sh -c "/bin/true; :"); exec /bin/true' 2>&1)
check_equal a_tree_of_processes_warns_once "$(wc -l <<<"$tree") $(grep -c HAKMEM_STAT <<<"$tree")" "1 1"
check_equal a_name_without_the_prefix_is_not_looked_at "$(probe CHECKS=1 -- checks)" 0

# ---- hak_conf ---------------------------------------------------------------------------------------

program=probe_conf
check_equal hak_conf_sets_options "$(probe -- purge_delay_ms thread_cache_kb prewarm | xargs)" "77 33 tiny"
check_equal the_environment_takes_precedence_over_hak_conf \
    "$(probe HAKMEM_PURGE_DELAY_MS=88 HAKMEM_PREWARM=off -- purge_delay_ms thread_cache_kb prewarm | xargs)" \
    "88 33 off"
program=probe_bad_conf
result=$(probe -- purge_delay_ms thread_cache_kb)
check_match a_bad_value_in_hak_conf_gives_a_warning "$result" '^hakmem: .*purge_delay_ms=x'
check_match an_unknown_name_in_hak_conf_gives_a_warning "$result" '^hakmem: .*no_such'
check_equal the_rest_of_a_bad_hak_conf_counts "$(tail -n 2 <<<"$result" | xargs)" "1000 44"
unset program

# ---- Preloaded, and without an environment ----------------------------------------------------------

echo '#include <stdlib.h>
int main(void) { free(malloc(1)); return 0; }' >"$scratch/plain.c"
check a_plain_program_compiles "$TEST_CC" -fno-builtin "$scratch/plain.c" -o "$scratch/plain"
check_match a_preloaded_library_reads_the_environment \
    "$(env HAKMEM_CHECKS=maybe LD_PRELOAD="$library" "$scratch/plain" 2>&1)" '^hakmem: HAKMEM_CHECKS=maybe'
check_equal an_empty_environment_is_no_error "$(env -i "$scratch/probe" checks 2>&1)" 0

# ---- Statistics at exit -----------------------------------------------------------------------------

check_match stats_are_printed_at_exit "$(probe HAKMEM_STATS=1 --)" 'live'
check_match stats_of_a_preloaded_program_are_printed_at_exit \
    "$(env HAKMEM_STATS=1 LD_PRELOAD="$library" "$scratch/plain" 2>&1)" 'live'
check_equal nothing_is_printed_without_the_option "$(probe --)" ""

# ---- Set-uid programs -------------------------------------------------------------------------------

name=a_set_uid_program_ignores_the_environment
if ((EUID != 0)); then
    skip $name "only root can make a program of root's for others to run"
elif ! installed setpriv; then
    skip $name "not installed: setpriv"
elif ! touch "$scratch/x" || findmnt -no OPTIONS -T "$scratch" 2>/dev/null | grep -q nosuid; then
    skip $name "the temporary folder is mounted nosuid"
else
    chmod 711 "$scratch"
    cp "$scratch/probe" "$scratch/probe_suid"
    chmod 4755 "$scratch/probe_suid"
    # First as the same user, where the environment applies, so that set-uid is the only difference.
    check_equal the_same_program_run_by_its_owner_reads_the_environment \
        "$(HAKMEM_PURGE_DELAY_MS=55 "$scratch/probe_suid" purge_delay_ms 2>&1)" 55
    check_equal $name "$(HAKMEM_PURGE_DELAY_MS=55 HAKMEM_CHECKS=x setpriv --reuid 65534 --regid 65534 \
        --clear-groups "$scratch/probe_suid" purge_delay_ms 2>&1)" 1000
fi

finish
