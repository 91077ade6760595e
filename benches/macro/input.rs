// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random inputs, the same in each process.

use fastrand::Rng;

/// Different words that [`push_word`] knows. Their frequencies follow Zipf's law, as in texts.
const VOCABULARY: usize = 30_000;

/// Random numbers of a workload, or of one of its threads.
pub(crate) fn random(stream: u64) -> Rng {
    Rng::with_seed(0x9E37_79B9_7F4A_7C15 ^ stream)
}

/// A number from 0 to `count` - 1; the probability of one is about inverse to its successor (Zipf's
/// law with the exponent 1).
pub(crate) fn skewed(random: &mut Rng, count: usize) -> usize {
    log_uniform(random, 1, count + 1) - 1
}

/// A number from `low` on and less than `high`; all orders of magnitude are as likely.
pub(crate) fn log_uniform(random: &mut Rng, low: usize, high: usize) -> usize {
    let ratio = high as f64 / low as f64;
    let number = (low as f64 * ratio.powf(random.f64())) as usize;
    number.clamp(low, high - 1)
}

/// Appends a pronounceable word of 2 to 8 letters.
pub(crate) fn push_word(random: &mut Rng, text: &mut String) {
    const SYLLABLES: [&str; 16] = [
        "ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "xu",
        "za",
    ];
    let mut number = skewed(random, VOCABULARY) + 1;
    while number > 0 {
        text.push_str(SYLLABLES[number % SYLLABLES.len()]);
        number /= SYLLABLES.len();
    }
}

/// A word of its own.
pub(crate) fn word(random: &mut Rng) -> String {
    let mut word = String::new();
    push_word(random, &mut word);
    word
}

/// Appends so many words with spaces between them.
pub(crate) fn push_words(random: &mut Rng, count: usize, text: &mut String) {
    for index in 0..count {
        if index > 0 {
            text.push(' ');
        }
        push_word(random, text);
    }
}
