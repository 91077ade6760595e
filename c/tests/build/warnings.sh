# warnings.sh - the core compiles without warnings with each installed compiler: each file alone, the
# unity file in its variants, and the headers as C and as C++.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 240

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

# The flags of the libraries, read from the Makefile.
flags=$(make --no-print-directory -s print-flags) && [[ -n $flags ]] || exit 1

compiles() {
    local name=$1
    shift
    check "$name" "$@" -Werror -c -o /dev/null
}

# All warnings that a C++ program may want for the headers of others. With clang, these are all without
# those that every header has: features of newer standards, and padding. A class in a header cannot
# have its virtual functions elsewhere.
declare -A strict=(
    [gcc]="-Wall -Wextra -Wpedantic -Wshadow -Weffc++ -Wconversion -Wsign-conversion -Wold-style-cast
        -Wuseless-cast"
    [clang]="-Weverything -Wno-c++98-compat -Wno-c++98-compat-pedantic -Wno-padded -Wno-weak-vtables
        -Wno-unknown-warning-option -Wno-unsafe-buffer-usage"
)

for compiler in gcc clang; do
    if ! installed $compiler; then
        skip "compiles_with_$compiler" "not installed"
        continue
    fi
    for source in c/src/*/*.c; do
        compiles "${source}_compiles_alone_with_$compiler" $compiler $flags "$source"
    done
    unity="$compiler $flags c/src/hakmem.c"
    compiles "unity_file_compiles_with_$compiler" $unity
    compiles "unity_file_without_override_compiles_with_$compiler" $unity -UHAK_OVERRIDE
    compiles "unity_file_with_assertions_compiles_with_$compiler" $unity -DHK_DEBUG=1
    compiles "unity_file_compiles_unoptimised_with_$compiler" $unity -O0
    compiles "unity_file_compiles_with_local_dynamic_tls_with_$compiler" $unity \
        -ftls-model=local-dynamic
    for standard in c90 c99 c11 c17 c2x; do
        compiles "header_compiles_as_${standard}_with_$compiler" $compiler -std=$standard -pedantic \
            -Wall -Wextra -x c c/include/hakmem.h
    done
    for standard in c++98 c++11 c++14 c++17 c++20; do
        compiles "header_compiles_as_${standard}_with_$compiler" $compiler -std=$standard -pedantic \
            -Wall -Wextra -x c++ c/include/hakmem.h
    done
    for standard in c++98 c++20; do
        compiles "header_has_no_warnings_at_all_as_${standard}_with_$compiler" $compiler \
            -std=$standard ${strict[$compiler]} -x c++ - <<<'#include "c/include/hakmem.h"'
    done
    for standard in c++11 c++20; do
        compiles "header_for_containers_has_no_warnings_at_all_as_${standard}_with_$compiler" \
            $compiler -std=$standard ${strict[$compiler]} -x c++ - <<<'
                #include "c/include/hakmem.hpp"
                template class hakmem::allocator<int>;'
    done
    for standard in c++11 c++14 c++17 c++20; do
        compiles "containers_in_heaps_compile_as_${standard}_with_$compiler" $compiler -std=$standard \
            -Wall -Wextra -I c/include -I c/tests c/tests/cpp/heaps.cpp
        compiles "header_for_containers_compiles_as_${standard}_without_exceptions_with_$compiler" \
            $compiler -std=$standard -pedantic -Wall -Wextra -fno-exceptions -fno-rtti \
            -include c/include/hakmem.hpp -x c++ /dev/null
    done
done

finish
