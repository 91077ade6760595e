# crates.sh - the crates link an installed library, or use the system allocator on other targets.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: cargo
# timeout: 300

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

# The tests need no network, so the dependencies of the crates must already be on this machine.
export CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=$scratch/target CARGO_TERM_COLOR=never
unset RUSTFLAGS "${!PKG_CONFIG@}" HAKMEM_SYS_USE_PKG_CONFIG

# A program beside the workspace, with the same versions of all dependencies.
project=$scratch/project
mkdir -p "$project/src"
cp Cargo.lock "$project/"
cat >"$project/Cargo.toml" <<END_TOML
[package]
name = "stranger"
edition = "2024"

[features]
require-native = ["hakmem-alloc/require-native"]

[dependencies]
hakmem-alloc = { path = "$TEST_ROOT/hakmem" }

[workspace]
END_TOML
cat >"$project/src/main.rs" <<'END_RUST'
use std::time::Duration;

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
hakmem::conf!("purge_delay_ms=123");

fn main() {
    let held = vec![1_u8; 1000];
    let counted = hakmem::stats().bytes_live >= held.len() as u64;
    let listed = hakmem::options::all().count() > 10 && hakmem::class_stats().len() > 10;
    let configured = hakmem::options::PURGE_DELAY.get() == Ok(Duration::from_millis(123));
    println!("counted: {counted}, listed: {listed}, configured: {configured}");
}
END_RUST
cargo_project() {
    local command=$1
    shift
    cargo "$command" -q --manifest-path "$project/Cargo.toml" "$@"
}

if ! output=$(cargo_project build 2>&1); then
    if grep -q 'network\|offline\|registry' <<<"$output"; then
        skip crates "$(grep -m 1 '^error' <<<"$output")"
    else
        not_ok a_program_builds_with_the_crate "$output"
    fi
    finish
fi
program=$CARGO_TARGET_DIR/debug/stranger
all_true="counted: true, listed: true, configured: true"
check_equal a_program_runs_with_the_compiled_library "$("$program" 2>&1)" "$all_true"
check_equal the_compiled_library_is_within_the_program "$(ldd "$program" | grep -c hakmem)" 0

# ---- The build script alone --------------------------------------------------------------------------

script=$(find "$CARGO_TARGET_DIR/debug/build" -path '*/hakmem-sys-*/build-script-build' | head -n 1)
version=$(sed -n 's/^.define HAK_VERSION_STRING "\(.*\)"/\1/p' c/include/hakmem.h)
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir "$scratch/out"

# script_for OS ARCH ENV [NAME=VALUE...]: runs it as Cargo does for a target.
script_for() {
    local os=$1 arch=$2 environment=$3
    shift 3
    env -i PATH="$PATH" OUT_DIR="$scratch/out" CARGO_MANIFEST_DIR="$TEST_ROOT/hakmem-sys" \
        CARGO_PKG_VERSION="$version" HOST="$host" TARGET="$arch-$os-$environment" \
        CARGO_CFG_TARGET_OS="$os" CARGO_CFG_TARGET_ARCH="$arch" CARGO_CFG_TARGET_ENV="$environment" \
        CARGO_CFG_TARGET_POINTER_WIDTH=64 "$@" "$script" 2>&1
}

for target in "windows x86_64 gnu" "macos aarch64 " "linux riscv64 gnu" "linux x86_64 uclibc"; do
    read -r os arch environment <<<"$target"
    output=$(script_for "$os" "$arch" "$environment")
    name=${os}_${arch}
    check_equal "${name}_gets_one_warning" "$(grep -c '^cargo::warning=hakmem does not run on' <<<"$output")" 1
    check_match "${name}_uses_the_system_allocator" "$output" '^cargo::rustc-cfg=hakmem_system$'
    check_match "${name}_tells_the_crate_hakmem" "$output" '^cargo::metadata=system=1$'
    output=$(script_for "$os" "$arch" "$environment" CARGO_FEATURE_REQUIRE_NATIVE=1)
    check_equal "${name}_is_an_error_with_require_native" $? 1
    check_match "${name}_has_a_message_with_require_native" "$output" '^hakmem-sys: .*require-native forbids'
done
output=$(script_for linux x86_64 gnu CARGO_CFG_HAKMEM_SYSTEM= CARGO_FEATURE_REQUIRE_NATIVE=1)
check_equal the_cfg_needs_no_warning "$? $(grep -c '^cargo::warning' <<<"$output")" "0 0"
check_match the_cfg_uses_the_system_allocator "$output" '^cargo::rustc-cfg=hakmem_system$'

# ---- Another target ----------------------------------------------------------------------------------

other=
for target in x86_64-pc-windows-gnu aarch64-apple-darwin x86_64-unknown-freebsd; do
    [[ -d $(rustc --print target-libdir --target $target) ]] && other=$target && break
done
if [[ -n $other ]]; then
    check a_program_needs_no_cfg_for_another_target cargo_project check --target "$other"
    check_match require_native_stops_a_build_for_another_target \
        "$(cargo_project check --target "$other" --features require-native 2>&1)" \
        "hakmem does not run on $other, and the feature require-native forbids"
else
    skip another_target "rustup target add x86_64-pc-windows-gnu"
fi

# ---- An installed library ----------------------------------------------------------------------------

native() {
    script_for linux "${host%%-*}" gnu TARGET="$host" HAKMEM_SYS_USE_PKG_CONFIG=1 "$@"
}

output=$(native PKG_CONFIG="$scratch/no-such-program")
check_equal without_pkg_config_the_build_fails $? 1
check_match a_missing_pkg_config_is_named "$output" 'no-such-program cannot be run .*; install pkg-config'
check_match pkg_config_of_the_host_is_not_used_for_another_target \
    "$(native TARGET=aarch64-linux-other)" "finds libraries for $host, not for aarch64-linux-other"

if ! installed pkg-config; then
    skip installed_library "pkg-config is not installed"
    finish
fi

# -o prevents a rebuild, because other tests are using these files.
own=$scratch/own
built=${TEST_BUILD#"$TEST_ROOT"/}
check install make --no-print-directory -s -o "$built/libhakmem.a" -o "$built/libhakmem.so" \
    PREFIX="$own" install
pkgconfig=$own/lib/pkgconfig

output=$(native PKG_CONFIG_PATH="$pkgconfig")
check_match the_directory_of_the_library_is_searched "$output" "^cargo::rustc-link-search=native=$own/lib$"
check_match the_library_is_linked "$output" '^cargo::rustc-link-lib=hakmem$'
check_match the_directory_of_the_header_is_passed_on "$output" "^cargo::metadata=include=$own/include$"

output=$(native PKG_CONFIG_LIBDIR="$scratch/nowhere")
check_equal without_a_library_the_build_fails $? 1
check_match a_missing_library_has_a_message "$output" 'does not find hakmem; install it'

# with_field NAME VALUE: runs the script with another value of a field in hakmem.pc.
with_field() {
    mkdir -p "$scratch/other"
    sed "s|^$1: .*|$1: $2|" "$pkgconfig/hakmem.pc" >"$scratch/other/hakmem.pc"
    native PKG_CONFIG_PATH="$scratch/other"
}
check_match a_directory_may_have_a_space_in_its_name \
    "$(with_field Libs '-L"/some place/lib" -lhakmem')" '^cargo::rustc-link-search=native=/some place/lib$'
IFS=. read -r major minor patch <<<"$version"
check_match a_later_patch_fits "$(with_field Version "$major.$minor.$((patch + 1))")" 'rustc-link-lib=hakmem'
for unfit in "$major.$((minor + 1)).$patch" "$((major + 1)).0.0" 0.0.9 unknown; do
    output=$(with_field Version "$unfit")
    check_equal "version_${unfit}_fails" $? 1
    check_match "version_${unfit}_has_a_message" "$output" \
        "the installed hakmem $unfit does not fit hakmem-sys $version; install"
done

export HAKMEM_SYS_USE_PKG_CONFIG=1 PKG_CONFIG_PATH=$pkgconfig
check a_program_builds_with_the_installed_library cargo_project build
check_match the_program_needs_the_installed_library "$(LD_LIBRARY_PATH=$own/lib ldd "$program")" \
    "libhakmem.so.0 => $own/lib/"
check_equal a_program_runs_with_the_installed_library \
    "$(LD_LIBRARY_PATH=$own/lib "$program" 2>&1)" "$all_true"

export HAKMEM_SYS_USE_PKG_CONFIG=0
check a_program_builds_again_without_it cargo_project build
check_equal zero_means_the_compiled_library "$(ldd "$program" | grep -c hakmem) $("$program" 2>&1)" "0 $all_true"

finish
