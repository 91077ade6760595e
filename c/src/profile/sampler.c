/* profile/sampler.c - the choice of samples. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sampler.h"

#include "../base/bits.h"
#include "../base/random.h"
#include "../os/os.h"

HK_THREAD_LOCAL struct hk_sampler hk_sampler;

/* -log(numerator / 2^53), for a numerator from 1 to 2^53. We do not use libm, because many C
 * programs are not linked with it. */
static double sampler_minus_log(uint64_t numerator) {
    const double log_2 = 0.69314718055994531;
    unsigned top = hk_log2(numerator);
    double fraction = (double)numerator / (double)(UINT64_C(1) << top); /* 1 <= fraction < 2 */

    /* log(x) = 2 artanh((x - 1) / (x + 1)). The argument is at most 1/3, so the remainder of the
     * series is below 1e-8. */
    double t = (fraction - 1) / (fraction + 1);
    double t2 = t * t;
    double series = 1.0 / 15;
    for (int i = 13; i > 0; i -= 2)
        series = series * t2 + 1.0 / i;
    return (53.0 - top) * log_2 - 2 * t * series;
}

/* 1 - exp(-x) for x > 0. */
static double sampler_probability(double x) {
    enum { HALVINGS = 10, TERMS = 6 };
    const double x_max = 40; /* exp(-40) is below the precision of the result */
    double y = (x < x_max ? x : x_max) / (1 << HALVINGS);

    /* p = 1 - exp(-y) by its series. Then 1 - (1 - p)^2 doubles y, without cancellation. */
    double p = 0;
    for (int i = TERMS; i > 0; i--)
        p = y / i * (1 - p);
    for (int i = 0; i < HALVINGS; i++)
        p = p * (2 - p);
    return p;
}

void hk_sampler_draw(struct hk_sampler *sampler, uint64_t mean) {
    if (sampler->random == 0)
        sampler->random = hk_random_seed(sampler, hk_os_calendar_ns());
    uint64_t numerator = (hk_random(&sampler->random) >> 11) + 1;
    sampler->left = mean <= 1 ? 0 : (uint64_t)(sampler_minus_log(numerator) * (double)mean) + 1;
}

struct hk_weight hk_sampler_weight(size_t size, uint64_t mean) {
    struct hk_weight weight = {HK_SAMPLER_ONE, size};
    if (mean <= 1)
        return weight;
    double bytes = (double)(size + (size == 0));
    double each = 1 / sampler_probability(bytes / (double)mean);
    weight.objects = (uint64_t)(each * HK_SAMPLER_ONE + 0.5);
    weight.bytes = (uint64_t)(each * (double)size + 0.5);
    return weight;
}
