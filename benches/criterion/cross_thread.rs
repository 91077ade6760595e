// SPDX-License-Identifier: MIT OR Apache-2.0

//! One thread allocates, another frees: what a queue between two stages of a service does, and what
//! threads do that share a table.

use std::array;
use std::mem;
use std::sync::mpsc::sync_channel;
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};

use crate::block::{Allocator, Block};
use crate::random::Random;
use crate::sizes::{ALIGN, KIB, Mix, layout};

/// Blocks of an iteration: so many that the start of the threads does not count.
const BLOCKS: u64 = 1 << 14;

/// Blocks go over in parcels: the hand-over must not cost more than the allocator, nor allocate.
const PARCEL_BLOCKS: u64 = 64;
type Parcel<A> = [Option<Block<A>>; PARCEL_BLOCKS as usize];

/// Parcels on their way at most: the producer cannot run ahead.
const CHANNEL_PARCELS: usize = 16;

/// Parcels in the table of many to many, for each thread: two threads seldom want the same one.
const TABLE_PARCELS: usize = 8;

pub(crate) fn producer_consumer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("producer consumer");
    group.throughput(Throughput::Elements(BLOCKS));
    for size in [64, 4 * KIB, 32 * KIB] {
        compare!(hand_over(&mut group, size));
    }
    group.finish();
}

pub(crate) fn many_to_many(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("many to many");
    group.throughput(Throughput::Elements(BLOCKS));
    for threads in [2, 8] {
        for mix in [Mix::Small, Mix::Buffers] {
            compare!(share(&mut group, threads, mix));
        }
    }
    group.finish();
}

fn hand_over<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    size: usize,
) {
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter_custom(|iterations| produce(allocator, size, iterations * BLOCKS));
    });
}

/// The time from the first allocation to the last release of `blocks` blocks.
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

/// The numbers of blocks in parcels of `blocks` blocks: all full but the last.
fn parcels(blocks: u64) -> impl Iterator<Item = u64> {
    (0..blocks.div_ceil(PARCEL_BLOCKS))
        .map(move |parcel| (blocks - parcel * PARCEL_BLOCKS).min(PARCEL_BLOCKS))
}

fn share<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    threads: usize,
    mix: Mix,
) {
    let id = BenchmarkId::new(name, format!("{threads} threads {}", mix.name()));
    group.bench_function(id, |bencher| {
        let table: Vec<_> = (0..threads * TABLE_PARCELS)
            .map(|_| Mutex::new(empty_parcel()))
            .collect();
        bencher.iter_custom(|iterations| {
            let blocks = iterations * BLOCKS;
            let ready = Barrier::new(threads + 1);
            let start = thread::scope(|scope| {
                for thread in 0..threads {
                    let (table, ready) = (&table, &ready);
                    // The first threads have one more, so that the sum is what was asked for.
                    let share = (blocks + (threads - 1 - thread) as u64) / threads as u64;
                    scope.spawn(move || {
                        let mut random = Random::new(thread);
                        ready.wait();
                        exchange(allocator, mix, table, &mut random, share);
                    });
                }
                let start = Instant::now(); // before they may run: they might be done after the wait
                ready.wait();
                start
            });
            start.elapsed() // the scope ends when its threads have
        });
    });
}

/// Allocates `blocks` blocks, puts them into the table parcel by parcel, and frees those that it
/// finds there: of any thread.
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
