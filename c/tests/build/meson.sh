# meson.sh - Meson builds hakmem as a subproject, with the flags of the Makefile.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: meson ninja make nm readelf
# timeout: 240

. "$(dirname "$0")/consumer/consumer.sh"
export CC=$TEST_CC

# ---- Alone -----------------------------------------------------------------------------------------

check hakmem_alone_is_configured meson setup --buildtype=plain "$scratch/alone" "$TEST_ROOT"
has_the_flags_of_make the_core_has_the_flags_of_the_makefile "$scratch/alone/compile_commands.json" \
    '-fdiagnostics-color=always|-fcolor-diagnostics|-D_FILE_OFFSET_BITS=64|-Winvalid-pch'

# ---- A subproject ----------------------------------------------------------------------------------

# A project with its own standard and warnings, neither of which suit hakmem.
mkdir -p "$scratch/project/subprojects"
ln -s "$TEST_ROOT" "$scratch/project/subprojects/hakmem"
cp "$consumer/program.c" "$scratch/project/"
echo 'int main(void) { return 0; }' >"$scratch/project/quiet.c"
cat >"$scratch/project/meson.build" <<'PROJECT'
project('stranger', 'c', default_options: ['c_std=c99', 'warning_level=3', 'werror=true'])
archive = dependency('hakmem', fallback: 'hakmem')
shared = dependency('hakmem', static: false)
executable('with_archive', 'program.c', dependencies: archive, c_args: '-D_GNU_SOURCE')
executable('with_shared', 'program.c', dependencies: shared, c_args: '-D_GNU_SOURCE')
executable('quiet', 'quiet.c', dependencies: archive)
PROJECT
check a_project_with_the_subproject_is_configured meson setup "$scratch/build" "$scratch/project"
check it_builds ninja -C "$scratch/build"
runs its_program_with_the_archive_runs "$scratch/build/with_archive"
runs its_program_with_the_shared_library_runs "$scratch/build/with_shared"
check_match its_program_with_the_shared_library_needs_it "$(readelf -d "$scratch/build/with_shared")" \
    'NEEDED.*libhakmem\.so\.'
replaces_malloc its_program_without_calls_has_the_archive_s_malloc "$scratch/build/quiet"
matches_the_library_of_make "$scratch/build/subprojects/hakmem/libhakmem.so"

finish
