// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random inputs that are the same in each process.

use fastrand::Rng;

/// Number of different words of [`push_word`]. Their frequencies follow Zipf's law, as in texts.
const VOCABULARY: usize = 30_000;

/// Returns the random number generator of a workload, or of one of its threads.
pub(crate) fn random(stream: u64) -> Rng {
    Rng::with_seed(0x9E37_79B9_7F4A_7C15 ^ stream)
}

/// Returns a number from 0 to `count` - 1. The probability of n is about proportional to 1 / (n +
/// 1) (Zipf's law with exponent 1).
pub(crate) fn skewed(random: &mut Rng, count: usize) -> usize {
    log_uniform(random, 1, count + 1) - 1
}

/// Returns a number from `low` to `high` - 1. All orders of magnitude are equally likely.
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

/// Returns a random word.
pub(crate) fn word(random: &mut Rng) -> String {
    let mut word = String::new();
    push_word(random, &mut word);
    word
}

/// Appends `count` words, separated by spaces.
pub(crate) fn push_words(random: &mut Rng, count: usize, text: &mut String) {
    for index in 0..count {
        if index > 0 {
            text.push(' ');
        }
        push_word(random, text);
    }
}
