/* calls.c - a fuzz target: the C functions agree with a shadow model.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The input is a sequence of calls, as c/tests/model/model.h reads it. A wrong result aborts.
 */
#define TEST_NO_MAIN
#include "../c/tests/model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    test_state.runner = pthread_self();
    if (setjmp(test_state.end) == 0)
        model_run(data, size);
    if (test_state.failures || hak_validate() != 0)
        abort();
    return 0;
}
