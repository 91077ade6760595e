# promises.sh - each promise of c/docs/promises.md names a test that exists.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

# The columns are situation, promise and test. Heading rows have empty cells.
rows=$(grep -E '^\| [^*|-]' c/docs/promises.md | grep -v '^| situation')
check_equal there_are_many_promises "$( (($(wc -l <<<"$rows") > 30)) && echo yes)" yes

check_equal each_promise_names_a_test_that_exists "$(
    while IFS='|' read -r _ situation _ file _; do
        file=$(tr -d '` ' <<<"$file")
        [[ -n $file && -f c/tests/$file ]] || echo "$situation: $file"
    done <<<"$rows")" ""

finish
