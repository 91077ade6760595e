//! The callback for limits. There is one for the process, so this is a single test in its own
//! process.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use hakmem::limit::{self, Kind};
use hakmem::options;

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

const LIMIT: u64 = 100_000_000;

static CALLS: AtomicU32 = AtomicU32::new(0);
static LEVEL: AtomicU32 = AtomicU32::new(0);

#[test]
fn a_program_that_comes_close_to_its_limit_is_called() {
    options::LIMIT_SOFT.set(LIMIT).unwrap();
    let state = limit::closest().unwrap();
    assert!(state.limit <= LIMIT);

    limit::on_level(|limit| {
        // Allocation is allowed here.
        let text = format!("{limit:?}");
        assert!(text.contains("Limit"));
        CALLS.fetch_add(1, Relaxed);
        LEVEL.store(limit.level, Relaxed);
    });
    let block = black_box(vec![1_u8; 85_000_000]);
    assert_eq!(CALLS.load(Relaxed), 1);
    assert_eq!(LEVEL.load(Relaxed), 80);

    let state = limit::closest().unwrap();
    assert!(state.percent >= 80);
    assert_eq!(state.level, 80);
    assert!(state.kind == Kind::Option || state.kind == Kind::Cgroup);

    limit::off();
    let more = black_box(vec![1_u8; 10_000_000]);
    assert_eq!(CALLS.load(Relaxed), 1);
    drop((block, more));
}
