# test.sh - the test framework for scripts, which source this file. Like test.h, for bash.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The output is that of the Test Anything Protocol.
# c/tests/run sets TEST_ROOT, TEST_BUILD, TEST_CC and TEST_CXX in the environment.

set -u
: "${TEST_ROOT:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${TEST_BUILD:=$TEST_ROOT/build}" "${TEST_CC:=cc}" "${TEST_CXX:=c++}"
# The tests use both names.
# shellcheck disable=SC2034
library=$TEST_BUILD/libhakmem.so archive=$TEST_BUILD/libhakmem.a
test_number=0 test_failed=0

# A temporary folder for the test, which is removed at the end.
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

ok() {
    echo "ok $((++test_number)) - $1"
}

# not_ok NAME [TEXT]: reports a failure, with an explanation.
not_ok() {
    [[ -n ${2:-} ]] && printf '%s\n' "$2" | tail -n 40 | sed 's/^/    /'
    echo "not ok $((++test_number)) - $1"
    test_failed=$((test_failed + 1))
}

# skip NAME REASON
skip() {
    echo "ok $((++test_number)) - $1 # SKIP ${2//$'\n'/ }"
}

# check NAME COMMAND...: passes if the command succeeds.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        ok "$name"
    else
        not_ok "$name" "status $? of: $*
$output"
    fi
}

# check_equal NAME LEFT RIGHT
check_equal() {
    if [[ $2 == "$3" ]]; then
        ok "$1"
    else
        not_ok "$1" "left:  $2
right: $3"
    fi
}

# check_match NAME TEXT REGEX: passes if a line of the text matches.
check_match() {
    if grep -Eq -- "$3" <<<"$2"; then
        ok "$1"
    else
        not_ok "$1" "no line matches: $3
$2"
    fi
}

# check_tests NAME OUTPUT: passes if a test program printed this, and nothing failed in it.
check_tests() {
    if grep -qxE '1\.\.[0-9]+' <<<"$2" && ! grep -q '^not ok ' <<<"$2"; then
        ok "$1"
    else
        not_ok "$1" "$2"
    fi
}

# check_at_most NAME VALUE LIMIT
check_at_most() {
    if [[ $2 =~ ^-?[0-9]+$ ]] && (($2 <= $3)); then
        ok "$1"
    else
        not_ok "$1" "$2 is not at most $3"
    fi
}

installed() {
    command -v "$1" >/dev/null
}

# The loader only warns if it cannot preload a library. The test would then run on libc.
if env LD_PRELOAD="$library" true 2>&1 | grep -q .; then
    echo "$library cannot be preloaded" >&2
    exit 1
fi

# preloaded COMMAND...: runs it, and no other process, with libhakmem.so preloaded.
preloaded() {
    env LD_PRELOAD="$library" "$@"
}

# finish: prints the last line of every test, the number of its checks.
finish() {
    echo "1..$test_number"
    exit $((test_failed != 0))
}
