// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compares allocators in one process. Each is called through [`std::alloc::GlobalAlloc`].
//!
//! We do not call an allocator as the program's global allocator, not even the system allocator,
//! because the optimiser may remove calls of the global allocator.

use std::time::Duration;

use criterion::Criterion;

/// Times the same code on each allocator: `compare!(group, parameter, |allocator, bencher| ...)`.
/// The code is compiled for each of them. This is the only list of allocators. To add one, add a
/// row.
macro_rules! compare {
    ($($benchmark:tt)+) => {{
        time!("system", std::alloc::System, $($benchmark)+);
        time!("hakmem", hakmem::Hakmem, $($benchmark)+);
        #[cfg(feature = "peers")]
        {
            time!("mimalloc", mimalloc::MiMalloc, $($benchmark)+);
            time!("jemalloc", tikv_jemallocator::Jemalloc, $($benchmark)+);
            time!("snmalloc", snmalloc_rs::SnMalloc, $($benchmark)+);
            time!("rpmalloc", rpmalloc::RpMalloc, $($benchmark)+);
            time!("tcmalloc", tcmalloc_better::TCMalloc, $($benchmark)+);
        }
    }};
}

/// Times code on one allocator.
macro_rules! time {
    ($name:literal, $value:expr, $group:ident, $parameter:expr,
     |$allocator:ident, $bencher:ident| $code:expr) => {
        $group.bench_function(criterion::BenchmarkId::new($name, $parameter), |$bencher| {
            let $allocator = &$value;
            $code
        })
    };
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
