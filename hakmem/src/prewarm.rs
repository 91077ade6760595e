//! Filling a thread's cache ahead of its first allocations.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use crate::sys;

/// Which blocks a thread's cache is filled with, by [`prewarm`] or, for every thread when it starts,
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
    /// As many as threads that have ended came to hold.
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

/// Fills the calling thread's cache, so that its next allocations find blocks ready. Returns the
/// bytes of the blocks added: 0 when there is nothing to add or no memory.
///
/// Takes less than 2 MB of address space, and touches no page of it: a latency-critical thread calls
/// it once at its start.
///
/// ```
/// std::thread::spawn(|| {
///     hakmem::prewarm(hakmem::Prewarm::Pool);
///     // The first buffers of this thread wait for no lock and no system call.
/// })
/// # .join()
/// # .unwrap();
/// ```
pub fn prewarm(set: Prewarm) -> usize {
    sys::hak_prewarm(set.to_c())
}
