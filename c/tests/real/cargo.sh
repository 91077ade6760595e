# cargo.sh - cargo and rustc build the crate hakmem-alloc on hakmem.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: cargo
# timeout: 300
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

name=cargo_builds_the_crate
if ! [[ -f $TEST_ROOT/hakmem/Cargo.toml ]]; then
    skip $name "the crate is not here"
    finish
fi
# The tests need no network, so the dependencies of the crate must already be on this machine.
export CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=$scratch/target
build() {
    (cd "$TEST_ROOT" && "$@" cargo build -q -j 2 -p hakmem-alloc --locked 2>&1 || "$@" cargo build -q -j 2 -p hakmem-alloc 2>&1)
}
if ! output=$(build env); then
    skip $name "fails without hakmem too: $(grep -m 1 '^error' <<<"$output")"
    finish
fi
rm -rf "$CARGO_TARGET_DIR"
check $name build preloaded
check_match the_crate_is_there "$(ls "$CARGO_TARGET_DIR/debug")" '^libhakmem.rlib$'

finish
