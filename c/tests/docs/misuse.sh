# misuse.sh - hakmem's columns in the table of c/docs/misuse.md match the behaviour of the library.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

table=$(sed -n '/^| mistake/,/^$/p' c/docs/misuse.md | grep '^|' | cut -d '|' -f 1-6)
check_equal the_columns_of_hakmem_are_current "$table" \
    "$(CC=$TEST_CC BUILD=$TEST_BUILD c/tools/misuse hakmem 2>&1 | cut -d '|' -f 1-6)"

finish
