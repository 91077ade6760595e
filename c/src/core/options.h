/* core/options.h - run-time options.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one value for each row of options.def, set from defaults, then hak_conf, then the
 * environment, then hk_option_set. Texts are set only at the start.
 * Owns: the values. Threads: any. A read is one relaxed load.
 * Boundary: hk_os_environment, hk_os_write_error.
 */
#ifndef HK_CORE_OPTIONS_H
#define HK_CORE_OPTIONS_H

#include "../base/atomic.h"

enum hk_option {
#define OPTION(name, ...) HK_OPTION_##name,
#include "options.def"
#undef OPTION
    HK_OPTION_COUNT
};

enum hk_text_option {
#define OPTION(name, ...)
#define TEXT_OPTION(name, ...) HK_OPTION_##name,
#include "options.def"
#undef OPTION
    HK_TEXT_OPTION_COUNT
};

extern uint64_t hk_option_values[HK_OPTION_COUNT]; /* atomic */

/* Values of the option `checks`. HK_CHECKS_FULL has no thread caches. HK_CHECKS_FAST has small
 * ones, and no class map, so that each free takes the slow path. */
enum hk_checks { HK_CHECKS_OFF, HK_CHECKS_FULL, HK_CHECKS_FAST };

/* Values of the option `profile`. */
enum hk_profile { HK_PROFILE_OFF, HK_PROFILE_ON, HK_PROFILE_LEAKS };

/* relaxed: a setting, which publishes nothing */
static inline uint64_t hk_option(enum hk_option option) {
    return hk_load_relaxed(&hk_option_values[option]);
}

/* The value of an option that is a text. Constant after constructors ran. */
const char *hk_option_text(enum hk_text_option option);

/* Reads hak_conf and the environment, with one warning line for each value that does not parse.
 * Called once, before the first option takes effect. */
void hk_options_read(void);

/* Reads an environment that could not be read before. Options that are read only at start keep
 * their values, with a warning. */
void hk_options_read_late(void);

/* The implementations of hak_option_set and hak_option_get. */
int hk_option_set(const char *name, const char *value);
int hk_option_get(const char *name, char *value, size_t value_bytes);

/* Gets an option's name and its current value as text, for reports. Returns false past the last
 * option. */
bool hk_option_describe(unsigned index, const char **name, char *value, size_t value_bytes);

/* The option's row of the table. False past the last. */
struct hak_option_info;
bool hk_option_info(unsigned index, struct hak_option_info *info);

#endif
