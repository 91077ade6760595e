# gdb.sh - hakmem-gdb.py shows the blocks and the statistics of a process and of a core dump.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: gdb
# env: HAKMEM_BACKGROUND=never HAKMEM_PURGE_THREAD_MB=0
# timeout: 120
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

script=$TEST_ROOT/c/tools/gdb/hakmem-gdb.py
if [[ $(gdb -nx -batch -ex 'python print(6 * 7)' 2>&1) != 42 ]]; then
    skip gdb_shows_blocks "gdb has no Python here"
    finish
fi
check the_program_compiles "$TEST_CC" -g -fno-builtin -I "$TEST_ROOT/c/include" \
    "$TEST_ROOT/c/tests/gdb/program/program.c" "$archive" -pthread -o "$scratch/program"

# commands: prints gdb commands that show all blocks, each after a line with its name.
commands() {
    local name i
    for name in 'small[1]' '(char *)small[1] + 7' 'small[2]' trimmed alone '(char *)small[3] + 48' \
        granules mapping '(char *)mapping + 3000000' retired returned '&freed' \
        'guarded[0]' '(char *)guarded[0] + 99' 'guarded[1]' private_block; do
        printf 'echo == %s\\n\nhakmem block %s\n' "$name" "$name"
    done
    for i in {0..4999..250}; do
        printf 'echo == freed\\n\nhakmem block freed[%d]\n' "$i"
    done
    # gdb stops reading the file at the first command that fails.
    printf 'echo == stats\\n\nhakmem stats\necho == end\\n\n'
}
commands >"$scratch/commands"
cat >"$scratch/live" <<COMMANDS
source $script
break stop
run
print small
print (void *[3]){granules, mapping, retired}
source $scratch/commands
generate-core-file $scratch/core
COMMANDS
live=$(gdb -nx -batch -ex 'set pagination off' -x "$scratch/live" "$scratch/program" 2>&1)
if ! grep -q 'Breakpoint 1, stop' <<<"$live"; then
    skip gdb_shows_blocks "gdb cannot run a program here: $(tail -n 1 <<<"$live")"
    finish
fi

# part NAME: prints the output for one block.
part() {
    awk -v name="== $1" '$0 == name { inside = 1; next } /^== / { inside = 0 } inside' <<<"$output"
}
# The addresses, as gdb prints them.
mapfile -t small < <(sed -n 's/^\$1 = {\(.*\)}/\1/p' <<<"$live" | tr -d ' ' | tr ',' '\n')
mapfile -t large < <(sed -n 's/^\$2 = {\(.*\)}/\1/p' <<<"$live" | tr -d ' ' | tr ',' '\n')

check_equal gdb_prints_the_addresses "${#small[@]} ${#large[@]}" "4 3"
# value NAME: prints the value of a statistic in the program's own report.
value() { grep -oE "\"$1\": ?[0-9]+" <<<"$live" | head -n 1 | grep -oE '[0-9]+$'; }

# shows WHERE: checks the output of all commands.
shows() {
    local block name shown expected
    block=$(part 'small[1]')
    check_match "an_allocated_block_is_shown_$1" "$block" "^state +allocated$"
    check_match "its_address_and_size_are_shown_$1" "$block" "^block +${small[1]}, 48 bytes$"
    check_match "its_class_is_shown_$1" "$block" "^class +[0-9]+, blocks of 48 bytes$"
    check_match "its_heap_is_shown_$1" "$block" "^heap +0 of "
    check_match "its_neighbour_is_shown_$1" "$block" \
        "^(before|after) +(${small[0]}|${small[2]}), (allocated|free, in the cache of thread [1-9][0-9]*)$"
    block=$(part '(char *)small[1] + 7')
    check_match "the_block_around_an_address_is_shown_$1" "$block" "^block +${small[1]}, 48 bytes$"
    check_match "the_distance_from_its_start_is_shown_$1" "$block" '^address +7 bytes after'
    check_match "a_cached_block_is_shown_$1" "$(part 'small[2]')" '^state +free, in the cache of thread [1-9]'
    check_match "a_free_block_is_shown_$1" "$(part trimmed)" '^state +free$'
    check_match "a_block_that_keeps_a_slab_is_shown_$1" "$(part alone)" '^state +allocated$'
    check_match "blocks_in_a_transfer_cache_are_shown_$1" "$(part freed)" \
        '^state +free, in the transfer cache of CPU'

    check_match "a_large_block_is_shown_$1" "$(part granules)" "^block +${large[0]}, 401408 bytes$"
    check_match "it_is_allocated_$1" "$(part granules)" '^state +allocated$'
    check_match "a_large_mapping_is_shown_$1" "$(part mapping)" "^block +${large[1]}, 6[0-9]{6} bytes$"
    check_match "an_address_in_the_middle_of_it_is_shown_$1" "$(part '(char *)mapping + 3000000')" \
        "^address +3000000 bytes after"
    check_match "a_cached_large_block_is_shown_$1" "$(part retired)" '^state +free, in the cache of thread'
    check_match "a_cached_extent_is_shown_$1" "$(part returned)" \
        '^block +none, the address is in a cached extent$'
    check_match "a_guarded_block_is_shown_$1" "$(part 'guarded[0]')" '^block +0x[0-9a-f]+, 99 bytes, guarded$'
    check_match "its_state_is_shown_$1" "$(part 'guarded[0]')" '^state +allocated$'
    check_match "its_allocation_is_shown_$1" "$(part 'guarded[0]')" '^allocated +by thread [1-9][0-9]*, from$'
    check_match "with_its_stack_$1" "$(part 'guarded[0]')" '^ +0x[0-9a-f]+ main \+ [0-9]+'
    check_match "an_address_behind_a_guarded_block_is_shown_$1" "$(part '(char *)guarded[0] + 99')" \
        '^address +0 bytes after the end of the block$'
    check_match "a_freed_guarded_block_is_shown_$1" "$(part 'guarded[1]')" '^state +free$'
    check_match "its_free_is_shown_$1" "$(part 'guarded[1]')" '^freed +by thread [1-9][0-9]*, from$'
    check_match "a_block_of_a_private_heap_is_shown_$1" "$(part private_block)" '^block +0x[0-9a-f]+, 35[0-9]+ bytes$'
    check_match "its_private_heap_is_shown_$1" "$(part private_block)" \
        '^heap +\(struct hak_heap \*\) 0x[0-9a-f]+, private, of the test$'
    check_match "an_address_of_another_kind_is_shown_$1" "$(part '&freed')" 'not in a block of hakmem'

    check_match "the_commands_end_$1" "$output" '^== end$'
    shown='' expected=''
    while read -r name value; do
        expected+="$name=$(value "$name") " shown+="$name=$value "
    done < <(part stats | sed '/^$/,$d')
    check_equal "the_statistics_are_those_of_hak_stats_$1" "$shown" "$expected"
    check_equal "there_are_many_statistics_$1" "$(($(wc -w <<<"$shown") >= 24))" 1
    check_match "a_class_has_a_row_$1" "$(part stats)" '^ +3072 +[0-9]+ +[0-9]+ +0 +[0-9]+ '
}

output=$live
shows in_a_process

output=$(gdb -nx -batch -ex 'set pagination off' -ex "source $script" -ex "source $scratch/commands" \
    "$scratch/program" "$scratch/core" 2>&1)
shows in_a_core_dump

# ---- Without debug information, or without hakmem -----------------------------------------------

strip --strip-debug "$scratch/program" -o "$scratch/stripped"
check_match debug_information_that_is_missing_is_named \
    "$(gdb -nx -batch -ex "source $script" -ex 'hakmem stats' "$scratch/stripped" 2>&1)" \
    '^hakmem: hakmem has no debug information here'
check_match a_program_without_hakmem_is_named \
    "$(gdb -nx -batch -ex "source $script" -ex 'hakmem stats' "$(command -v gdb)" 2>&1)" \
    '^hakmem: this program does not contain hakmem'
check_match a_process_that_has_not_started_is_named \
    "$(gdb -nx -batch -ex "source $script" -ex 'hakmem stats' "$scratch/program" 2>&1)" \
    '^hakmem: the process has not allocated memory yet$'
check_match an_address_that_does_not_parse_is_named \
    "$(gdb -nx -batch -ex "source $script" -ex 'hakmem block no_such' "$scratch/program" 2>&1)" \
    '^hakmem: No symbol "no_such"'

finish
