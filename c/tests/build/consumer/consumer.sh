# consumer.sh - checks of builds with other tools than make, for the tests that source this file.
#
# SPDX-License-Identifier: MIT OR Apache-2.0

# shellcheck source=c/tests/test.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../test.sh"

# Variables of the make that runs the tests are not meant for these builds.
unset MAKEFLAGS MFLAGS MAKELEVEL DEBUG SANITIZE CPPFLAGS CFLAGS LDFLAGS LD_LIBRARY_PATH
# shellcheck disable=SC2034 # used by the tests
consumer=$TEST_ROOT/c/tests/build/consumer

# runs NAME PROGRAM: program.c, built by another project, uses hakmem.
runs() {
    check_equal "$1" "$("$2" 2>&1)" ours
}

# flags_only: reads words, and prints those that are flags, without files and folders.
flags_only() {
    grep -E '^-' | grep -vE '^-([Ioc]|M[A-Z]+|isystem)' | sort -u | xargs
}

# has_the_flags_of_make NAME COMPILE_COMMANDS OWN_FLAGS: compares the flags of the core, except for those
# that the tool adds to each command (a regular expression).
has_the_flags_of_make() {
    local flags
    flags=$(grep '"command": .*src/hakmem\.c' "$2" | tr ' "' '\n\n' | grep -vxE -- "$3" | flags_only)
    check_equal "$1" "$flags" \
        "$(make --no-print-directory -s -C "$TEST_ROOT" print-flags | tr ' ' '\n' | flags_only)"
}

# exports FILE: the names that a shared library defines.
exports() {
    nm -D --defined-only "$1" | awk '{ print $3 }' | sort
}

# dynamic_flags FILE: the soname and the flags for the loader.
dynamic_flags() {
    readelf -d "$1" | sed -nE 's/.*\((SONAME|FLAGS|FLAGS_1)\) */\1 /p'
}

# matches_the_library_of_make FILE
matches_the_library_of_make() {
    check_equal the_shared_library_exports_the_same_names "$(exports "$1")" "$(exports "$library")"
    check_equal the_shared_library_has_the_same_soname_and_flags \
        "$(dynamic_flags "$1")" "$(dynamic_flags "$library")"
}

# replaces_malloc NAME PROGRAM: a program that does not call malloc contains that of hakmem.
replaces_malloc() {
    check_match "$1" "$(nm "$2")" ' T malloc$'
}
