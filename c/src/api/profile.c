/* api/profile.c - heap profiles. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <hakmem.h>

#include "../base/string.h"
#include "../core/options.h"
#include "../own/default.h"
#include "../profile/profile.h"
#include "../profile/write.h"
#include "../thread/watch.h"
#include "copy.h"

int hak_profile_start(const struct hak_profile_options *options, size_t options_bytes) {
    struct hak_profile_options given = {0};
    if (options != NULL)
        hk_copy_struct(&given, sizeof given, options, options_bytes);
    if (given.rate == 0)
        given.rate = hk_option(HK_OPTION_profile_rate);

    struct hk_own_default suspended = hk_own_suspend_default();
    int error =
        hk_profile_start(given.rate != 0 ? given.rate : HK_PROFILE_MEAN,
                         given.frame_pointers ? HK_UNWINDER_FRAME_POINTERS : HK_UNWINDER_TABLES);
    hk_own_resume_default(suspended);
    return error;
}

void hak_profile_stop(void) { hk_profile_stop(); }

int hak_profile_is_running(void) { return hk_watch_number(HK_WATCHER_PROFILE) != 0; }

int hak_profile_write(enum hak_profile_format format,
                      void (*write)(void *arg, const char *text, size_t bytes), void *arg) {
    return hk_profile_write(format, write, arg);
}
