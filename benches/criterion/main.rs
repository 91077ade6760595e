// SPDX-License-Identifier: MIT OR Apache-2.0

//! Allocators side by side in one process, each called through [`std::alloc::GlobalAlloc`].
//!
//! No allocator here is the program's global one, not even the system's: calls of the default
//! global allocator are special to the optimiser, which may remove them.

use std::time::Duration;

use criterion::Criterion;

/// Calls a benchmark for each allocator. This is the only list of them: a row is all that one more
/// needs.
macro_rules! compare {
    ($bench:ident($($argument:expr),*)) => {{
        $bench("system", &std::alloc::System, $($argument),*);
        $bench("hakmem", &hakmem::Hakmem, $($argument),*);
    }};
}

mod block;
mod cross_thread;
mod pairs;
mod random;
mod vec_growth;
mod working_set;

/// Short times: a comparison of two allocators in one run needs no more, and the whole run stays in
/// minutes. Arguments of `cargo bench` override them.
fn config() -> Criterion {
    Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1200))
}

fn main() {
    let mut criterion = config().configure_from_args();
    pairs::plain(&mut criterion);
    pairs::zeroed(&mut criterion);
    pairs::aligned(&mut criterion);
    working_set::replace(&mut criterion);
    vec_growth::doubling(&mut criterion);
    cross_thread::producer_consumer(&mut criterion);
    criterion.final_summary();
}
