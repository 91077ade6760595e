# interposed.sh - libc functions that a preloaded library replaces may allocate.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# timeout: 120
# needs: nm
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# Each replacement allocates with the usual functions, and then calls the original function.
cat >"$scratch/hooks.c" <<'END_C'
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static __thread int inside;

static void use(void) {
    if (inside++ == 0) {
        char *p = malloc(3000), *q = calloc(1, 70), *r = malloc(1 << 20);
        void *s = aligned_alloc(4096, 100);
        memset(p, 1, 3000);
        p = realloc(p, 90000);
        free(q);
        free(p);
        free(r);
        free(s);
    }
    inside--;
}

/* Registers and return values are wide enough for all of these functions. */
#define HOOK(name)                                                                                 \
    long hook_##name(long, long, long, long, long, long, long) __asm__(#name);                     \
    long hook_##name(long a, long b, long c, long d, long e, long f, long g) {                     \
        static long (*next)(long, long, long, long, long, long, long);                             \
        if (next == NULL)                                                                          \
            next = dlsym(RTLD_NEXT, #name);                                                        \
        use();                                                                                     \
        return next(a, b, c, d, e, f, g);                                                          \
    }
NAMES
END_C

cat >"$scratch/program.c" <<'END_C'
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* A trim empties the cache of a thread that sleeps. */
static void *sleeper(void *arg) {
    for (int i = 0; i < 300; i++)
        free(malloc(10 * i));
    pause();
    return arg;
}
static void *work(void *arg) {
    enum { COUNT = 20000 };
    static char *blocks[2][COUNT];
    char **own = blocks[arg != NULL];
    for (int i = 0; i < COUNT; i++)
        own[i] = memset(malloc(1000), 1, 1000);
    for (int i = 0; i < COUNT; i++)
        free(own[i]);
    for (int i = 0; i < 10; i++)
        free(malloc(5 << 20));
    return arg;
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, "");
    work(NULL);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, sleeper, NULL);
    usleep(10000);
    malloc_trim(0);
    fclose(fopen("/dev/null", "r"));
    usleep(1000);
    puts("ok");
    return 0;
}
END_C
check the_program_compiles "$TEST_CC" -fno-builtin -pthread "$scratch/program.c" -o "$scratch/program"

# hooked NAME...: prints the program's output with replacements of these functions.
hooked() {
    sed "s/^NAMES/$(printf 'HOOK(%s) ' "$@")/" "$scratch/hooks.c" >"$scratch/hooked.c"
    "$TEST_CC" -w -fno-builtin -shared -fPIC "$scratch/hooked.c" -o "$scratch/hooked.so" -ldl &&
        HAKMEM_STATS=${stats:-0} HAKMEM_LIMIT_HARD=90% timeout -k 1 20 \
            env LD_PRELOAD="$scratch/hooked.so $library" "$scratch/program" 2>/dev/null
}

names="open open64 openat openat64 read pread close write fstat fcntl getauxval sysconf getpagesize prctl
clock_gettime clock_nanosleep nanosleep syscall sched_getaffinity getenv secure_getenv getuid geteuid
strtoul strtoull sched_yield mmap mmap64 munmap mremap madvise mprotect"
for name in $names; do
    check_equal "a_replacement_of_${name}_may_allocate" "$(hooked "$name")" ok
done
check_equal replacements_of_all_of_them_may_allocate "$(hooked $names)" ok
strings="memcpy memmove memset memcmp memchr strlen strnlen strcmp strncmp strchr strrchr strstr strspn strcspn"
check_equal replacements_of_copies_and_of_text_may_allocate "$(hooked $strings)" ok
for setting in HAKMEM_GUARD_RATE=10 "HAKMEM_PROFILE=1 HAKMEM_PROFILE_FILE=/dev/null" HAKMEM_CHECKS=fast; do
    check_equal "they_may_allocate_with_${setting%% *}" "$(export ${setting?} && hooked $strings)" ok
done
stats=1
check_equal replacements_may_allocate_while_statistics_are_printed "$(hooked $names)" ok

# The archive itself must call none of these functions. Only realloc and calloc call two of them, for the blocks.
called=$(nm -u "$archive" | awk '{ print $2 }' | grep -xF -f <(printf '%s\n' $names $strings) | xargs)
check_equal the_core_calls_none_of_them "$called" "memcpy memset"

finish
