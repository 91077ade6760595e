# models.sh - the models of the concurrent core hold, and each fails without an essential step.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# A model is a file *.pml in this folder, in the language of spin. Its header says which functions it
# models, what it leaves out, its property and its size. The line "Without:" lists essential steps.
# With -DWITHOUT_STEP the model omits that step, and spin must find an error.
# timeout: 240
# needs: spin

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT/c/tests/proofs" || exit 1

# verdict MODEL [STEP]: "holds", "fails", or the output of spin if the search is not complete.
verdict() {
    local folder=$scratch/${1%.pml}.${2:-} output
    mkdir "$folder"
    output=$(
        cd "$folder" || exit
        spin -a ${2:+-DWITHOUT_$2} "$TEST_ROOT/c/tests/proofs/$1" &&
            "$TEST_CC" -w -O1 -DSAFETY -DCOLLAPSE -DMEMLIM=1000 pan.c -o pan && ./pan -m100000 2>&1
    )
    if [[ $output != *'errors: '* || $output == *'Search not completed'*'errors: 0'* ||
        $output == *'max search depth too small'* ]]; then
        echo "$output"
    elif [[ $output == *'errors: 0'* ]]; then
        echo holds
    else
        echo fails
    fi
}

# The functions that the comments of a model name, without those of the core.
unknown_functions() {
    grep -oE '/\*.*|^ \*.*' "$1" | sed 's/\*\/.*//' | grep -oE '\b[a-z_]+\(\)' | sort -u | tr -d '()' | while read -r function; do
        grep -rqE "\b$function\(" "$TEST_ROOT/c/src" || echo "$function"
    done
}

for model in *.pml; do
    name=${model%.pml}
    check_equal "${name}_names_functions_of_the_core" "$(unknown_functions "$model")" ""
    check_equal "${name}_holds" "$(verdict "$model")" holds
    steps=$(sed -n 's/^ \* Without: *//p' "$model")
    check_equal "${name}_lists_its_steps" "$(tr ' ' '\n' <<<"$steps" | sort)" \
        "$(grep -oE 'WITHOUT_[A-Z_]+' "$model" | sed 's/WITHOUT_//' | sort -u)"
    for step in $steps; do
        check_equal "${name}_fails_without_${step,,}" "$(verdict "$model" "$step")" fails
    done
done

finish
