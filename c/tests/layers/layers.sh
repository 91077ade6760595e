# layers.sh - c/src obeys its layers, and check_layers detects violations.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: nm make
# timeout: 180
source "$(dirname "${BASH_SOURCE[0]}")/../test.sh"
export CC=$TEST_CC

check the_core_keeps_to_its_layers "$TEST_ROOT/c/tools/check_layers"

# A copy of the core with all kinds of violations.
mkdir -p "$scratch/copy/c"
cp -r "$TEST_ROOT/c/src" "$TEST_ROOT/c/include" "$scratch/copy/c/"
spoil() {
    cd "$scratch/copy/c/src" || return
    local core=(core/*.c) api=(api/*.c)
    echo '#include "../heap/heap.h"' >>"${core[0]}"
    echo '#include "../os/os.h"' >>"${api[0]}"
    sed -i 's/^base:.*/base: core/' LAYERS
    echo 'void hk_b(void); void hk_a(void); void hk_a(void) { hk_b(); }' >heap/a.c
    echo 'void hk_a(void); void hk_b(void); void hk_b(void) { hk_a(); }' >heap/b.c
    mkdir other && echo 'int hk_other;' >other/other.c
    echo 'int munmap(void *, unsigned long); void hk_unmap(void) { munmap(0, 1); }' >heap/spoilt.c
    echo '__attribute__((visibility("default"))) int other_name, hak_undeclared;' >heap/spoilt_too.c
}
(spoil) || not_ok the_copy_can_be_spoilt
reported=$("$TEST_ROOT/c/tools/check_layers" "$scratch/copy" 2>&1)
check_equal violations_end_in_a_failure $? 1
check_match an_include_upwards_is_reported "$reported" 'core may not include heap'
check_match an_include_of_the_os_by_the_api_is_reported "$reported" 'api may not include os'
check_match a_layer_that_points_upwards_is_reported "$reported" 'LAYERS: base may include core'
check_match a_folder_without_a_layer_is_reported "$reported" 'folder is not in'
check_match a_memory_call_outside_the_os_layer_is_reported "$reported" 'calls munmap'
check_match a_foreign_global_name_is_reported "$reported" 'symbol other_name is neither'
check_match an_undeclared_public_name_is_reported "$reported" 'hak_undeclared is not declared'
check_match a_circle_of_two_files_is_reported "$reported" 'c/src/heap: a circle of heap/a heap/b'

finish
