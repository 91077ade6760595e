//! Heap profiles of the running program.
//!
//! A profile shows which stacks allocated the memory that is in use, and how much they allocated
//! since the start of the profile. It can be started and stopped at any time, without a restart of
//! the program. While it is running, hakmem records a random sample of the allocations of all
//! threads. While no profile is running, the profiler costs nothing.
//!
//! [`pprof`] writes the format of [pprof](https://github.com/google/pprof), which `go tool pprof`,
//! Grafana Pyroscope and speedscope read. [`collapsed`] writes the input of tools for flame graphs,
//! such as the crate inferno.
//!
//! Where the system allocator replaces hakmem, [`start`] fails with [`Error::Unsupported`].
//!
//! # Examples
//!
//! ```
//! #[global_allocator]
//! static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
//!
//! fn main() -> Result<(), hakmem::profile::Error> {
//!     let profile = hakmem::profile::start(hakmem::profile::Options::default())?;
//!     let kept: Vec<_> = (0..1000).map(|i| vec![0_u8; i * 100]).collect();
//!
//!     let mut bytes = Vec::new();
//!     hakmem::profile::pprof(|piece| bytes.extend_from_slice(piece))?;
//!     // Serve the bytes, or write them to a file.
//!     drop(profile);
//!     drop(kept);
//!     Ok(())
//! }
//! ```
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::{c_char, c_int, c_void};
use core::fmt;
use core::slice;

use crate::sys;

/// The settings of a profile.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Average bytes between two samples. 1 samples every block. 0 is the value of
    /// [`PROFILE_RATE`](crate::options::PROFILE_RATE), by default 512 KiB.
    pub rate: u64,
    /// Uses frame pointers instead of unwind tables. This is faster, but the whole program must be
    /// compiled with frame pointers.
    pub frame_pointers: bool,
}

impl Options {
    /// Returns the options with [`rate`](Self::rate) set to `bytes`.
    #[must_use]
    pub const fn rate(mut self, bytes: u64) -> Self {
        self.rate = bytes;
        self
    }

    /// Returns the options with [`frame_pointers`](Self::frame_pointers) set to `follow`.
    #[must_use]
    pub const fn frame_pointers(mut self, follow: bool) -> Self {
        self.frame_pointers = follow;
        self
    }
}

/// The reason why a profile could not be started or written.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// A profile is running already.
    Running,
    /// No profile was ever started, so there is nothing to write.
    NeverStarted,
    /// Memory is exhausted.
    OutOfMemory,
    /// The system allocator replaces hakmem, see [the overview](crate).
    Unsupported,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Running => "a heap profile is running already",
            Self::NeverStarted => "no heap profile was started",
            Self::OutOfMemory => "no memory for the heap profile",
            Self::Unsupported => "heap profiles need hakmem as the allocator",
        })
    }
}

impl core::error::Error for Error {}

/// A running profile, which stops when this value is dropped. [`start`] returns it.
///
/// A program that profiles until it exits can pass the guard to [`core::mem::forget`]. [`stop`]
/// then stops the profile.
#[derive(Debug)]
#[must_use = "the profile stops when the guard is dropped"]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        stop();
    }
}

/// Starts a profile in all threads, and discards the samples of the previous one.
///
/// # Errors
///
/// - [`Error::Running`] if a profile is running,
/// - [`Error::OutOfMemory`] if memory is exhausted,
/// - [`Error::Unsupported`] where the system allocator replaces hakmem.
///
/// # Examples
///
/// ```
/// use hakmem::profile::{self, Error, Options};
///
/// let guard = profile::start(Options::default().rate(64 << 10))?;
/// assert!(profile::is_running());
/// assert_eq!(profile::start(Options::default()).err(), Some(Error::Running));
/// drop(guard);
/// assert!(!profile::is_running());
/// # Ok::<(), Error>(())
/// ```
pub fn start(options: Options) -> Result<Guard, Error> {
    let options = sys::hak_profile_options {
        rate: options.rate,
        frame_pointers: options.frame_pointers.into(),
    };
    // SAFETY: the struct is valid for reads of its size.
    outcome(unsafe { sys::hak_profile_start(&raw const options, size_of_val(&options)) })?;
    Ok(Guard(()))
}

/// Stops the profile. Its samples are kept until the next start. Frees of sampled blocks are still
/// counted, so the blocks in use are always current.
pub fn stop() {
    sys::hak_profile_stop();
}

/// Returns whether a profile is running.
#[must_use]
pub fn is_running() -> bool {
    sys::hak_profile_is_running() != 0
}

/// Writes the running profile, or else the last one, in the uncompressed format of pprof. Each
/// stack has four values: `alloc_objects`, `alloc_space`, `inuse_objects` and `inuse_space`.
///
/// The profile is copied first, and then passed to `write` in pieces. No lock is held meanwhile, so
/// `write` may allocate. If it panics, the process aborts.
///
/// # Errors
///
/// - [`Error::NeverStarted`] if no profile was ever started,
/// - [`Error::OutOfMemory`] if there is no memory for the copy,
/// - [`Error::Unsupported`] where the system allocator replaces hakmem.
pub fn pprof(write: impl FnMut(&[u8])) -> Result<(), Error> {
    write_as(sys::HAK_PROFILE_PPROF, write)
}

/// Writes a line `outermost;...;innermost bytes` for each stack with blocks in use, in pieces like
/// [`pprof`].
///
/// Exported functions appear with their names, and other functions as `module+0x1234`.
///
/// # Errors
///
/// As for [`pprof`].
pub fn collapsed(write: impl FnMut(&[u8])) -> Result<(), Error> {
    write_as(sys::HAK_PROFILE_COLLAPSED, write)
}

/// Writes the 20 stacks with the most bytes in use as readable text, in pieces like [`pprof`].
///
/// # Errors
///
/// As for [`pprof`].
pub fn text(write: impl FnMut(&[u8])) -> Result<(), Error> {
    write_as(sys::HAK_PROFILE_TEXT, write)
}

// The numbers are the same on x86-64 and aarch64. On other targets, `system.rs` returns ENOSYS.
const ENOMEM: c_int = 12;
const EALREADY: c_int = 114;
const ENODATA: c_int = 61;

fn outcome(status: c_int) -> Result<(), Error> {
    match status {
        0 => Ok(()),
        ENOMEM => Err(Error::OutOfMemory),
        EALREADY => Err(Error::Running),
        ENODATA => Err(Error::NeverStarted),
        _ => Err(Error::Unsupported),
    }
}

fn write_as<W: FnMut(&[u8])>(format: sys::hak_profile_format, mut write: W) -> Result<(), Error> {
    // SAFETY: `pass_on` takes a pointer to a W, and `write` outlives the call. No lock is held when
    // it is called, so it may allocate.
    outcome(unsafe { sys::hak_profile_write(format, Some(pass_on::<W>), (&raw mut write).cast()) })
}

/// Passes a piece to the closure. If it panics, the process aborts here, because a panic cannot
/// unwind through C.
unsafe extern "C" fn pass_on<W: FnMut(&[u8])>(
    write: *mut c_void,
    text: *const c_char,
    bytes: usize,
) {
    // SAFETY: `write_as` passes its own closure, and nothing else uses it during the call.
    let write = unsafe { &mut *write.cast::<W>() };
    // SAFETY: hak_profile_write passes `bytes` bytes at `text`, which are valid during this call.
    write(unsafe { slice::from_raw_parts(text.cast(), bytes) });
}

#[cfg(all(test, not(hakmem_system)))]
mod tests {
    use super::*;

    #[test]
    fn the_result_codes_are_those_of_the_operating_system() {
        assert_eq!(
            (ENOMEM, EALREADY, ENODATA),
            (libc::ENOMEM, libc::EALREADY, libc::ENODATA)
        );
    }
}
