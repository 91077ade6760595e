//! The bytes that a thread allocates and frees, to charge queries or requests for their memory.
//!
//! A [`Measure`] counts the calling thread's own allocations and frees, exactly to the byte. While
//! one exists, each call of that thread takes a slow path, which costs some nanoseconds. Other
//! threads do not count, and pay nothing.
//!
//! Bytes are usable sizes, which are at least the requested ones, in both sums. So a scope that
//! frees all that it allocates adds the same to both. A block counts in the thread that allocates
//! it, and again in the thread that frees it. A block that is resized in place counts only with the
//! difference of its sizes.
//!
//! Where the system allocator replaces hakmem, all counts are 0.
//!
//! # Examples
//!
//! A worker counts for its whole life, and takes the difference for each query:
//!
//! ```
//! use hakmem::thread::{self, Measure};
//!
//! #[global_allocator]
//! static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
//!
//! fn main() {
//!     let _counting = Measure::start();
//!     for query in ["select 1", "select 2"] {
//!         let before = thread::counters();
//!         let answer = query.repeat(100);
//!         let used = thread::counters() - before;
//!         assert!(used.bytes_allocated >= answer.len() as u64);
//!         assert_eq!(used.bytes_freed, 0);
//!     }
//! }
//! ```
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::marker::PhantomData;
use core::ops::Sub;

use crate::sys;

/// What a thread has allocated and freed while it counted. The difference of two of them is that of
/// the time in between.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counters {
    /// Bytes of allocated blocks. A block that grows in place adds the difference.
    pub bytes_allocated: u64,
    /// Bytes of freed blocks. A block that shrinks in place adds the difference.
    pub bytes_freed: u64,
    /// Allocations. A reallocation that moves the block is one.
    pub blocks_allocated: u64,
    /// Frees. A reallocation that moves the block is one.
    pub blocks_freed: u64,
}

impl Sub for Counters {
    type Output = Self;

    /// The counts between two moments of one thread. Those before the earlier moment cancel out.
    fn sub(self, earlier: Self) -> Self {
        Self {
            bytes_allocated: self.bytes_allocated.wrapping_sub(earlier.bytes_allocated),
            bytes_freed: self.bytes_freed.wrapping_sub(earlier.bytes_freed),
            blocks_allocated: self.blocks_allocated.wrapping_sub(earlier.blocks_allocated),
            blocks_freed: self.blocks_freed.wrapping_sub(earlier.blocks_freed),
        }
    }
}

/// Returns the sums of the calling thread since its start. They grow only while the thread has a
/// [`Measure`].
#[must_use]
pub fn counters() -> Counters {
    read().0
}

/// Returns whether the calling thread counts.
#[must_use]
pub fn is_counting() -> bool {
    read().1
}

fn read() -> (Counters, bool) {
    let mut now = sys::hak_thread_counters {
        bytes_allocated: 0,
        bytes_freed: 0,
        blocks_allocated: 0,
        blocks_freed: 0,
    };
    let bytes = size_of_val(&now);
    // SAFETY: `now` has that many bytes.
    let counting = unsafe { sys::hak_thread_counters(&raw mut now, bytes) };
    let counters = Counters {
        bytes_allocated: now.bytes_allocated,
        bytes_freed: now.bytes_freed,
        blocks_allocated: now.blocks_allocated,
        blocks_freed: now.blocks_freed,
    };
    (counters, counting != 0)
}

/// Counts the allocations and frees of the calling thread, from its start until it is dropped.
///
/// Several may exist in a thread at the same time, and each has the counts since its own start. It
/// belongs to its thread, so it is not `Send`, and a future that holds one across an await is not
/// either.
///
/// # Examples
///
/// ```
/// use hakmem::thread::Measure;
///
/// #[global_allocator]
/// static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
///
/// fn main() {
///     let measure = Measure::start();
///     let mut words = vec![1_u64; 1000];
///     words.sort_unstable();
///     assert_eq!(measure.counters().blocks_allocated, 1);
///     assert!(measure.counters().bytes_allocated >= 8000);
///
///     drop(words);
///     let counters = measure.counters();
///     assert_eq!(counters.bytes_allocated, counters.bytes_freed);
/// }
/// ```
///
/// ```compile_fail,E0277
/// let measure = hakmem::thread::Measure::start();
/// std::thread::spawn(move || measure.counters());
/// ```
#[derive(Debug)]
pub struct Measure {
    start: Counters,
    not_send: PhantomData<*const ()>,
}

impl Measure {
    /// Starts to count in the calling thread.
    #[must_use = "the thread counts until the result is dropped"]
    pub fn start() -> Self {
        sys::hak_thread_count_start();
        Self {
            start: counters(),
            not_send: PhantomData,
        }
    }

    /// Returns the counts since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        counters() - self.start
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        sys::hak_thread_count_stop();
    }
}
