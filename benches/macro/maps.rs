// SPDX-License-Identifier: MIT OR Apache-2.0

//! Adds, changes and removes strings in a hash map and a B-tree map.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use fastrand::Rng;

use crate::Size;
use crate::input::{log_uniform, random};
use crate::measure::{Outcome, hash, timed};

/// Number of possible keys. Once a map has reached its steady state, it holds half of them.
const KEYS: usize = 200_000;
const OPERATIONS: usize = 1_600_000;
const VALUE_BYTES_MAX: usize = 256;

/// A hasher with fixed keys. The standard library's default hasher has random keys.
type Hash = BuildHasherDefault<DefaultHasher>;

/// Changes a map of this type, and returns its checksum. This is a macro because both maps have the
/// same methods, but no trait in common.
macro_rules! churn {
    ($map:ty, $keys:expr, $operations:expr) => {{
        let mut random = random(3);
        let mut map = <$map>::default();
        let mut sum: u64 = 0;
        for _ in 0..$operations {
            let key = format!("customer/{:07}/name", random.usize(..$keys));
            match random.u8(..4) {
                0..2 => sum += map.get(&key).map_or(0, String::len) as u64,
                2 => _ = map.insert(key, value(&mut random)),
                _ => sum += map.remove(&key).map_or(0, |value| value.len()) as u64,
            }
        }
        for (key, value) in map {
            sum = sum.wrapping_add(hash(key.as_bytes()) ^ value.len() as u64);
        }
        sum
    }};
}

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let (keys, operations) = (size.of(KEYS), size.of(OPERATIONS));
    timed(|| {
        let unordered = churn!(HashMap<String, String, Hash>, keys, operations);
        let ordered = churn!(BTreeMap<String, String>, keys, operations);
        Ok(unordered.wrapping_add(ordered))
    })
}

fn value(random: &mut Rng) -> String {
    let bytes = log_uniform(random, 8, VALUE_BYTES_MAX + 1);
    "v".repeat(bytes)
}
