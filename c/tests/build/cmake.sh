# cmake.sh - CMake builds hakmem as a part of another project, with the flags of the Makefile.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: cmake ctest make nm readelf
# timeout: 240

. "$(dirname "$0")/consumer/consumer.sh"

# configure SOURCE BUILD OPTION...
configure() {
    cmake -S "$1" -B "$2" -DCMAKE_C_COMPILER="$TEST_CC" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "${@:3}"
}

# ---- Alone -----------------------------------------------------------------------------------------

check hakmem_alone_is_configured configure "$TEST_ROOT" "$scratch/alone"
has_the_flags_of_make the_core_has_the_flags_of_the_makefile "$scratch/alone/compile_commands.json" ''

# ---- CTest -----------------------------------------------------------------------------------------

# registered BUILD: the names of the tests, in order.
registered() {
    ctest --test-dir "$1" --show-only | sed -nE 's/^ *Test +#[0-9]+: //p' | sort
}

check_equal ctest_knows_every_test_file "$(registered "$scratch/alone")" \
    "$(cd "$TEST_ROOT/c/tests" && printf '%s\n' */*.c */*.cpp */*.sh | sed 's/\.[a-z]*$//' | sort)"
check hakmem_alone_builds cmake --build "$scratch/alone"
check_match ctest_runs_a_test_on_the_libraries_of_cmake \
    "$(ctest --test-dir "$scratch/alone" -V -R '^api/options$' 2>&1)" \
    '^[0-9]+: ok +api/options: [0-9]+ passed, 0 failed$'
echo 'not an archive' >"$scratch/alone/libhakmem.a"
check_match ctest_sees_a_failure "$(ctest --test-dir "$scratch/alone" -R '^api/options$' 2>&1)" \
    '^0% tests passed, 1 tests failed out of 1$'

# ---- add_subdirectory ------------------------------------------------------------------------------

# A project with its own standard, visibility and warnings, none of which suit hakmem.
mkdir "$scratch/project"
cp "$consumer/program.c" "$scratch/project/"
echo 'int main(void) { return 0; }' >"$scratch/project/quiet.c"
cat >"$scratch/project/CMakeLists.txt" <<'PROJECT'
cmake_minimum_required(VERSION 3.16)
project(stranger C)
set(CMAKE_C_STANDARD 99)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET default)
add_compile_options(-Wall -Wpedantic -Werror)
if(FETCH)
    include(FetchContent)
    FetchContent_Declare(hakmem SOURCE_DIR "${HAKMEM}")
    FetchContent_MakeAvailable(hakmem)
else()
    add_subdirectory("${HAKMEM}" hakmem)
endif()
add_executable(with_archive program.c)
target_link_libraries(with_archive hakmem::hakmem)
add_executable(with_shared program.c)
target_link_libraries(with_shared hakmem::shared)
add_executable(quiet quiet.c)
target_link_libraries(quiet hakmem::hakmem)
foreach(target with_archive with_shared)
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
endforeach()
PROJECT
check a_project_with_add_subdirectory_is_configured \
    configure "$scratch/project" "$scratch/build" -DHAKMEM="$TEST_ROOT"
check it_builds cmake --build "$scratch/build"
runs its_program_with_the_archive_runs "$scratch/build/with_archive"
runs its_program_with_the_shared_library_runs "$scratch/build/with_shared"
replaces_malloc its_program_without_calls_has_the_archive_s_malloc "$scratch/build/quiet"
matches_the_library_of_make "$scratch/build/hakmem/libhakmem.so"
check_equal its_ctest_has_none_of_our_tests "$(registered "$scratch/build")" ''

# ---- FetchContent ----------------------------------------------------------------------------------

check a_project_with_fetchcontent_is_configured \
    configure "$scratch/project" "$scratch/fetched" -DHAKMEM="$TEST_ROOT" -DFETCH=ON

finish
