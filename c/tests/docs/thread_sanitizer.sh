# thread_sanitizer.sh - the commands in c/docs/concurrency.md work, and ThreadSanitizer reports nothing.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# timeout: 300

. "$(dirname "$0")/../test.sh"
cd "$scratch" || exit 1

commands=$(sed -n '/^```sh$/,/^```$/p' "$TEST_ROOT/c/docs/concurrency.md" | grep -v '^```')
check_match the_document_has_the_commands "$commands" fsanitize=thread

# Needs the sanitizer's library, and a kernel with an address layout that it supports.
if ! { "$TEST_CC" -fsanitize=thread -x c -o probe - <<<'int main(void) { return 0; }' && ./probe; } 2>/dev/null; then
    skip no_data_race_is_seen "ThreadSanitizer does not work here"
    finish
fi

ln -s "$TEST_ROOT/c" c
cc() { command "$TEST_CC" "$@"; }
output=$(set -e && eval "$commands" 2>&1)
status=$?
check_equal the_programs_pass "$status: $(grep -vE '^ok |^1\.\.' <<<"$output")" "0: "
check_match the_programs_ran "$output" '^ok '
check_equal no_data_race_is_seen "$(grep -A 30 'WARNING: ThreadSanitizer' <<<"$output")" ""

finish
