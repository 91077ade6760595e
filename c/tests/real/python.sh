# python.sh - python3's own tests pass on hakmem.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: python3
# timeout: 300
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# The interpreter itself: what is called python3 may be a script that chooses one.
python=$(python3 -c 'import sys; print(sys.executable)')


# What failed, and how many tests there were.
summary() {
    grep -E '^(FAIL|ERROR): |^Total tests: ' <<<"$1" | sort
}

# python_test MODULE ASSIGNMENT...: with the environment. A test that fails on libc must fail alike.
python_test() {
    local module=$1 name=python_passes_$1 actual expected
    shift
    (($# == 0)) || name+="_with_$(tr = _ <<<"$*")"
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

# The tests of str were called test_unicode before python 3.12.
strings=test_str
"$python" -c "import test.test_str" 2>/dev/null || strings=test_unicode

# Without its own allocator every object of python is a block.
for module in test_json test_dict test_list $strings test_threading; do
    python_test $module PYTHONMALLOC=malloc
done
python_test test_json
python_test test_dict

finish
