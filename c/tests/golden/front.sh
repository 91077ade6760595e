# front.sh - the hot functions have as few instructions as promised, and no more or less than before.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"
export CC=$TEST_CC BUILD=$TEST_BUILD

counts=$("$TEST_ROOT/c/tools/golden" --print 2>"$scratch/errors")
status=$?
if ((status == 3)); then
    skip hot_functions_are_short "$(sed 's/^golden: //' "$scratch/errors")"
    finish
elif ((status != 0)); then
    not_ok hot_functions_are_short "$(cat "$scratch/errors")"
    finish
fi

# within CASE INSTRUCTIONS: at most that many instructions, no call, and no taken branch.
within() {
    local row
    row=$(grep "^$1 " <<<"$counts")
    read -r _ _ instructions _ _ _ taken _ calls <<<"$row"
    check_at_most "$1_has_at_most_$2_instructions" "$instructions" "$2"
    check_equal "$1_calls_nothing_and_takes_no_branch" "calls $calls taken $taken" "calls 0 taken 0"
}

for size in 16 100 1024; do
    within malloc_$size 14
done
# The header of the golden file gives the reasons for more than 20.
for size in 16 1024 40000; do
    within free_$size 22
done
for layout in 24_8 100_8 1024_8 5000_8; do
    within hak_dealloc_$layout 23
done

difference=$("$TEST_ROOT/c/tools/golden" 2>"$scratch/errors")
case $? in
0) ok the_counts_are_those_of_the_golden_file ;;
3) skip the_counts_are_those_of_the_golden_file "$(sed 's/^golden: //' "$scratch/errors")" ;;
*) not_ok the_counts_are_those_of_the_golden_file "$difference$(cat "$scratch/errors")" ;;
esac

finish
