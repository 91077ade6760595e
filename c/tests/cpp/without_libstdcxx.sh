# without_libstdcxx.sh - the libraries need no C++ runtime, and work in programs without one.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

if installed readelf; then
    needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | xargs)
    check_equal the_shared_library_needs_no_cxx_runtime "$(grep -o 'libstdc++[^ ]*\|libgcc_s[^ ]*\|libc++[^ ]*' <<<"$needed")" ""
else
    skip the_shared_library_needs_no_cxx_runtime "not installed: readelf"
fi

cat >"$scratch/c_main.c" <<'END'
#include <stdlib.h>
int main(void) {
    char *p = malloc(100);
    p[99] = 1;
    free(p);
    return p == NULL;
}
END
link_c() {
    "$TEST_CC" -fno-builtin "$scratch/c_main.c" "$archive" -pthread -o "$scratch/c_main" && "$scratch/c_main"
}
check a_c_program_links_the_archive_without_a_cxx_runtime link_c

if ! installed "$TEST_CXX"; then
    skip a_cxx_program_without_its_runtime_has_the_operators "not installed: $TEST_CXX"
    finish
fi

# New and delete without exceptions and runtime, as in a kernel or a plugin.
cat >"$scratch/bare.cpp" <<'END'
#include <cstddef>
struct item { int values[100]; };
struct alignas(256) wide { char bytes[256]; };
template <typename T> static T *hide(T *p) { __asm__ volatile("" : "+r"(p)); return p; }
int main() {
    for (int i = 0; i < 1000; i++) {
        item *one = hide(new item), *many = hide(new item[50]);
        wide *aligned = hide(new wide);
        if ((reinterpret_cast<std::size_t>(aligned) & 255) != 0)
            return 1;
        delete one;
        delete[] many;
        delete aligned;
    }
    return 0;
}
END
# link_without_runtime NAME: links with the C compiler, so that no C++ library is linked.
link_without_runtime() {
    "$TEST_CXX" -std=c++17 -fno-exceptions -fno-rtti -c "$scratch/$1.cpp" -o "$scratch/$1.o" &&
        "$TEST_CC" "$scratch/$1.o" "$archive" -pthread -o "$scratch/$1"
}
link_bare() {
    link_without_runtime bare && "$scratch/bare"
}
check a_cxx_program_without_its_runtime_has_the_operators link_bare

# Out of memory without a runtime, where nothing could catch an exception.
cat >"$scratch/absurd.cpp" <<'END'
#include <cstddef>
#include <cstdint>
int main() {
    std::size_t size = PTRDIFF_MAX;
    __asm__ volatile("" : "+r"(size));
    void *p = ::operator new(size);
    __asm__ volatile("" : : "r"(p));
    return 0;
}
END
abort_bare() {
    link_without_runtime absurd || return 1
    (ulimit -c 0; "$scratch/absurd") 2>"$scratch/errors"
    local status=$?
    cat "$scratch/errors"
    [[ $status == 134 ]]
}
check exhausted_memory_without_a_runtime_aborts abort_bare

finish
