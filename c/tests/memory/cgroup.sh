# cgroup.sh - limits in per cent of the cgroup's limit, and the callback for its use.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

cat >"$scratch/limits.c" <<'END_C'
#include <hakmem.h>
#include <stdio.h>
int main(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    printf("%llu %llu\n", (unsigned long long)stats.limit_soft, (unsigned long long)stats.limit_hard);
    return 0;
}
END_C
check the_program_compiles "$TEST_CC" -I "$TEST_ROOT/c/include" "$scratch/limits.c" "$archive" \
    -pthread -o "$scratch/limits"
limits=(env HAKMEM_LIMIT_SOFT=50% HAKMEM_LIMIT_HARD=90% "$scratch/limits")

# Holds up to 60 MB, and prints the level and the kind of the limit at the first call of the callback.
cat >"$scratch/crossing.c" <<'END_C'
#include <hakmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void reached(void *arg, const struct hak_limit *limit) {
    (void)arg;
    printf("%u of %llu, kind %d\n", limit->level, (unsigned long long)limit->limit, (int)limit->kind);
    exit(0);
}
int main(void) {
    hak_on_limit(reached, NULL);
    for (int i = 0; i < 600; i++) {
        char *block = malloc(i < 60 ? 1000000 : 300000);
        memset(block, 1, i < 60 ? 1000000 : 300000);
        usleep(5000);
    }
    puts("no call");
    return 0;
}
END_C
check the_other_program_compiles "$TEST_CC" -I "$TEST_ROOT/c/include" "$scratch/crossing.c" "$archive" \
    -pthread -o "$scratch/crossing"

# ---- In a cgroup -----------------------------------------------------------------------------------

name=the_limits_are_parts_of_the_limit_of_the_cgroup
root=/sys/fs/cgroup
group=$root$(sed -n 's/^0:://p' /proc/self/cgroup)
group=${group%/}/hakmem-test-$$
if ! grep -qsw memory "${group%/*}/cgroup.subtree_control"; then
    skip $name "no cgroup v2 here that controls memory"
elif ! mkdir "$group" 2>/dev/null; then
    skip $name "no right to make a cgroup"
else
    echo 400000000 >"$group/memory.max"
    # The kernel rounds to pages.
    max=$(<"$group/memory.max")
    result=$(bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "${limits[@]}" 2>&1)
    check_equal $name "$result" "$((max / 100 * 50)) $((max / 100 * 90))"

    echo 64M >"$group/memory.max"
    result=$(bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$scratch/crossing" 2>&1)
    check_match a_program_that_nearly_fills_the_cgroup_is_called "$result" \
        '^(80|90) of 67108864, kind 2$'
    rmdir "$group"
fi

name=a_program_that_nearly_fills_a_cgroup_of_version_1_is_called
group=$root/memory$(sed -nE 's/^[0-9]+:([^:]*,)?memory(,[^:]*)?://p' /proc/self/cgroup)
group=${group%/}/hakmem-test-$$
if [[ ! -e ${group%/*}/memory.limit_in_bytes ]]; then
    skip $name "no cgroup v1 here that controls memory"
elif ! mkdir "$group" 2>/dev/null; then
    skip $name "no right to make a cgroup"
else
    echo 64M >"$group/memory.limit_in_bytes"
    result=$(bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$scratch/crossing" 2>&1)
    check_match $name "$result" '^(80|90) of 67108864, kind 2$'
    rmdir "$group"
fi

# ---- With simulated files ----------------------------------------------------------------------------

# seen TOP OWN: prints the limits if the top group and the process's group have these memory.max values.
seen() {
    unshare --mount "${user[@]}" bash -c '
        set -e
        mount -t tmpfs none /sys/fs/cgroup
        own=/sys/fs/cgroup$(sed -n "s/^0:://p" /proc/self/cgroup)
        mkdir -p "$own"
        echo "$1" >/sys/fs/cgroup/memory.max
        echo "$2" >"$own/memory.max"
        exec "${@:3}"' bash "$1" "$2" "${limits[@]}" 2>&1
}

user=()
((EUID == 0)) || user=(--map-root-user)
name=the_least_limit_on_the_way_to_the_top_counts
if ! installed unshare || ! grep -q '^0::/' /proc/self/cgroup ||
    ! unshare --mount "${user[@]}" mount -t tmpfs none /sys/fs/cgroup 2>/dev/null; then
    skip $name "no right to mount, or no cgroup v2"
else
    check_equal $name "$(seen 400000000 400000000)" "200000000 360000000"
    # The group has 500 MB, of which 50 MB are files that were not used lately.
    result=$(unshare --mount "${user[@]}" bash -c '
        set -e
        mount -t tmpfs none /sys/fs/cgroup
        own=/sys/fs/cgroup$(sed -n "s/^0:://p" /proc/self/cgroup)
        mkdir -p "$own"
        echo 500000000 >"$own/memory.max"
        echo 500000000 >"$own/memory.current"
        printf "anon 450000000\ninactive_file 50000000\n" >"$own/memory.stat"
        exec "$1"' bash "$scratch/crossing" 2>&1)
    check_equal a_program_in_a_full_cgroup_is_called "$result" "90 of 500000000, kind 2"
    result=$(seen max max)
    check_equal without_a_limit_there_is_none "$(tail -n 1 <<<"$result")" "0 0"
    for option in SOFT HARD; do
        check_match "without_a_limit_a_line_names_$option" "$result" \
            "^hakmem: HAKMEM_LIMIT_$option=.*no control group limits the memory"
    done
    if grep -qE '[:,]memory[:,]' /proc/self/cgroup; then
        result=$(unshare --mount "${user[@]}" bash -c '
            mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/memory &&
            echo 400000000 >/sys/fs/cgroup/memory/memory.limit_in_bytes && exec "$@"' bash "${limits[@]}" 2>&1)
        check_equal a_limit_of_version_1_counts "$result" "200000000 360000000"
    else
        skip a_limit_of_version_1_counts "no cgroup v1 here that controls memory"
    fi
    if [[ $(sed -n 's/^0:://p' /proc/self/cgroup) == / ]]; then
        skip a_group_below_the_top_counts "the process is in the top group"
    else
        check_equal a_group_below_the_top_counts "$(seen max 100000000)" "50000000 90000000"
    fi
fi

finish
