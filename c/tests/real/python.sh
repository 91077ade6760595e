# python.sh - python3's own tests pass on hakmem.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: python3
# timeout: 300
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# The interpreter itself, because python3 may be a script that selects one.
python=$(python3 -c 'import sys; print(sys.executable)')


# Prints the failures and the number of tests.
summary() {
    grep -E '^(FAIL|ERROR): |^Total tests: ' <<<"$1" | sort
}

# python_test MODULE ASSIGNMENT...: runs tests with the environment. The same tests must fail on libc.
python_test() {
    local module=$1 name=python_passes_$1 actual expected
    shift
    (($# == 0)) || name+="_with_$(tr "=" _ <<<"$*")"
    if ! "$python" -c "import test.$module" 2>/dev/null; then
        skip "$name" "this python3 comes without its tests (test.$module)"
        return
    fi
    cd "$scratch" || return
    if actual=$(env LD_PRELOAD="$library" "$@" "$python" -m test -q "$module" 2>&1); then
        ok "$name"
    elif ! expected=$(env "$@" "$python" -m test -q "$module" 2>&1); then
        check_equal "$name" "$(summary "$actual")" "$(summary "$expected")"
    else
        not_ok "$name" "$actual"
    fi
}

# The tests of str had the name test_unicode before python 3.12.
strings=test_str
"$python" -c "import test.test_str" 2>/dev/null || strings=test_unicode

# Without Python's own allocator, every object is a block.
for module in test_json test_dict test_list $strings test_threading; do
    python_test $module PYTHONMALLOC=malloc
done
python_test test_json
python_test test_dict

finish
