# link_time.sh - exceptions pass through operator new with link-time optimisation.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 180
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"
cd "$TEST_ROOT" || exit 1

# The flags of the libraries, read from the Makefile.
flags=$(make --no-print-directory -s print-flags) && [[ -n $flags ]] || exit 1

cat >"$scratch/program.cpp" <<'END_C'
#include <cstdio>
#include <new>
static volatile std::size_t absurd = static_cast<std::size_t>(-1) / 2;
static void throw_seven() { throw 7; }
int main() {
    int caught = 0;
    try {
        ::operator delete(::operator new(absurd));
    } catch (const std::bad_alloc &) {
        caught++;
    }
    std::set_new_handler(throw_seven);
    try {
        ::operator delete(::operator new(absurd));
    } catch (int seven) {
        caught += seven == 7;
    }
    caught += ::operator new(absurd, std::nothrow) == nullptr;
    std::printf("%d\n", caught);
}
END_C

# caught C-COMPILER C++-COMPILER: prints how many of the three failures the program catches.
caught() {
    $1 $flags -flto -c c/src/hakmem.c -o "$scratch/hakmem.o" &&
        $2 -std=c++17 -O2 -flto -fno-builtin -pthread "$scratch/program.cpp" "$scratch/hakmem.o" \
            -o "$scratch/program" && "$scratch/program"
}

if ! installed g++; then
    skip exceptions_pass_with_gcc "not installed: g++"
else
    check_equal exceptions_pass_with_gcc "$(caught gcc g++ 2>&1 | grep -v '^lto-wrapper')" 3
fi
if ! installed clang++ || ! installed ld.gold; then
    skip exceptions_pass_with_clang "not installed: clang++ and ld.gold"
else
    check_equal exceptions_pass_with_clang "$(caught clang "clang++ -fuse-ld=gold" 2>&1)" 3
fi

finish
