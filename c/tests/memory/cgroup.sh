# cgroup.sh - limits in per cent of the cgroup's limit.
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
