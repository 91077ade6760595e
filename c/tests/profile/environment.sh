# environment.sh - profiles of unmodified programs, by environment variables.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# Keeps ten blocks of 3000 bytes. With an argument, it then waits for a line on standard input.
cat >"$scratch/plain.c" <<'END'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *volatile kept[10];

__attribute__((noinline)) void keep_blocks(void);
__attribute__((noinline)) void keep_blocks(void) {
    for (int i = 0; i < 10; i++)
        kept[i] = malloc(3000);
    free(malloc(100));
}

int main(int count, char **arguments) {
    char line[8];
    keep_blocks();
    if (count > 1 && write(STDOUT_FILENO, "ready\n", 6) == 6)
        return read(STDIN_FILENO, line, sizeof line) < 0;
    return arguments[0] == NULL;
}
END
check a_plain_program_compiles "$TEST_CC" -O1 -fno-builtin -rdynamic "$scratch/plain.c" -o "$scratch/plain"
cd "$scratch" || exit 1

# run VARIABLES... -- ARGUMENTS...: runs the program with the library preloaded.
run() {
    local -a assigned=()
    while [[ $1 != -- ]]; do
        assigned+=("$1")
        shift
    done
    env "${assigned[@]}" LD_PRELOAD="$library" "$scratch/plain" "${@:2}" 2>&1
}

files() {
    find . -name '*.pb' -printf '%f\n' | sort
}

check_equal nothing_is_written_without_the_option "$(run HAKMEM_PROFILE_RATE=1 --)$(files)" ""

output=$(run HAKMEM_PROFILE=1 HAKMEM_PROFILE_RATE=1 --)
check_match a_profile_is_written_at_exit "$(files)" '^heap\.[0-9]+\.0\.pb$'
check_equal nothing_is_printed "$output" ""
check_match the_profile_has_the_types_of_its_values "$(strings heap.*.pb)" 'inuse_space'
rm -f ./*.pb

run HAKMEM_PROFILE=1 HAKMEM_PROFILE_FILE=named.pb -- >/dev/null
check_equal the_file_has_the_name_of_the_option "$(files)" named.pb
check_equal only_its_owner_may_read_it "$(stat -c %a named.pb)" 600
rm -f ./*.pb

output=$(run HAKMEM_PROFILE=1 HAKMEM_PROFILE_FILE=no/such/folder.pb --)
check_equal a_file_that_cannot_be_written_gives_a_warning "$output" \
    "hakmem: cannot write the profile no/such/folder.pb"

output=$(run HAKMEM_PROFILE_FILE= --)
check_match an_empty_name_gives_a_warning "$output" '^hakmem: HAKMEM_PROFILE_FILE=: not a text'
output=$(run HAKMEM_PROFILE_FILES=x --)
check_match a_misspelt_name_of_a_text_gives_a_warning "$output" 'the nearest is profile_file'

output=$(run HAKMEM_PROFILE=leaks --)
check_match leaks_are_printed_at_exit "$output" '^30000 bytes in 10 blocks$'
check_match with_their_stack "$output" '^    keep_blocks plain\+0x[0-9a-f]+$'
check_match and_the_build_ids "$output" '^module libc\.so\.6 build-id [0-9a-f]{40} /'
check_equal freed_blocks_are_no_leaks "$(grep -c '^100 bytes' <<<"$output")" 0
check_equal leaks_write_no_file "$(files)" ""

# ---- Signals ----------------------------------------------------------------------------------------

# await COMMAND...: waits until the command succeeds, at most ten seconds.
await() {
    local i
    for ((i = 0; i < 100; i++)); do
        "$@" && return
        sleep 0.1
    done
    return 1
}

mkfifo input
run HAKMEM_PROFILE=1 HAKMEM_PROFILE_RATE=1 HAKMEM_PROFILE_SIGNAL=USR2 HAKMEM_PROFILE_FILE=heap.%n.pb -- wait \
    <input >output &
exec 3>input
await grep -q ready output
program=$(pgrep -P $! -x plain || pgrep -f "$scratch/plain wait")
kill -USR2 "$program"
check a_signal_writes_a_profile_of_an_idle_program await test -s heap.0.pb
kill -USR2 "$program"
check a_second_signal_writes_another_one await test -s heap.1.pb
exec 3>&-
wait
check_equal the_program_ends_as_usual_and_writes_the_last_one "$(files | xargs)" "heap.0.pb heap.1.pb heap.2.pb"
check_equal nothing_else_is_printed "$(cat output)" ready

# ---- A forked child ---------------------------------------------------------------------------------

# A child that has no thread for its files works until its standard input ends.
cat >"$scratch/parent.c" <<'END'
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    char line[8];
    pid_t child = fork();
    if (child != 0)
        return waitpid(child, NULL, 0) < 0;
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    int written = (int)write(STDOUT_FILENO, "ready\n", 6);
    while (written == 6 && read(STDIN_FILENO, line, sizeof line) != 0) {
        free(malloc(3000));
        usleep(1000);
    }
    _exit(0);
}
END
check a_program_that_forks_compiles "$TEST_CC" -O1 -fno-builtin "$scratch/parent.c" -o "$scratch/parent"
rm -f heap.*
HAKMEM_PROFILE=1 HAKMEM_PROFILE_RATE=1 HAKMEM_PROFILE_SIGNAL=USR2 HAKMEM_PROFILE_FILE=heap.%p.pb \
    LD_PRELOAD="$library" "$scratch/parent" <input >output 2>&1 &
parent=$!
exec 3>input
await grep -q ready output
child=$(pgrep -P "$parent")
check_equal a_child_has_no_thread_of_ours_before_a_signal "$(ls "/proc/$child/task" | wc -l)" 1
kill -USR2 "$child"
check a_signal_writes_a_profile_of_a_forked_child await test -s "heap.$child.pb"
check_equal and_none_of_its_parent "$(files)" "heap.$child.pb"
exec 3>&-
wait

finish
