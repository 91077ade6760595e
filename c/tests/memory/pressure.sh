# pressure.sh - under memory pressure, the scavenger gives memory back early.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

# Frees 60 MB, waits up to the given time until they have been given back, and prints the result and
# the number of open files.
cat >"$scratch/idle.c" <<'END_C'
#include <dirent.h>
#include <hakmem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { BLOCKS = 120, BYTES = 500000 };
static void *wait_for_ever(void *arg) {
    free(malloc(100));
    pause();
    return arg;
}
static int open_files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}
int main(int count, char **arguments) {
    static char *blocks[BLOCKS];
    pthread_t thread;
    struct hak_stats stats;
    int left_ms = count > 1 ? atoi(arguments[1]) : 0, before = open_files();
    pthread_create(&thread, NULL, wait_for_ever, NULL);
    for (int i = 0; i < BLOCKS; i++)
        memset(blocks[i] = malloc(BYTES), 1, BYTES);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    do {
        usleep(10000);
        hak_stats(&stats, sizeof stats);
    } while (stats.bytes_dirty > 1 << 20 && (left_ms -= 10) > 0);
    printf("%s, %d more files\n", left_ms > 0 ? "given back" : "kept", open_files() - before);
    return 0;
}
END_C
check the_program_compiles "$TEST_CC" -I "$TEST_ROOT/c/include" "$scratch/idle.c" "$archive" \
    -pthread -o "$scratch/idle"

user=()
((EUID == 0)) || user=(--map-root-user)
if ! installed unshare || ! grep -q '^0::/' /proc/self/cgroup ||
    ! unshare --mount "${user[@]}" mount -t tmpfs none /sys/fs/cgroup 2>/dev/null; then
    for name in under_pressure_memory_goes_back_early without_pressure_it_waits_for_the_delay; do
        skip $name "no right to mount, or no cgroup v2"
    done
    finish
    exit
fi

# idle MS PRESSURE: runs the program in a cgroup with that pressure.
idle() {
    unshare --mount "${user[@]}" bash -c '
        set -e
        mount -t tmpfs none /sys/fs/cgroup
        own=/sys/fs/cgroup$(sed -n "s/^0:://p" /proc/self/cgroup)
        mkdir -p "$own"
        printf "some avg10=%s avg60=0.00 avg300=0.00 total=0\n" "$3" >"$own/memory.pressure"
        HAKMEM_PURGE_DELAY_MS=60000 exec "$1" "$2"' bash "$scratch/idle" "$@" 2>&1
}

check_equal under_pressure_memory_goes_back_early "$(idle 15000 12.34)" "given back, 0 more files"
check_equal without_pressure_it_waits_for_the_delay "$(idle 2500 0.00)" "kept, 0 more files"

finish
