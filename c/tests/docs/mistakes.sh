# mistakes.sh - the table in c/docs/mistakes.md matches the behaviour of the library.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

table=$(sed -n '/^| mistake/,/^$/p' c/docs/mistakes.md | grep '^|')
check_equal the_table_of_mistakes_is_current "$table" \
    "$(CC=$TEST_CC BUILD=$TEST_BUILD c/tools/mistakes 2>&1)"
check_equal nothing_is_missed_in_checked_mode "$(tail -n +3 <<<"$table" | awk -F'|' '$5 != " at the call "')" ""

finish
