# tracepoints.sh - tracers find each tracepoint of docs/observing.md, and read its numbers.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: readelf
# env: HAKMEM_BACKGROUND=never

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

documented=$(sed -n '/^## Tracepoints/,$s/^| `\([a-z_]*\)` |.*/\1/p' c/docs/observing.md | sort)

# notes FILE: prints "NAME ADDRESS BASE" for each tracepoint of hakmem.
notes() {
    readelf -n "$1" | awk '
        $1 == "Provider:" { ours = $2 == "hakmem" }
        $1 == "Name:" { name = $2 }
        $1 == "Location:" && ours { gsub(/,/, ""); print name, $2, $4 }'
}

# section FILE NAME: prints the address and the size of a section, in hexadecimal.
section() {
    readelf -SW "$1" | sed 's/^ *\[ *[0-9]*\]//' | awk -v name="$2" '$1 == name { print "0x" $3, "0x" $5 }'
}

# is_well_formed NAME FILE: checks that FILE has each documented tracepoint once, with the base of FILE.
is_well_formed() {
    local name address base start bytes moved faults=
    check_equal "$1_has_each_documented_tracepoint_once" "$(notes "$2" | cut -d ' ' -f 1 | sort)" "$documented"
    read -r start bytes < <(section "$2" .text)
    read -r moved _ < <(section "$2" .stapsdt.base)
    while read -r name address base; do
        ((address >= start && address < start + bytes)) || faults+="$name is outside of the code: $address "
        ((base == ${moved:--1})) || faults+="$name has the base $base "
    done < <(notes "$2")
    check_equal "$1_has_tracepoints_in_its_code" "$faults" ""
}

check_equal there_are_tracepoints "$(wc -l <<<"$documented")" 5
is_well_formed the_shared_library "$library"

# ---- Linkers that drop unused sections, as for Rust programs ----------------------------------------

program=c/tests/build/tracepoints/program.c
read -ra flags < <(make -s --no-print-directory CC="$TEST_CC" print-flags)
check the_core_compiles_in_sections "$TEST_CC" "${flags[@]}" -ffunction-sections -fdata-sections \
    -c c/src/hakmem.c -o "$scratch/core.o"
for linker in bfd lld; do
    if ! installed ld.$linker; then
        skip "a_program_linked_by_${linker}_has_tracepoints" "not installed: ld.$linker"
        continue
    fi
    check "a_program_is_linked_by_$linker" "$TEST_CC" -I c/include -pthread -fuse-ld=$linker \
        -Wl,--gc-sections $program "$scratch/core.o" -o "$scratch/$linker"
    is_well_formed "a_program_linked_by_$linker" "$scratch/$linker"
done

# ---- Tracers ---------------------------------------------------------------------------------------

if installed bpftrace; then
    check_equal bpftrace_lists_the_tracepoints \
        "$(bpftrace -l "usdt:$library:*" 2>/dev/null | sed 's/.*:hakmem://' | sort)" "$documented"
else
    skip bpftrace_lists_the_tracepoints "not installed: bpftrace"
fi

# traced: runs the program in gdb, and prints a line for each tracepoint that it passes.
traced() {
    local name
    for name in $documented; do
        printf 'break -probe-stap hakmem:%s\ncommands\nsilent\n' "$name"
        printf 'printf "%s 0x%%lx %%lu\\n", $_probe_arg0, $_probe_arg1\ncontinue\nend\n' "$name"
    done >"$scratch/commands"
    gdb -nx -batch -ex 'set disable-randomization off' -x "$scratch/commands" -ex run "$scratch/plain" 2>&1
}

check a_program_compiles "$TEST_CC" -I c/include -pthread $program "$archive" -o "$scratch/plain"
if ! installed gdb; then
    skip gdb_reads_the_numbers "not installed: gdb"
    finish
fi
trace=$(traced)
if ! grep -q 'exited normally' <<<"$trace"; then
    skip gdb_reads_the_numbers "gdb cannot run a program here: $(tail -n 1 <<<"$trace")"
    finish
fi

check_match a_refill_has_the_size_and_number_of_its_blocks "$trace" '^refill 0xc00 [1-9][0-9]*$'
check_match a_flush_has_the_size_and_number_of_its_blocks "$trace" '^flush 0xc00 [1-9][0-9]*$'
check_match a_chunk_has_its_address_and_size "$trace" '^chunk_map 0x[0-9a-f]*0000 1048576$'
large=$(grep -o '^large_alloc 0x.* 300001$' <<<"$trace" | sort | uniq -c | xargs)
check_match a_large_block_has_its_address_and_size "$large" '^2 large_alloc ' # printed by both
check_equal the_purges_add_up_to_the_statistic "$(awk '/^purge / { sum += $3 } END { print sum }' <<<"$trace")" \
    "$(sed -n 's/^purged //p' <<<"$trace")"

finish
