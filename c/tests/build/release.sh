# release.sh - make release builds, signs and checks the files of a release, and refuses a wrong tree.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: git cargo gzip
# timeout: 480

. "$(dirname "$0")/../test.sh"

# Neither the settings and keys of the user nor the network.
export GNUPGHOME=$scratch/gnupg CC=$TEST_CC
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null CARGO_NET_OFFLINE=true
unset RELEASE_KEY RUSTFLAGS CARGO_TARGET_DIR MAKEFLAGS
mkdir -m 700 "$GNUPGHOME"

# A repository with one commit, of the tree as it is.
clone=$scratch/clone
mkdir "$clone"
tar -cf - -C "$TEST_ROOT" --exclude=./build --exclude=./target --exclude=./.git . | tar -xf - -C "$clone"
cd "$clone" || exit 1
commit() {
    git add -A && git -c user.name=test -c user.email=test@example.invalid commit -q -m "$1"
}
check a_repository git init -q
check a_commit commit first
version=$(sed -n 's/^.define HAK_VERSION_STRING "\(.*\)"/\1/p' c/include/hakmem.h)
name=hakmem-$version
tarball=build/release/$name.tar.gz

# ---- Files -------------------------------------------------------------------------------------------

output=$(c/tools/release tarball signature program 2>&1)
check_equal a_release_without_a_key_succeeds "$?" 0
check_match a_missing_key_is_reported "$output" 'not signed: there is no key'
check_match signing_is_left "$output" '^  [0-9]+\. Sign the tarball\.$'
check_match the_tag_is_left "$output" "git tag -s v$version -m \"hakmem $version\" $(git rev-parse --short HEAD)"
check_match publishing_is_left "$output" 'cargo publish -p hakmem-sys && cargo publish -p hakmem-alloc$'
check_match the_upload_is_left "$output" "gh release create v$version .* build/release/$name.tar.gz\*\$"
check_equal the_programs_ran "$(grep -c 'it runs$' <<<"$output")" 2
check the_checksum_fits env -C build/release sha256sum -c "$name.tar.gz.sha256"
check_equal the_tarball_has_the_files_of_the_commit "$(tar -tzf "$tarball" | grep -v '/$' | sort)" \
    "$(git ls-files | sed "s|^|$name/|" | sort)"
check_match the_notes_are_those_of_the_version "$(<build/release/notes.md)" '^### Added'
check_equal the_notes_are_of_one_version "$(grep -c '^## ' build/release/notes.md)" 0

# The dependencies of the crates must already be on this machine.
output=$(c/tools/release crates 2>&1)
if grep -q 'it runs$' <<<"$output"; then
    ok a_program_runs_with_the_packaged_crates
elif grep -v 'not published: ' <<<"$output" | grep -q 'network\|offline'; then
    skip a_program_runs_with_the_packaged_crates "$(grep -m 1 '^error' <<<"$output")"
else
    not_ok a_program_runs_with_the_packaged_crates "$output"
fi

# A registry that has the version, and a cargo that only notes how it is called.
cat >"$scratch/cargo" <<'END_SCRIPT'
#!/bin/sh
echo "$@" >>"$0.calls"
case $1 in
build) mkdir -p "$CARGO_TARGET_DIR/debug" && printf '#!/bin/sh\necho ours\n' >"$CARGO_TARGET_DIR/debug/empty" &&
    chmod +x "$CARGO_TARGET_DIR/debug/empty" ;;
esac
END_SCRIPT
chmod +x "$scratch/cargo"
output=$(CARGO=$scratch/cargo c/tools/release crates 2>&1)
check_match published_crates_are_taken_from_the_registry "$(<"$scratch/cargo.calls")" \
    "^add hakmem-alloc@=$version\$"
check_equal published_crates_are_not_packaged "$(grep -c '^package' "$scratch/cargo.calls")" 0
check_equal publishing_is_done "$(grep -c 'cargo publish' <<<"$output")" 0

# ---- Signatures --------------------------------------------------------------------------------------

if installed ssh-keygen && ssh-keygen -q -t ed25519 -N '' -C test -f "$scratch/key"; then
    output=$(RELEASE_KEY=$scratch/key c/tools/release signature 2>&1)
    echo "test $(<"$scratch/key.pub")" >"$scratch/signers"
    check a_key_of_ssh_signs_the_tarball sh -c "ssh-keygen -Y verify -f '$scratch/signers' -I test -n file \
        -s '$tarball.sig' <'$tarball'"
    check_equal signing_is_done "$(grep -c 'Sign the tarball' <<<"$output")" 0
else
    skip a_key_of_ssh_signs_the_tarball "not installed: ssh-keygen"
fi
if installed gpg && gpg --batch --quiet --passphrase '' --quick-gen-key test@example.invalid ed25519 2>/dev/null; then
    output=$(c/tools/release signature 2>&1)
    check the_key_of_gpg_signs_the_tarball gpg --verify "$tarball.asc" "$tarball"
    check_match a_key_that_does_not_exist_is_a_failure \
        "$(RELEASE_KEY=nobody c/tools/release signature 2>&1)" 'this failed: gpg'
    gpgconf --kill gpg-agent
else
    skip the_key_of_gpg_signs_the_tarball "not installed: gpg"
fi

# ---- Refusals ----------------------------------------------------------------------------------------

# refused NAME REGEX: the release fails with this message.
refused() {
    output=$(c/tools/release tarball 2>&1)
    check_equal "$1_ends_with_an_error" "$?" 1
    check_match "$1_is_refused" "$output" "$2"
}

echo >>README.md
refused a_changed_file '^release:  M README.md$'
git checkout -q README.md
echo >new_file
refused a_new_file '^release: \?\? new_file$'
rm new_file

for file in c/include/hakmem.h hakmem-sys/src/lib.rs hakmem/README.md Cargo.toml Cargo.lock fuzz/Cargo.lock \
    CHANGELOG.md c/packaging/{debian/changelog,alpine/APKBUILD,arch/PKGBUILD,nix/default.nix}; do
    # The last number of each place that c/tools/versions reads becomes another one.
    sed -i -E "/VERSION|version = |pkgver=|^## \[|^hakmem \(|^hakmem-alloc = /s/\b${version//./\\.}\b/$version.1/;
        s/^hakmem-alloc = \"[0-9.]+\"/hakmem-alloc = \"77.7\"/" "$file"
    check_match "another_version_in_${file}_is_found" "$(c/tools/versions)" "^$file: "
    git checkout -q "$file"
done
sed -i "s/^pkgver=.*/pkgver=77.7.7/" c/packaging/arch/PKGBUILD
check another_commit commit second
refused another_version "^release: c/packaging/arch/PKGBUILD: '77.7.7' is not $version"
git reset -q --hard HEAD~1

git tag "v$version"
echo >>README.md
check a_later_commit commit third
refused a_tag_on_another_commit "v$version is another commit"

finish
