# python.sh - python3's own tests pass on hakmem.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: python3
# timeout: 300
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# The interpreter itself: what is called python3 may be a script that chooses one.
python=$(python3 -c 'import sys; print(sys.executable)')


# python_test MODULE ASSIGNMENT...: with the environment. A test that fails on libc too says nothing.
python_test() {
    local module=$1 name=python_passes_$1 output
    shift
    (($# == 0)) || name+="_with_$(tr = _ <<<"$*")"
    if ! "$python" -c "import test.$module" 2>/dev/null; then
        skip "$name" "this python3 comes without its tests (test.$module)"
    elif output=$(cd "$scratch" && env LD_PRELOAD="$library" "$@" "$python" -m test -q "$module" 2>&1); then
        ok "$name"
    elif ! (cd "$scratch" && env "$@" "$python" -m test -q "$module" >/dev/null 2>&1); then
        skip "$name" "fails without hakmem too"
    else
        not_ok "$name" "$output"
    fi
}

# Without its own allocator every object of python is a block.
for module in test_json test_dict test_list test_str test_threading; do
    python_test $module PYTHONMALLOC=malloc
done
python_test test_json
python_test test_dict

finish
