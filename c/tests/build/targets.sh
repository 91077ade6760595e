# targets.sh - the core builds for other C libraries, or fails with a clear error message.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 300

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

flags=(-std=gnu11 -O1 -fPIC -pthread -Wall -Wextra -Werror -I c/include -I c/src)

# Succeeds if blocks come from hakmem, in this thread and in another one.
cat >"$scratch/program.c" <<'END_C'
#include <hakmem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef PLAIN
#define malloc hak_malloc
#define free hak_free
#endif
static void *work(void *arg) {
    for (int i = 0; i < 100000; i++) {
        char *volatile p = malloc((size_t)i % 5000);
        free(p);
    }
    return arg;
}
int main(void) {
    pthread_t thread;
    struct hak_stats stats;
    char *volatile p = malloc(1000);
    memset(p, 1, 1000);
    pthread_create(&thread, NULL, work, NULL);
    work(NULL);
    pthread_join(thread, NULL);
    hak_stats(&stats, sizeof stats);
    puts(stats.bytes_live >= 1000 && hak_validate() == 0 ? "ours" : "not ours");
    return 0;
}
END_C

# ---- musl ------------------------------------------------------------------------------------------

if installed musl-gcc; then
    # make writes into build/ of the sources, so it works on a copy.
    cp -r "$TEST_ROOT"/{c,benches,fuzz,Makefile} "$scratch/"
    check musl_builds_the_libraries make -s -C "$scratch" CC=musl-gcc
    musl=(musl-gcc -pthread -I c/include "$scratch/program.c")
    check musl_links_the_archive "${musl[@]}" "$scratch/build/libhakmem.a" -o "$scratch/dynamic"
    check_equal a_program_of_musl_runs_on_the_archive "$("$scratch/dynamic" 2>&1)" ours
    check musl_links_statically "${musl[@]}" -static "$scratch/build/libhakmem.a" -o "$scratch/static"
    check_equal a_static_program_of_musl_runs "$("$scratch/static" 2>&1)" ours
    check musl_links_the_shared_library "${musl[@]}" -L"$scratch/build" -lhakmem \
        -Wl,-rpath,"$scratch/build" -o "$scratch/shared"
    check_equal a_program_of_musl_runs_on_the_shared_library "$("$scratch/shared" 2>&1)" ours
    check_match statistics_of_a_program_of_musl_are_printed \
        "$(HAKMEM_STATS=1 "$scratch/static" 2>&1)" 'live'
    check musl_builds_without_the_names_of_libc musl-gcc "${flags[@]}" c/src/hakmem.c -DPLAIN \
        "$scratch/program.c" -o "$scratch/plain"
    check_equal a_program_of_musl_runs_on_the_other_names "$("$scratch/plain" 2>&1)" ours
else
    skip musl "not installed: musl-gcc"
fi

# ---- glibc -----------------------------------------------------------------------------------------

for compiler in gcc clang; do
    if ! installed $compiler; then
        skip "fortified_with_$compiler" "not installed: $compiler"
        continue
    fi
    for level in 1 2 3; do
        check "fortified_${level}_with_$compiler" $compiler "${flags[@]}" -Wno-error=cpp -U_FORTIFY_SOURCE \
            -D_FORTIFY_SOURCE=$level -DHAK_OVERRIDE -c c/src/hakmem.c -o /dev/null
    done
done

# Headers of an older glibc: without mallinfo2, which came with 2.33.
headers=$(dirname "$(echo '#include <malloc.h>' | "$TEST_CC" -E -x c - |
    sed -n 's/^# [0-9]* "\(.*\/malloc\.h\)".*/\1/p' | head -n 1)")
if grep -qs mallinfo2 "$headers/malloc.h" && grep -qs '__GLIBC_MINOR__' "$headers/features.h"; then
    mkdir "$scratch/old"
    sed -e '/^struct mallinfo2$/,/^};/d' -e '/^extern struct mallinfo2/d' "$headers/malloc.h" >"$scratch/old/malloc.h"
    sed 's/define[ \t]*__GLIBC_MINOR__.*/define __GLIBC_MINOR__ 31/' "$headers/features.h" >"$scratch/old/features.h"
    check glibc_without_mallinfo2_builds "$TEST_CC" "${flags[@]}" -I "$scratch/old" \
        -Wno-deprecated-declarations -DHAK_OVERRIDE -c c/src/hakmem.c -o "$scratch/old/hakmem.o"
    check_equal it_has_mallinfo_only \
        "$(nm --defined-only "$scratch/old/hakmem.o" | awk '$3 ~ /^mallinfo/ { print $3 }' | xargs)" mallinfo
else
    skip glibc_without_mallinfo2_builds "the headers are not those of glibc 2.33 or later"
fi

# ---- 32 bits ---------------------------------------------------------------------------------------

# No headers for 32 bits are needed, because the error message comes first.
for arguments in "-m32" "-mx32"; do
    result=$("$TEST_CC" $arguments "${flags[@]}" -DHAK_OVERRIDE -fsyntax-only c/src/hakmem.c 2>&1)
    if [[ $result == *unrecognized* ]]; then
        skip "32_bits_are_refused_$arguments" "the compiler has no such target"
    else
        check_match "32_bits_are_refused_$arguments" "$(grep error <<<"$result" | head -n 1)" \
            'hakmem supports 64-bit targets only'
    fi
done

finish
