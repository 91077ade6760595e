# scripts.sh - all shell scripts and the recipes of packages pass shellcheck.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: shellcheck
# timeout: 180

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

# The programs name their shell in the first line. The tests are bash, and do not.
mapfile -t programs < <(find .ci benches c examples -type f -exec awk '
    FNR == 1 && /^#!.*sh$/ { print FILENAME }
    { nextfile }' {} + | sort)
mapfile -t tests < <(find c/tests -name '*.sh' | sort)
check_equal there_are_many_scripts "$( ((${#programs[@]} > 10 && ${#tests[@]} > 20)) && echo yes)" yes

# passes SCRIPT OPTION...: without warnings, in the script alone. -x reads the files that it sources.
passes() {
    check "$1" shellcheck --format=gcc --severity=warning -x -P SCRIPTDIR:. "${@:2}" "$1"
}

for script in "${programs[@]}"; do
    passes "$script"
done
for script in "${tests[@]}"; do
    passes "$script" --shell=bash
done

# These files define variables and functions for the programs that read them, in the shells of these.
recipe() {
    check "$1_parses" "$2" -n "$1"
    passes "$1" --shell="$2" --exclude=SC2034,SC2154,SC2164
}
recipe c/packaging/arch/PKGBUILD bash
recipe c/packaging/alpine/APKBUILD sh

finish
