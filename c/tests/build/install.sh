# install.sh - an installed hakmem works for other projects: pkg-config, CMake, manual page, exports.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 120

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

# A space in the prefix is the harder case. Everything else works as it does without one.
prefix="/opt/hak mem" stage=$scratch/stage
place=$stage$prefix
built=${TEST_BUILD#"$TEST_ROOT"/}
# -o prevents a rebuild, because other tests are using these files.
built_files=(-o "$built/libhakmem.a" -o "$built/libhakmem.so" -o "$built/hakmem-run")
make_quietly() {
    make --no-print-directory -s "${built_files[@]}" PREFIX="$prefix" \
        LIBDIR="$prefix/lib/arch" DESTDIR="$stage" "$@"
}
check install make_quietly install

check_equal installed_files \
    "$(cd "$place" && find . -type f -o -type l | sort | sed 's|\.so\.0\..*|.so.0.x|')" \
    "./bin/hakmem-run
./include/hakmem.h
./include/hakmem.hpp
./lib/arch/cmake/hakmem/hakmemConfig.cmake
./lib/arch/cmake/hakmem/hakmemConfigVersion.cmake
./lib/arch/libhakmem.a
./lib/arch/libhakmem.so
./lib/arch/libhakmem.so.0
./lib/arch/libhakmem.so.0.x
./lib/arch/pkgconfig/hakmem.pc
./share/gdb/auto-load$prefix/lib/arch/libhakmem.so.0.x
./share/man/man1/hakmem-run.1
./share/man/man3/hakmem.3"
check_equal no_placeholder_remains "$(grep -rIlE '@[A-Z_]+@' "$place/bin" "$place/lib" "$place/share")" ""

# A program that succeeds only if its malloc is hakmem's.
cp c/tests/build/consumer/program.c "$scratch/"

runs() {
    check_equal "$1" "$(LD_LIBRARY_PATH=$place/lib/arch "$2" 2>&1)" ours
}

if installed pkg-config; then
    pkg() { PKG_CONFIG_PATH=$place/lib/arch/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage pkg-config "$@"; }
    version=$(sed -n 's/^.define HAK_VERSION_STRING "\(.*\)"/\1/p' c/include/hakmem.h)
    check_equal pkg_config_version "$(pkg --modversion hakmem)" "$version"
    mapfile -t flags < <(eval "printf '%s\\n' $(pkg --cflags --libs hakmem)")
    check pkg_config_compile "$TEST_CC" "$scratch/program.c" "${flags[@]}" -o "$scratch/with_pkg_config"
    runs pkg_config_program_runs "$scratch/with_pkg_config"
    echo '#include <hakmem.hpp>' >"$scratch/containers.cpp"
    check pkg_config_compile_with_containers_in_heaps \
        "$TEST_CXX" -fsyntax-only "$scratch/containers.cpp" "${flags[@]}"
else
    skip pkg_config "not installed"
fi

# ---- In its final place, with the notes that are printed for it ---------------------------------------

own="$scratch/own place"
install_there() {
    make --no-print-directory -s "${built_files[@]}" PREFIX="$own" install 2>&1
}
notes=$(install_there)
check_match a_folder_that_the_loader_does_not_search_is_named "$notes" "LD_LIBRARY_PATH=$own/lib,"
if installed pkg-config; then
    check_match a_folder_that_pkg_config_does_not_search_is_named "$notes" "PKG_CONFIG_PATH=$own/lib/pkgconfig$"
    check a_program_builds_as_the_notes_say env "$(grep -o 'PKG_CONFIG_PATH=.*' <<<"$notes")" sh -c '
        eval "\"\$0\" \"\$1\" $(pkg-config --cflags --libs hakmem) -o \"\$2\""' "$TEST_CC" "$scratch/program.c" "$scratch/noted"
    check_equal the_program_runs_as_the_notes_say \
        "$(env "$(grep -o 'LD_LIBRARY_PATH=[^,]*' <<<"$notes")" "$scratch/noted" 2>&1)" ours
fi
check_equal a_staged_installation_prints_no_notes "$(make_quietly install 2>&1 | grep "^hakmem:")" ""

check_match the_installed_hakmem_run_names_a_path_that_it_cannot_preload \
    "$("$own/bin/hakmem-run" true 2>&1)" "^hakmem-run: $(readlink -f "$own")/lib/libhakmem.so.0: .*space"
mv "$own" "$scratch/moved"
check_match hakmem_run_works_in_a_tree_that_was_moved \
    "$("$scratch/moved/bin/hakmem-run" --stats true 2>&1)" '^hakmem [0-9.]+$'
mv "$scratch/moved" "$own"

# With an ldconfig that searches the folder but has not been run since the installation.
mkdir "$scratch/bin"
cat >"$scratch/bin/ldconfig" <<SOURCE
#!/bin/sh
case \$1 in
-N) echo "$own/lib: (from /etc/ld.so.conf:1)" ;;
-p) cat "$scratch/cache" ;;
esac
SOURCE
chmod +x "$scratch/bin/ldconfig"
: >"$scratch/cache"
check_match a_folder_that_is_searched_needs_ldconfig \
    "$(PATH=$scratch/bin:$PATH install_there)" "run ldconfig as root.* $own/lib/libhakmem.so.0"
echo "	libhakmem.so.0 (libc6,x86-64) => $own/lib/libhakmem.so.0" >"$scratch/cache"
check_equal a_library_that_is_found_needs_nothing \
    "$(PATH=$scratch/bin:$PATH install_there | grep "^hakmem:" | grep -v PKG_CONFIG_PATH)" ""

if installed cmake; then
    mkdir "$scratch/project"
    cat >"$scratch/project/CMakeLists.txt" <<'PROJECT'
cmake_minimum_required(VERSION 3.13)
project(stranger C)
find_package(hakmem 0.1 REQUIRED)
add_executable(with_archive ../program.c)
target_link_libraries(with_archive hakmem::hakmem)
add_executable(with_shared ../program.c)
target_link_libraries(with_shared hakmem::shared)
PROJECT
    check cmake_configure cmake -S "$scratch/project" -B "$scratch/cmake" \
        -DCMAKE_C_COMPILER="$TEST_CC" -DCMAKE_PREFIX_PATH="$place" -Dhakmem_DIR="$place/lib/arch/cmake/hakmem"
    check cmake_build cmake --build "$scratch/cmake"
    runs cmake_program_with_archive_runs "$scratch/cmake/with_archive"
    runs cmake_program_with_shared_runs "$scratch/cmake/with_shared"
    check_equal archive_program_needs_no_library \
        "$(ldd "$scratch/cmake/with_archive" | grep -c hakmem)" 0
    sed -i 's/hakmem 0.1/hakmem 0.2/' "$scratch/project/CMakeLists.txt"
    check_match cmake_refuses_another_minor_version \
        "$(cmake -S "$scratch/project" -B "$scratch/cmake2" -Dhakmem_DIR="$place/lib/arch/cmake/hakmem" 2>&1)" \
        "considered but not accepted"
else
    skip cmake "not installed"
fi

if installed man; then
    check_equal manuals_render_without_warnings \
        "$(MANWIDTH=100 man --warnings -E UTF-8 -l "$place"/share/man/*/* 2>&1 >/dev/null)" ""
else
    skip manual "not installed"
fi
if installed mandoc; then
    check_equal mandoc_finds_no_fault_in_the_manuals \
        "$(mandoc -T lint -W warning "$place"/share/man/*/* 2>&1)" ""
else
    skip mandoc_finds_no_fault_in_the_manuals "not installed: mandoc"
fi

# The exports of the shared library: the interface, the C library's functions, C++'s operators.
exported=$(nm -D --defined-only "$place/lib/arch/libhakmem.so" | awk '{ print $3 }')
check_equal no_other_name_is_exported "$(grep -Ev '^(hak_|_Z(nw|na|dlPv|daPv))' <<<"$exported" |
    sort | tr '\n' ' ')" "aligned_alloc calloc cfree dlopen free free_aligned_sized free_sized mallinfo \
mallinfo2 malloc malloc_info malloc_stats malloc_trim malloc_usable_size mallopt memalign \
posix_memalign pvalloc realloc reallocarray valloc "
declared=$(grep -oE '\bhak_[a-z_]+\(' c/include/hakmem.h | tr -d '(' | sort -u)
check_equal every_declared_function_is_exported \
    "$(comm -23 <(echo "$declared") <(sort <<<"$exported"))" ""
check_equal every_exported_hak_name_is_declared \
    "$(comm -13 <(echo "$declared") <(grep '^hak_' <<<"$exported" | sort))" ""
# All public names of the archive. A linked program may define all other names itself. The format of
# tracepoints prescribes _.stapsdt.base.
check_equal global_names_of_the_archive_are_ours \
    "$(nm -g --defined-only "$place/lib/arch/libhakmem.a" | awk 'NF == 3 { print $3 }' |
        grep -Ev '^(hak_|hk_|_\.stapsdt\.base$)' | grep -vxF "$exported")" ""

check uninstall make_quietly uninstall
check_equal uninstall_leaves_no_file "$(find "$stage" -type f -o -type l)" ""

finish
