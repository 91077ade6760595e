//! Fills a thread's cache before its first allocations.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use crate::sys;

/// The blocks that a thread's cache is filled with, by [`prewarm`] or, at the start of each thread,
/// by the option [`PREWARM`](crate::options::PREWARM).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prewarm {
    /// None.
    #[default]
    Off,
    /// Blocks up to 1 KiB.
    Tiny,
    /// Blocks of 8 KiB to 52 KiB.
    Pool,
    /// Both.
    All,
    /// As many blocks as ended threads held on average.
    Adaptive,
}

impl Prewarm {
    fn to_c(self) -> sys::hak_prewarm_set {
        match self {
            Self::Off => sys::HAK_PREWARM_OFF,
            Self::Tiny => sys::HAK_PREWARM_TINY,
            Self::Pool => sys::HAK_PREWARM_POOL,
            Self::All => sys::HAK_PREWARM_ALL,
            Self::Adaptive => sys::HAK_PREWARM_ADAPTIVE,
        }
    }
}

/// Fills the calling thread's cache, so that its next allocations do not have to refill it. Returns
/// the total size of the added blocks in bytes, which is 0 if there is nothing to add or memory is
/// exhausted.
///
/// The blocks take less than 2 MB of address space, and none of their pages is touched. Call this
/// once at the start of a latency-critical thread.
///
/// # Examples
///
/// ```
/// std::thread::spawn(|| {
///     hakmem::prewarm(hakmem::Prewarm::Pool);
///     // Allocating the first buffers in this thread needs no lock and no system call.
/// })
/// # .join()
/// # .unwrap();
/// ```
pub fn prewarm(set: Prewarm) -> usize {
    sys::hak_prewarm(set.to_c())
}
