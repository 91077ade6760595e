# git.sh - git checks and repacks a copy of this repository on hakmem.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: git
# timeout: 180
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"

if ! git -C "$TEST_ROOT" rev-parse --git-dir >/dev/null 2>&1; then
    skip git_fsck_and_gc_keep_a_repository_whole "this is not a git repository"
    finish
fi
copy=$scratch/copy
check the_repository_is_cloned preloaded git clone -q --no-local --bare "$TEST_ROOT" "$copy"
objects() {
    git -C "$copy" rev-list --objects --all | sort | md5sum
}
before=$(objects)
check git_fsck_finds_no_fault preloaded git -C "$copy" fsck --full --strict
check git_gc_repacks preloaded git -C "$copy" gc -q --aggressive --prune=now
check git_fsck_without_hakmem_finds_no_fault_afterwards git -C "$copy" fsck --full
check_equal all_objects_are_still_there "$(objects)" "$before"
check_equal git_log_prints_the_same "$(preloaded git -C "$copy" log -p --all | md5sum)" \
    "$(git -C "$copy" log -p --all | md5sum)"

finish
