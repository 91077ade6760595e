//! Guard pages around a sample of the allocations, which find overflows and uses after free.
//!
//! While the guard is running, one allocation in many gets pages of its own, between two
//! inaccessible pages. When such a block is freed, its pages become inaccessible, too. An access
//! outside the block, or to it after its free, then causes a fault at that instruction. The cause
//! may be unsafe Rust, or C code in the same program. A report on standard error has the kind of
//! the mistake and the stacks of the access, the allocation and the free. Then the process ends
//! with `SIGSEGV`, or the handler that was installed before the first start is called.
//!
//! The guard can be started and stopped at any time, without a restart of the program. While it is
//! stopped, it costs nothing. A rate of 1000 is suitable for production.
//!
//! Where the system allocator replaces hakmem, [`start`] fails with [`Error::Unsupported`].
//!
//! # Examples
//!
//! ```
//! use hakmem::guard;
//!
//! #[global_allocator]
//! static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
//!
//! fn main() -> Result<(), guard::Error> {
//!     guard::start(1000, guard::DEFAULT_SLOTS)?;
//!     let words = vec!["guarded", "with", "a", "probability", "of", "1/1000"];
//!     assert!(guard::is_running());
//!     guard::stop();
//!     drop(words);
//!     Ok(())
//! }
//! ```
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::c_int;
use core::fmt;

use crate::sys;

/// A number of slots that suits most programs. They take 8 MiB of address space, and at most 2 MiB
/// of memory.
pub const DEFAULT_SLOTS: u32 = 128;

/// The reason why the guard could not be started.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// The guard is running already.
    Running,
    /// A number is out of range.
    Invalid,
    /// Memory is exhausted.
    OutOfMemory,
    /// The system allocator replaces hakmem, see [the overview](crate).
    Unsupported,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Running => "the guard is running already",
            Self::Invalid => "the rate or the number of slots is out of range",
            Self::OutOfMemory => "no memory for guard pages",
            Self::Unsupported => "guard pages need hakmem as the allocator",
        })
    }
}

impl core::error::Error for Error {}

/// Guards about one allocation in `rate`, in all threads, and at most `slots` blocks at once.
///
/// `rate` is from 1, for every allocation while there are slots, to 2<sup>32</sup>. `slots` is from
/// 1 to 65536. Each slot takes 64 KiB of address space, which stays reserved after [`stop`], and at
/// most 16 KiB of memory. Larger blocks are not guarded.
///
/// The first start installs a handler of `SIGSEGV`, which calls the previous handler after a
/// report. Start the guard after the program has installed its own handler.
///
/// # Errors
///
/// - [`Error::Running`] if the guard is running,
/// - [`Error::Invalid`] if a number is out of range,
/// - [`Error::OutOfMemory`] if memory or address space is exhausted,
/// - [`Error::Unsupported`] where the system allocator replaces hakmem.
///
/// # Examples
///
/// ```
/// use hakmem::guard::{self, Error};
///
/// guard::start(1000, guard::DEFAULT_SLOTS)?;
/// assert_eq!(guard::start(1000, guard::DEFAULT_SLOTS), Err(Error::Running));
/// guard::stop();
/// assert_eq!(guard::start(0, guard::DEFAULT_SLOTS), Err(Error::Invalid));
/// # Ok::<(), Error>(())
/// ```
pub fn start(rate: u64, slots: u32) -> Result<(), Error> {
    if slots == 0 {
        return Err(Error::Invalid); // in C, 0 means the default
    }
    match sys::hak_guard_start(rate, slots) {
        0 => Ok(()),
        ENOMEM => Err(Error::OutOfMemory),
        EINVAL => Err(Error::Invalid),
        EALREADY => Err(Error::Running),
        _ => Err(Error::Unsupported),
    }
}

/// Stops guarding new blocks. Guarded blocks stay guarded until they are freed.
pub fn stop() {
    sys::hak_guard_stop();
}

/// Returns whether the guard is running.
#[must_use]
pub fn is_running() -> bool {
    sys::hak_guard_is_running() != 0
}

// The numbers are the same on x86-64 and aarch64. On other targets, `system.rs` returns ENOSYS.
const ENOMEM: c_int = 12;
const EINVAL: c_int = 22;
const EALREADY: c_int = 114;

#[cfg(all(test, not(hakmem_system)))]
mod tests {
    use super::*;

    #[test]
    fn the_result_codes_are_those_of_the_operating_system() {
        assert_eq!(
            (ENOMEM, EINVAL, EALREADY),
            (libc::ENOMEM, libc::EINVAL, libc::EALREADY)
        );
    }
}
