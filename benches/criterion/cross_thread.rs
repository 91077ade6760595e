// SPDX-License-Identifier: MIT OR Apache-2.0

//! One thread allocates blocks, and another one frees them. This happens with a queue between two
//! stages of a service, and with a table that threads share.

use std::array;
use std::mem;
use std::sync::mpsc::sync_channel;
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Bencher, Criterion, Throughput};

use crate::block::{Allocator, Block};
use crate::random::Random;
use crate::sizes::{ALIGN, KIB, Mix, layout};

/// Blocks per iteration. There are so many that the time to start the threads is negligible.
const BLOCKS: u64 = 1 << 14;

/// Blocks per parcel. Threads pass blocks in parcels, because the transfer must not allocate, nor
/// cost more than the allocator.
const PARCEL_BLOCKS: u64 = 64;
type Parcel<A> = [Option<Block<A>>; PARCEL_BLOCKS as usize];

/// Maximum number of parcels in the channel. It limits how far the producer can run ahead.
const CHANNEL_PARCELS: usize = 16;

/// Parcels per thread in the table of `many_to_many`. Threads rarely access the same parcel at
/// once.
const TABLE_PARCELS: usize = 8;

pub(crate) fn producer_consumer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("producer consumer");
    group.throughput(Throughput::Elements(BLOCKS));
    for size in [64, 4 * KIB, 32 * KIB] {
        compare!(group, size, |allocator, bencher| {
            bencher.iter_custom(|iterations| produce(allocator, size, iterations * BLOCKS))
        });
    }
    group.finish();
}

pub(crate) fn many_to_many(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("many to many");
    group.throughput(Throughput::Elements(BLOCKS));
    for threads in [2, 8] {
        for mix in [Mix::Small, Mix::Buffers] {
            let parameter = format!("{threads} threads {}", mix.name());
            compare!(group, &parameter, |allocator, bencher| {
                share(bencher, allocator, threads, mix)
            });
        }
    }
    group.finish();
}

/// Returns the time from the first allocation to the last free of `blocks` blocks.
fn produce<A: Allocator>(allocator: &'static A, size: usize, blocks: u64) -> Duration {
    let layout = layout(size, ALIGN);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Parcel<A>>(CHANNEL_PARCELS);
        let consumer = scope.spawn(move || receiver.into_iter().for_each(drop));
        let start = Instant::now();
        for count in parcels(blocks) {
            let parcel =
                array::from_fn(|i| ((i as u64) < count).then(|| Block::new(allocator, layout)));
            sender
                .send(parcel)
                .expect("the consumer ends after the producer");
        }
        drop(sender);
        consumer.join().expect("the consumer does not panic");
        start.elapsed()
    })
}

/// Splits `blocks` blocks into parcels and returns their sizes. All parcels but the last are full.
fn parcels(blocks: u64) -> impl Iterator<Item = u64> {
    (0..blocks.div_ceil(PARCEL_BLOCKS))
        .map(move |parcel| (blocks - parcel * PARCEL_BLOCKS).min(PARCEL_BLOCKS))
}

fn share<A: Allocator>(
    bencher: &mut Bencher<'_, WallTime>,
    allocator: &'static A,
    threads: usize,
    mix: Mix,
) {
    let table: Vec<_> = (0..threads * TABLE_PARCELS)
        .map(|_| Mutex::new(empty_parcel()))
        .collect();
    bencher.iter_custom(|iterations| {
        let blocks = iterations * BLOCKS;
        let ready = Barrier::new(threads + 1);
        let start = thread::scope(|scope| {
            for thread in 0..threads {
                let (table, ready) = (&table, &ready);
                // The first threads get one block more, so that the sum is exact.
                let share = (blocks + (threads - 1 - thread) as u64) / threads as u64;
                scope.spawn(move || {
                    let mut random = Random::new(thread);
                    ready.wait();
                    exchange(allocator, mix, table, &mut random, share);
                });
            }
            // Before the wait, because the threads might already be done after it.
            let start = Instant::now();
            ready.wait();
            start
        });
        start.elapsed() // the scope has waited for its threads
    });
}

/// Allocates `blocks` blocks, and puts them into the table parcel by parcel. Frees the blocks that
/// it finds there, which any thread may have allocated.
fn exchange<A: Allocator>(
    allocator: &'static A,
    mix: Mix,
    table: &[Mutex<Box<Parcel<A>>>],
    random: &mut Random,
    blocks: u64,
) {
    let mut parcel = empty_parcel();
    for count in parcels(blocks) {
        for slot in &mut parcel[..count as usize] {
            *slot = Some(Block::new(allocator, mix.layout(random)));
        }
        let place = &table[random.below(table.len())];
        mem::swap(
            &mut parcel,
            &mut place.lock().unwrap_or_else(PoisonError::into_inner),
        );
        parcel.fill_with(|| None);
    }
}

fn empty_parcel<A: Allocator>() -> Box<Parcel<A>> {
    Box::new([const { None }; PARCEL_BLOCKS as usize])
}
