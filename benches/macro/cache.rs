// SPDX-License-Identifier: MIT OR Apache-2.0

//! A cache with limited size, shared by threads. They request some keys much more often than
//! others. The least recently used values are evicted.

use std::sync::{Arc, Mutex, PoisonError};

use fastrand::Rng;
use lru::LruCache;

use crate::Size;
use crate::input::{log_uniform, random, skewed};
use crate::measure::{Outcome, sum_of_threads, timed};

const THREADS: usize = 4;
const REQUESTS_PER_THREAD: usize = 600_000;
/// About a tenth of the keys fits.
const KEYS: usize = 100_000;
const VALUE_BYTES_MIN: usize = 32;
const VALUE_BYTES_MAX: usize = 32 << 10;
const CACHE_BYTES: usize = 48 << 20;
const SHARDS: usize = 8;

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let requests = size.of(REQUESTS_PER_THREAD);
    timed(|| {
        let cache = Cache::default();
        sum_of_threads(THREADS, |random| ask(&cache, random, requests))
    })
}

fn ask(cache: &Cache, mut random: Rng, requests: usize) -> u64 {
    let mut sum: u64 = 0;
    for _ in 0..requests {
        let number = skewed(&mut random, KEYS);
        let value = cache.get(number);
        // The value is the same, whether it was cached or not.
        sum = sum.wrapping_add(value.len() as u64 * u64::from(value[value.len() / 2]));
    }
    sum
}

#[derive(Default)]
struct Cache {
    shards: [Mutex<Shard>; SHARDS],
}

struct Shard {
    values: LruCache<String, Arc<[u8]>>,
    bytes: usize,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            values: LruCache::unbounded(),
            bytes: 0,
        }
    }
}

impl Cache {
    fn get(&self, number: usize) -> Arc<[u8]> {
        let key = format!("objects/{number}/content");
        let shard = &self.shards[number % SHARDS];
        // We can ignore poisoning, because each change of a shard is complete before a panic.
        let lock = || shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = lock().values.get(&key) {
            return value.clone();
        }
        let value = make(number);
        lock().insert(key, value.clone());
        value
    }
}

impl Shard {
    fn insert(&mut self, key: String, value: Arc<[u8]>) {
        self.bytes += value.len();
        // Another thread may have inserted the same key in the meantime.
        let replaced = self.values.put(key, value);
        self.bytes -= replaced.map_or(0, |value| value.len());
        while self.bytes > CACHE_BYTES / SHARDS {
            let Some((_, value)) = self.values.pop_lru() else {
                break;
            };
            self.bytes -= value.len();
        }
    }
}

/// Creates the value of a key. Its size depends on the key.
fn make(number: usize) -> Arc<[u8]> {
    let mut random = random(number as u64);
    let bytes = log_uniform(&mut random, VALUE_BYTES_MIN, VALUE_BYTES_MAX + 1);
    vec![random.u8(..); bytes].into()
}
