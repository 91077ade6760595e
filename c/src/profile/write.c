/* profile/write.c - profiles in all formats. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "write.h"

#include <errno.h>

#include "pprof.h"
#include "text.h"

static void (*const write_formats[])(struct hk_snapshot *, struct hk_output *) = {
    [HAK_PROFILE_PPROF] = hk_pprof_write,
    [HAK_PROFILE_COLLAPSED] = hk_text_write_collapsed,
    [HAK_PROFILE_TEXT] = hk_text_write_sites,
    [HAK_PROFILE_LEAKS] = hk_text_write_leaks,
};

enum { WRITE_FORMATS = sizeof write_formats / sizeof write_formats[0] };

static void write_to_error(void *arg, const char *text, size_t bytes) {
    (void)arg;
    hk_os_write_error(text, bytes);
}

int hk_profile_write(enum hak_profile_format format,
                     void (*write)(void *arg, const char *text, size_t bytes), void *arg) {
    struct hk_snapshot snapshot;
    struct hk_output output = {.write = write != NULL ? write : write_to_error, .arg = arg};

    if ((unsigned)format >= WRITE_FORMATS)
        return EINVAL;
    if (hk_profile_times().mean == 0)
        return ENODATA;
    if (!hk_snapshot_take(&snapshot))
        return ENOMEM;
    write_formats[format](&snapshot, &output);
    hk_snapshot_drop(&snapshot);
    return 0;
}
