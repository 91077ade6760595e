# loading.sh - how the libraries are loaded and what they export.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: nm
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sed 's/@.*//')

libc_names="malloc calloc realloc reallocarray free cfree posix_memalign aligned_alloc memalign valloc
pvalloc malloc_usable_size malloc_trim mallopt mallinfo mallinfo2 malloc_info malloc_stats free_sized
free_aligned_sized dlopen"
missing=
for name in $libc_names $(sed -n 's/^HAK_API .*[ *]\(hak_[a-z_]*\)(.*/\1/p' "$TEST_ROOT/c/include/hakmem.h"); do
    grep -qx "$name" <<<"$exported" || missing+=" $name"
done
check_equal the_shared_library_exports_every_public_name "${missing:-none}" none

# Operators new and delete are mangled: _Zn*, _Zd*.
other=$(grep -Ev '^(hak_|_Zn|_Zd|_ZSt|HAKMEM_[0-9.]+$)' <<<"$exported" | grep -vxF -f <(printf '%s\n' $libc_names) | xargs)
check_equal the_shared_library_exports_nothing_else "${other:-none}" none

check_equal preloading_changes_no_output "$(preloaded /bin/echo hello 2>&1)" hello
check_equal a_preloaded_shell_runs_pipelines \
    "$(preloaded bash -c 'seq 1 2000 | sort -rn | head -n 1; echo $((6 * 7))' 2>&1 | xargs)" "2000 42"
check_equal preloading_twice_changes_nothing \
    "$(env LD_PRELOAD="$library $library" /bin/echo hello 2>&1)" hello

# A program with little address space still starts, because the class map must not need gigabytes.
check_equal a_program_with_512_mib_of_address_space_runs \
    "$(ulimit -v 524288 && preloaded /bin/echo hello 2>&1)" hello

# Valgrind hides the kernel's shared object (vDSO), which provides the clock otherwise.
if installed valgrind; then
    check_equal a_program_runs_under_valgrind \
        "$(preloaded valgrind --tool=none -q --trace-children=yes /bin/echo hello 2>&1)" hello
else
    skip a_program_runs_under_valgrind "not installed: valgrind"
fi

finish
