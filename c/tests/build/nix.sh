# nix.sh - the package for Nix has the files of `make install`, and a library that programs can use.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# nixpkgs would need a network. A small substitute for it runs the phases of the package with the
# compiler and the programs of the system, and one file in place of all tests of the interface.
# needs: nix-build
# timeout: 300

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

# A store of this test alone, without a daemon, build users and a sandbox.
export NIX_STORE_DIR=$scratch/store NIX_STATE_DIR=$scratch/state NIX_LOG_DIR=$scratch/log
export NIX_CONF_DIR=$scratch/etc HOME=$scratch NIX_REMOTE=local
mkdir "$scratch/etc" "$scratch/nixpkgs"
printf '%s\n' 'sandbox = false' 'build-users-group =' 'substitute = false' >"$scratch/etc/nix.conf"

cat >"$scratch/nixpkgs/default.nix" <<'END_NIX'
{ }: {
  lib.licenses = { mit = "MIT"; asl20 = "Apache-2.0"; };
  stdenv.mkDerivation = package: derivation (removeAttrs package [ "meta" ] // {
    name = "${package.pname}-${package.version}";
    system = builtins.currentSystem;
    builder = "/bin/bash";
    args = [ "-euc" ''
      export PATH=/usr/local/bin:/usr/bin:/bin TEST_SLOWDOWN=4
      cp -r $src source && chmod -R u+w source && cd source
      make $makeFlags $buildFlags
      ${builtins.replaceStrings [ "api/" ] [ "api/report" ] package.checkPhase}
      make $makeFlags install
    '' ];
  }) // { inherit (package) version meta; };
}
END_NIX
package=$TEST_ROOT/c/packaging/nix
nix=(-I "nixpkgs=$scratch/nixpkgs")

check the_package_parses nix-instantiate --parse "$package"
check_equal the_package_is_for_the_processors_of_the_library \
    "$(nix-instantiate "${nix[@]}" --eval --strict -E "(import $package { }).meta.platforms" 2>/dev/null)" \
    '[ "x86_64-linux" "aarch64-linux" ]'

# As the package of a copy, because other tests write into build/ of this tree meanwhile.
mkdir "$scratch/copy"
tar -cf - --exclude=./target --exclude=./.git --exclude=./build . | tar -xf - -C "$scratch/copy"
mkdir "$scratch/copy/build" && echo "not a source" >"$scratch/copy/build/file"
output=$(nix-build "${nix[@]}" --no-out-link "$scratch/copy/c/packaging/nix" 2>&1)
place=$(tail -n 1 <<<"$output")
if [[ ! -d $place ]]; then
    not_ok the_package_builds "$output"
    finish
fi
ok the_package_builds
check_match the_package_runs_its_tests "$output" '^[0-9]+ passed, 0 failed'
check_equal only_the_folder_of_builds_is_not_a_source \
    "$(cd "$NIX_STORE_DIR"/*-hakmem-source && find . -maxdepth 3 -name build)" ./c/tests/build

check make_install make --no-print-directory -s -C "$scratch/copy" PREFIX=/usr DESTDIR="$scratch/stage" install
# files FOLDER: prints its files. One is in a folder with the name of the prefix.
files() { (cd "$1" && find . -type f -o -type l) | sed 's|/auto-load/.*/lib/|/auto-load/lib/|' | sort; }
check_equal the_package_has_the_files_of_make_install "$(files "$place")" "$(files "$scratch/stage/usr")"
check a_program_links_the_library "$TEST_CC" -I "$place/include" c/tests/build/consumer/program.c \
    -L "$place/lib" -lhakmem -Wl,-rpath,"$place/lib" -o "$scratch/program"
check_equal the_program_runs "$("$scratch/program" 2>&1)" ours
check_match hakmem_run_finds_the_library "$("$place/bin/hakmem-run" --stats true 2>&1)" '^hakmem [0-9.]+$'

finish
