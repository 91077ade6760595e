# prometheus.sh - Prometheus accepts the report, with and without classes, and in checked mode.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
# needs: promtool

. "$(dirname "$0")/../test.sh"
cd "$TEST_ROOT" || exit 1

cat >"$scratch/program.c" <<'SOURCE'
#include <hakmem.h>
#include <stdio.h>

static void write_text(void *arg, const char *text, size_t bytes) {
    fwrite(text, 1, bytes, arg);
}

int main(int count, char **arguments) {
    (void)arguments;
    hak_free(hak_malloc(100));
    hak_free(hak_malloc(300000));
    hak_report(count > 1 ? HAK_REPORT_PROMETHEUS_CLASSES : HAK_REPORT_PROMETHEUS, write_text, stdout);
    return 0;
}
SOURCE
check the_program_compiles "$TEST_CC" -fno-builtin -pthread -I c/include "$scratch/program.c" "$archive" \
    -o "$scratch/program"

# faults TEXT: prints the complaints of promtool. It exits with 3 for mere advice on names.
faults() {
    promtool check metrics <<<"$1" 2>&1 || echo "status $?"
}

check_match promtool_finds_faults "$(faults 'hakmem_things_total 1
hakmem_things_total 1')" 'status'
check_equal the_report_has_no_fault "$(faults "$("$scratch/program")")" ""
check_equal the_report_with_classes_has_no_fault "$(faults "$("$scratch/program" classes)")" ""
check_equal the_report_in_checked_mode_has_no_fault \
    "$(faults "$(HAKMEM_CHECKS=1 "$scratch/program" classes)")" ""

finish
