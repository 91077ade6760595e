# mistakes.sh - the table of c/docs/mistakes.md is what the library does.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

check_equal the_table_of_mistakes_is_current "$(grep '^|' c/docs/mistakes.md)" \
    "$(CC=$TEST_CC BUILD=$TEST_BUILD c/tools/mistakes 2>&1)"
check_equal nothing_is_missed_in_checked_mode "$(grep '^|' c/docs/mistakes.md | tail -n +3 |
    awk -F'|' '$5 != " at the call "')" ""

finish
