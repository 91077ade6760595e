// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compares allocators in one process. Each is called through [`std::alloc::GlobalAlloc`].
//!
//! We do not call an allocator as the program's global allocator, not even the system allocator,
//! because the optimiser may remove calls of the global allocator.

use std::time::Duration;

use criterion::Criterion;

/// Calls a benchmark for each allocator. This is the only list of allocators. To add one, add a
/// row.
macro_rules! compare {
    ($bench:ident($($argument:expr),*)) => {{
        $bench("system", &std::alloc::System, $($argument),*);
        $bench("hakmem", &hakmem::Hakmem, $($argument),*);
        #[cfg(feature = "peers")]
        {
            $bench("mimalloc", &mimalloc::MiMalloc, $($argument),*);
            $bench("jemalloc", &tikv_jemallocator::Jemalloc, $($argument),*);
            $bench("snmalloc", &snmalloc_rs::SnMalloc, $($argument),*);
            $bench("rpmalloc", &rpmalloc::RpMalloc, $($argument),*);
            $bench("tcmalloc", &tcmalloc_better::TCMalloc, $($argument),*);
        }
    }};
}

mod batches;
mod block;
mod cross_thread;
mod growth;
mod pairs;
mod random;
mod sizes;
mod thread_churn;
mod thread_start;
mod working_set;

/// Returns a configuration with short times and a light analysis, so that the whole run takes less
/// than ten minutes. Arguments of `cargo bench` override it.
fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(800))
        .nresamples(10_000)
}

fn main() {
    let mut criterion = config().configure_from_args();
    pairs::plain(&mut criterion);
    pairs::constant(&mut criterion);
    pairs::zeroed(&mut criterion);
    pairs::aligned(&mut criterion);
    batches::in_order(&mut criterion);
    working_set::replace(&mut criterion);
    growth::of_vectors(&mut criterion);
    growth::of_strings(&mut criterion);
    cross_thread::producer_consumer(&mut criterion);
    cross_thread::many_to_many(&mut criterion);
    thread_start::first_blocks(&mut criterion);
    thread_churn::generations(&mut criterion);
    criterion.final_summary();
}
