//! Compares random sequences of operations with a model of the expected contents of each block.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

mod common;

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::thread;

use common::Block;
use proptest::prelude::*;

/// A number selects a block. It is taken modulo the count of live blocks.
#[derive(Clone, Debug)]
enum Operation {
    Alloc(Layout),
    AllocZeroed(Layout),
    Realloc(usize, usize),
    Dealloc(usize),
    DeallocOnOtherThread(usize),
    Trim,
}

/// All live blocks, by address.
#[derive(Default)]
struct Model {
    live: BTreeMap<usize, Block>,
    seed: usize,
}

impl Model {
    fn run(operations: Vec<Operation>) {
        let mut model = Self::default();
        for operation in operations {
            model.step(operation);
        }
        while let Some(block) = model.take(0) {
            block.free();
        }
        assert_eq!(hakmem::validate(), 0);
    }

    fn step(&mut self, operation: Operation) {
        // Each block has its own pattern. Otherwise mixed-up blocks would go unnoticed.
        self.seed += 1;
        match operation {
            Operation::Alloc(layout) => self.add(Block::new(layout, self.seed)),
            Operation::AllocZeroed(layout) => self.add(Block::new_zeroed(layout, self.seed)),
            Operation::Realloc(choice, size) => {
                if let Some(mut block) = self.take(choice) {
                    block.resize(size);
                    self.add(block);
                }
            }
            Operation::Dealloc(choice) => {
                if let Some(block) = self.take(choice) {
                    block.free();
                }
            }
            Operation::DeallocOnOtherThread(choice) => {
                if let Some(block) = self.take(choice) {
                    thread::spawn(move || block.free())
                        .join()
                        .expect("the block is unchanged");
                }
            }
            Operation::Trim => {
                hakmem::trim();
            }
        }
    }

    fn add(&mut self, block: Block) {
        let start = block.as_ptr().addr();
        let end = start + block.layout().size();
        let before = self.live.range(..end).next_back();
        if let Some((&other, neighbour)) = before {
            assert!(
                other + neighbour.layout().size() <= start,
                "{block:?} overlaps {neighbour:?}"
            );
        }
        self.live.insert(start, block);
    }

    fn take(&mut self, choice: usize) -> Option<Block> {
        let address = *self.live.keys().nth(choice % self.live.len().max(1))?;
        self.live.remove(&address)
    }
}

/// 1 B to 4 MiB. All powers of two are equally likely, and more likely than other sizes.
fn size() -> impl Strategy<Value = usize> {
    let powers = (0..=22_u32).prop_map(|shift| 1 << shift);
    let between = (0..22_u32, any::<usize>()).prop_map(|(shift, low)| {
        let power = 1 << shift;
        power + low % power
    });
    prop_oneof![1 => powers, 4 => between]
}

/// Sizes with alignments up to 2 MiB, mostly those of common types.
fn layout() -> impl Strategy<Value = Layout> {
    let shift = prop_oneof![6 => 0..=4_u32, 2 => 5..=12_u32, 1 => 13..=21_u32];
    (size(), shift).prop_map(|(size, shift)| {
        Layout::from_size_align(size, 1 << shift).expect("far below the limit")
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        30 => layout().prop_map(Operation::Alloc),
        15 => layout().prop_map(Operation::AllocZeroed),
        20 => (any::<usize>(), size()).prop_map(|(choice, size)| Operation::Realloc(choice, size)),
        30 => any::<usize>().prop_map(Operation::Dealloc),
        4 => any::<usize>().prop_map(Operation::DeallocOnOtherThread),
        1 => Just(Operation::Trim),
    ]
}

/// A fifth of the default number of cases suffices, because each case has hundreds of operations.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases.div_ceil(5),
        failure_persistence: None,
        ..usual
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_block_keeps_its_contents_and_its_place(
        operations in prop::collection::vec(operation(), 1..400),
    ) {
        Model::run(operations);
    }

    #[test]
    fn so_it_is_in_four_threads_at_once(
        sequences in prop::array::uniform4(prop::collection::vec(operation(), 1..150)),
    ) {
        thread::scope(|scope| {
            for operations in sequences {
                scope.spawn(|| Model::run(operations));
            }
        });
    }
}

/// Options that select other code paths of the allocator. They are read at the start of a process,
/// so this runs the tests above again, with fewer cases.
#[test]
#[cfg(not(hakmem_system))]
fn so_it_is_with_other_options() {
    let program = std::env::current_exe().expect("a test has a path");
    for options in [
        &[("HAKMEM_CHECKS", "1")][..],
        &[("HAKMEM_PREWARM", "all")],
        &[("HAKMEM_PREWARM", "adaptive"), ("HAKMEM_HEAPS", "1")],
        &[
            ("HAKMEM_PURGE_DELAY_MS", "0"),
            ("HAKMEM_LARGE_CACHE_MB", "0"),
        ],
        &[
            ("HAKMEM_THREAD_CACHE_KB", "0"),
            ("HAKMEM_POOL_TLS_ARENA_MB_MAX", "1"),
        ],
    ] {
        let output = std::process::Command::new(&program)
            .args(["--skip", "so_it_is_with_other_options"])
            .envs(options.iter().copied())
            .env("PROPTEST_CASES", "20")
            .output()
            .expect("the tests run again");
        let (out, errors) = (&output.stdout, &output.stderr);
        let text = [
            String::from_utf8_lossy(out),
            String::from_utf8_lossy(errors),
        ]
        .concat();
        assert!(
            output.status.success(),
            "{options:?}: {}\n{text}",
            output.status
        );
        assert!(text.contains(" 2 passed; 0 failed"), "{options:?}: {text}");
    }
}
