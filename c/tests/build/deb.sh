# deb.sh - make deb builds packages for Debian, with the files of `make install`, that pass lintian.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: dpkg-buildpackage dh
# timeout: 300

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

version=$(sed -n 's/^.define HAK_VERSION_STRING "\(.*\)"/\1/p' c/include/hakmem.h)
packages="hakmem-bin libhakmem-dev libhakmem0"

check make_deb env -u CC -u CXX DEB_BUILD_OPTIONS=nocheck \
    make --no-print-directory -s DEB="$scratch/deb" deb
cd "$scratch/deb" || exit 1
check_equal there_are_three_packages_and_the_debug_information \
    "$(for file in ./*.deb; do dpkg-deb -f "$file" Package; done | sort | xargs)" \
    "hakmem-bin libhakmem-dev libhakmem0 libhakmem0-dbgsym"

# package NAME: prints the name of its file.
package() { echo "$1"_*.deb; }

# ---- Files -------------------------------------------------------------------------------------------

triplet=$(dpkg-architecture -q DEB_HOST_MULTIARCH)
for name in $packages; do
    check "${name}_unpacks" dpkg-deb -x "$(package "$name")" all
done
check make_install make --no-print-directory -s -C hakmem-"$version" PREFIX=/usr \
    LIBDIR="/usr/lib/$triplet" DESTDIR="$scratch/stage" install

# files FOLDER: prints its files, without those that packages add, and without compression.
files() { (cd "$1" && find usr -type f -o -type l) | grep -v '^usr/share/doc/' | sed 's/\.gz$//' | sort; }
check_equal the_packages_have_the_files_of_make_install "$(files all)" "$(files "$scratch/stage")"
check_equal no_file_is_in_two_packages "$(for name in $packages; do dpkg-deb -c "$(package "$name")" |
    awk '!/\/$/ { print $6 }'; done | sort | uniq -d)" ""

# ---- Contents ----------------------------------------------------------------------------------------

check_match the_tools_depend_on_the_same_version_of_the_library \
    "$(dpkg-deb -f "$(package hakmem-bin)" Depends)" "libhakmem0 \(= $version-"
check_equal the_library_depends_on_libc_only "$(dpkg-deb -f "$(package libhakmem0)" Depends |
    tr ',' '\n' | sed 's/ *(.*//; s/ //g' | xargs)" "libc6"
check_match programs_that_link_the_library_need_this_version \
    "$(dpkg-deb -I "$(package libhakmem0)" shlibs)" "^libhakmem 0 libhakmem0 \(>= $version"
check_match hakmem_run_finds_the_library_of_the_other_package \
    "$(all/usr/bin/hakmem-run --stats true 2>&1)" "^hakmem $version$"
check_match the_archive_has_no_debug_information "$(readelf -S all/usr/lib/*/libhakmem.a)" '\.text'
check_equal the_debug_information_is_a_package_of_its_own \
    "$(readelf -SW all/usr/lib/*/libhakmem.* | grep -c '\.debug_info')" 0

if installed lintian; then
    check_equal lintian_finds_no_error_and_no_warning \
        "$(lintian --allow-root ./*.changes 2>&1 | grep '^[EW]:')" ""
else
    skip lintian_finds_no_error_and_no_warning "not installed: lintian"
fi

finish
