# ctest.cmake - registers the C tests with CTest. The top-level CMakeLists.txt includes this.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Each file is a test of its own, and c/tests/run compiles and runs it against the libraries of this
# build. It knows the time limit of each file, so that CTest needs none. Tests that are new need a new
# run of cmake, which `cmake --build` starts.

enable_testing()
file(GLOB hakmem_tests RELATIVE "${PROJECT_SOURCE_DIR}/c/tests" CONFIGURE_DEPENDS
    c/tests/*/*.c c/tests/*/*.cpp c/tests/*/*.sh)

foreach(file IN LISTS hakmem_tests)
    string(REGEX REPLACE "\\.[a-z]+$" "" name "${file}")
    add_test(NAME "${name}" COMMAND "${PROJECT_SOURCE_DIR}/c/tests/run" "c/tests/${file}")
    set_tests_properties("${name}" PROPERTIES
        ENVIRONMENT "BUILD=${PROJECT_BINARY_DIR};CC=${CMAKE_C_COMPILER};TEST_JOBS=1"
        SKIP_REGULAR_EXPRESSION "(^|\n)0 passed, 0 failed, [1-9]")
endforeach()
