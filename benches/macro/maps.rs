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

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let (keys, operations) = (size.of(KEYS), size.of(OPERATIONS));
    timed(|| {
        let mut sum = churn::<HashMap<String, String, Hash>>(keys, operations);
        sum = sum.wrapping_add(churn::<BTreeMap<String, String>>(keys, operations));
        Ok(sum)
    })
}

/// The common interface of both maps.
trait Map: Default {
    fn get(&self, key: &str) -> Option<&String>;
    fn insert(&mut self, key: String, value: String);
    fn remove(&mut self, key: &str) -> Option<String>;
    fn into_entries(self) -> impl Iterator<Item = (String, String)>;
}

macro_rules! impl_map {
    ($map:ty) => {
        impl Map for $map {
            fn get(&self, key: &str) -> Option<&String> {
                self.get(key)
            }

            fn insert(&mut self, key: String, value: String) {
                self.insert(key, value);
            }

            fn remove(&mut self, key: &str) -> Option<String> {
                self.remove(key)
            }

            fn into_entries(self) -> impl Iterator<Item = (String, String)> {
                self.into_iter()
            }
        }
    };
}
impl_map!(HashMap<String, String, Hash>);
impl_map!(BTreeMap<String, String>);

fn churn<M: Map>(keys: usize, operations: usize) -> u64 {
    let mut random = random(3);
    let mut map = M::default();
    let mut sum: u64 = 0;
    for _ in 0..operations {
        let key = format!("customer/{:07}/name", random.usize(..keys));
        match random.u8(..4) {
            0..2 => sum += map.get(&key).map_or(0, String::len) as u64,
            2 => map.insert(key, value(&mut random)),
            _ => sum += map.remove(&key).map_or(0, |value| value.len()) as u64,
        }
    }
    for (key, value) in map.into_entries() {
        sum = sum.wrapping_add(hash(key.as_bytes()) ^ value.len() as u64);
    }
    sum
}

fn value(random: &mut Rng) -> String {
    let bytes = log_uniform(random, 8, VALUE_BYTES_MAX + 1);
    "v".repeat(bytes)
}
