//! A program with hakmem as its global allocator, including the test harness.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use hakmem::Hakmem;

#[global_allocator]
static GLOBAL: Hakmem = Hakmem;

/// A pseudo-random sequence of numbers. The same seed gives the same sequence.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed | 1), |&x| {
        let x = x ^ (x << 13);
        let x = x ^ (x >> 7);
        Some(x ^ (x << 17))
    })
}

#[test]
#[cfg(not(hakmem_system))]
fn a_vec_lives_in_hakmem() {
    let vec = vec![7_u8; 300_000];
    // SAFETY: the vec's buffer is a block of the global allocator.
    let usable = unsafe { hakmem::usable_size(vec.as_ptr()) };
    assert!(usable >= 300_000, "{usable}");
    assert!(hakmem::stats().bytes_live >= 300_000);
}

#[test]
fn a_vec_that_grows_by_pushes_keeps_its_elements() {
    let mut vec = Vec::new();
    for i in 0..1_000_000_u64 {
        vec.push(i * i);
    }
    vec.shrink_to_fit();
    assert!(
        vec.iter()
            .enumerate()
            .all(|(i, &square)| square == (i * i) as u64)
    );
}

#[test]
fn a_zeroed_vec_is_zero_after_dirty_ones_were_freed() {
    for bytes in [24, 1000, 8192, 50_000, 200_000, 3_000_000] {
        let dirty: Vec<_> = (0..8).map(|_| vec![0xAA_u8; bytes]).collect();
        drop(dirty);
        let clean: Vec<_> = (0..16).map(|_| vec![0_u8; bytes]).collect();
        assert!(clean.iter().flatten().all(|&byte| byte == 0), "{bytes}");
    }
}

#[test]
fn maps_of_strings_agree_with_each_other_over_inserts_and_removals() {
    let mut hash = HashMap::new();
    let mut tree = BTreeMap::new();
    for number in numbers(42).take(100_000) {
        let key = format!("key {}", number % 5_000);
        if number % 3 == 0 {
            assert_eq!(hash.remove(&key), tree.remove(&key));
        } else {
            let value = key.repeat((number % 50) as usize);
            assert_eq!(
                hash.insert(key.clone(), value.clone()),
                tree.insert(key, value)
            );
        }
    }
    assert_eq!(hash.len(), tree.len());
    assert!(tree.iter().all(|(key, value)| hash.get(key) == Some(value)));
}

#[test]
fn what_one_thread_allocates_others_can_read_and_free() {
    let (sender, receiver) = mpsc::sync_channel::<Vec<String>>(16);
    let receiver = Arc::new(Mutex::new(receiver));
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let receiver = Arc::clone(&receiver);
            thread::spawn(move || {
                let mut total = 0;
                loop {
                    let batch = receiver.lock().expect("no consumer panics").recv();
                    let Ok(batch) = batch else { return total };
                    total += batch.iter().map(String::len).sum::<usize>();
                }
            })
        })
        .collect();
    let mut sent = 0;
    for seed in 0..500 {
        let lengths = numbers(seed)
            .map(|number| (number % 3_000) as usize)
            .take(20);
        let batch: Vec<_> = lengths.map(|length| "x".repeat(length)).collect();
        sent += batch.iter().map(String::len).sum::<usize>();
        sender.send(batch).expect("the consumers live");
    }
    drop(sender);
    let received: usize = consumers
        .into_iter()
        .map(|consumer| consumer.join().expect("no panic"))
        .sum();
    assert_eq!(received, sent);
}

#[test]
fn blocks_outlive_the_threads_that_allocated_them() {
    let mut kept = VecDeque::new();
    for round in 0..200_usize {
        kept.push_back(thread::spawn(move || vec![round; 1 + round * 13]));
        if kept.len() > 8 {
            let oldest = kept.pop_front().expect("nine").join().expect("no panic");
            assert!(oldest.iter().all(|&element| element == oldest.len() / 13));
        }
    }
}

#[test]
fn destructors_of_thread_locals_may_allocate_and_free() {
    struct Last(Vec<u8>, mpsc::Sender<usize>);
    impl Drop for Last {
        fn drop(&mut self) {
            let doubled = [&self.0[..], &self.0[..]].concat();
            self.1.send(doubled.len()).expect("the test listens");
        }
    }
    thread_local!(static LAST: RefCell<Option<Last>> = const { RefCell::new(None) });

    let (sender, receiver) = mpsc::channel();
    let worker = thread::spawn(move || {
        LAST.set(Some(Last(vec![1; 20_000], sender)));
    });
    worker.join().expect("no panic");
    assert_eq!(receiver.recv(), Ok(40_000));
}

#[test]
fn an_absurd_reservation_is_an_error_and_keeps_the_contents() {
    let mut vec = vec![1_u8, 2, 3];
    assert!(vec.try_reserve(isize::MAX as usize - 3).is_err());
    assert!(vec.try_reserve(1 << 60).is_err());
    assert_eq!(vec, [1, 2, 3]);
}
