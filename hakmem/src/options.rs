//! Typed run-time options that can be set and read.
//!
//! | constant | name | default | values | can be set |
//! |---|---|---|---|---|
//! | [`PREWARM`] | `prewarm` | `off` | `off`, `tiny`, `pool`, `all`, `adaptive` | any time |
//! | [`THREAD_CACHE_KB`] | `thread_cache_kb` | 8192 | 0 to 1048576 | any time |
//! | [`CACHE_TOTAL_MB`] | `cache_total_mb` | 0 | 0 to 1048576 | any time |
//! | [`HEAPS`] | `heaps` | 0 | 0 to 256 | at start |
//! | [`POOL_TLS_ARENA_MB_INIT`] | `pool_tls_arena_mb_init` | 1 | 1 to 64 | any time |
//! | [`POOL_TLS_ARENA_MB_MAX`] | `pool_tls_arena_mb_max` | 8 | 1 to 64 | any time |
//! | [`POOL_TLS_ARENA_GROWTH_LEVELS`] | `pool_tls_arena_growth_levels` | 3 | 0 to 16 | any time |
//! | [`LARGE_CACHE_MB`] | `large_cache_mb` | 64 | 0 to 1048576 | any time |
//! | [`PURGE_DELAY_MS`] | `purge_delay_ms` | 1000 | 0 to 86400000 | any time |
//! | [`PURGE_THREAD_MB`] | `purge_thread_mb` | 16 | 0 to 1048576 | any time |
//! | [`BACKGROUND`] | `background` | `auto` | `auto`, `always`, `never` | any time |
//! | [`HUGE_PAGE_MB`] | `huge_page_mb` | 4 | 0 to 1048576 | any time |
//! | [`LIMIT_SOFT`] | `limit_soft` | 0 | bytes | any time |
//! | [`LIMIT_HARD`] | `limit_hard` | 0 | bytes | any time |
//! | [`CHECKS`] | `checks` | `0` | `0`, `1`, `fast` | at start |
//! | [`ON_ERROR`] | `on_error` | `abort` | `abort`, `continue` | any time |
//! | [`DEEPBIND`] | `deepbind` | `mask` | `mask`, `keep` | any time |
//! | [`STATS`] | `stats` | 0 | 0, 1 | any time |
//!
//! An option can be set in three places. Each overrides the ones before it:
//!
//! - [`conf!`](crate::conf!), when the program is linked,
//! - the environment variable `HAKMEM_` followed by the name in capitals, when the program starts,
//! - [`Opt::set`], while the program runs.
//!
//! ```
//! use hakmem::options::{self, Checks, Error};
//!
//! options::PURGE_DELAY_MS.set(100)?;
//! assert_eq!(options::PURGE_DELAY_MS.get()?, 100);
//! assert_eq!(options::CHECKS.set(Checks::Full), Err(Error::AtStart));
//! # Ok::<(), Error>(())
//! ```
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::{CStr, c_char, c_int};
use core::fmt::{self, Write as _};
use core::marker::PhantomData;

use crate::{Prewarm, sys};

/// An option with values of the type `T`. The constants of this module are the options.
#[derive(Debug)]
pub struct Opt<T> {
    name: &'static CStr,
    value: PhantomData<fn(T) -> T>,
}

/// The reason why an option could not be set or read.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// There is no such option. This happens only where the system allocator replaces hakmem, that
    /// is, under Miri and with `--cfg hakmem_system`.
    Unknown,
    /// The value is out of range. The old value stays.
    Invalid,
    /// The option is read only once, when the program starts. Use [`conf!`](crate::conf!) or the
    /// environment instead.
    AtStart,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => "there is no such option",
            Self::Invalid => "the value is out of the option's range",
            Self::AtStart => "the option is read at start only",
        })
    }
}

impl core::error::Error for Error {}

/// How closely frees are checked: [`CHECKS`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checks {
    /// Only the checks that cost next to nothing.
    #[default]
    Off,
    /// All frees are checked, the sizes of sized frees are compared, and there are no thread
    /// caches. Slow.
    Full,
    /// The same checks with small thread caches. Only misuse of a block in the cache of another
    /// thread goes undetected.
    Fast,
}

/// The action after hakmem has reported the use of a bad pointer: [`ON_ERROR`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// End the process.
    #[default]
    Abort,
    /// Ignore the call.
    Continue,
}

/// Whether hakmem may start a background thread that returns memory: [`BACKGROUND`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Background {
    /// Only while the program itself has more than one thread.
    #[default]
    Auto,
    /// Also in a single-threaded program.
    Always,
    /// Never. Only calls of the program return memory.
    Never,
}

/// The treatment of the flag `RTLD_DEEPBIND` of `dlopen`: [`DEEPBIND`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Deepbind {
    /// The flag is removed.
    #[default]
    Mask,
    /// The flag is passed on.
    Keep,
}

/// Defines the constants.
macro_rules! options {
    ($($(#[$doc:meta])* $constant:ident: $kind:ty = $name:literal;)*) => {
        $(
            $(#[$doc])*
            pub const $constant: Opt<$kind> = Opt { name: $name, value: PhantomData };
        )*
    };
}

options! {
    /// The blocks that the cache of each new thread is filled with.
    PREWARM: Prewarm = c"prewarm";
    /// Maximum size of a thread's cache, in KiB. 0 disables thread caches.
    THREAD_CACHE_KB: u64 = c"thread_cache_kb";
    /// Maximum size of all thread caches together, in MiB. 0 means 8 for each CPU that the process
    /// may use, or 0.5 for each thread if that is more.
    CACHE_TOTAL_MB: u64 = c"cache_total_mb";
    /// Number of heaps that threads are spread over. 0 means one for each CPU that the process may
    /// use.
    HEAPS: u64 = c"heaps";
    /// Size of a heap's first chunk, in MiB.
    POOL_TLS_ARENA_MB_INIT: u64 = c"pool_tls_arena_mb_init";
    /// Maximum size of a chunk, in MiB.
    POOL_TLS_ARENA_MB_MAX: u64 = c"pool_tls_arena_mb_max";
    /// Number of times that the chunk size of a heap doubles.
    POOL_TLS_ARENA_GROWTH_LEVELS: u64 = c"pool_tls_arena_growth_levels";
    /// Size of the cache of freed large mappings, in MiB. The cache grows beyond this size if the
    /// program soon maps as much memory again.
    LARGE_CACHE_MB: u64 = c"large_cache_mb";
    /// Milliseconds until free memory is returned to the operating system. 0 means at the next
    /// opportunity.
    PURGE_DELAY_MS: u64 = c"purge_delay_ms";
    /// Minimum amount of memory, in MiB, free or in use, for a background thread to return memory
    /// while the program is idle. 0 means never.
    PURGE_THREAD_MB: u64 = c"purge_thread_mb";
    /// Whether hakmem may start a background thread that returns memory.
    BACKGROUND: Background = c"background";
    /// Size of a heap, in MiB, from which it requests huge pages for new memory. 0 means never.
    HUGE_PAGE_MB: u64 = c"huge_page_mb";
    /// Bytes in use above which all free memory is returned. 0 means no limit. The environment and
    /// [`conf!`](crate::conf!) also accept a percentage of the cgroup's limit, such as `80%`.
    LIMIT_SOFT: u64 = c"limit_soft";
    /// Bytes in use above which allocations fail. The format is that of [`LIMIT_SOFT`].
    LIMIT_HARD: u64 = c"limit_hard";
    /// How closely frees are checked.
    CHECKS: Checks = c"checks";
    /// The action after hakmem has reported the use of a bad pointer.
    ON_ERROR: OnError = c"on_error";
    /// The treatment of the flag `RTLD_DEEPBIND` of `dlopen`. This affects only programs that use
    /// the shared library `libhakmem.so`.
    DEEPBIND: Deepbind = c"deepbind";
    /// Whether hakmem prints all statistics to standard error at exit.
    STATS: bool = c"stats";
}

impl<T: Value> Opt<T> {
    /// Returns the name, as used in [`conf!`](crate::conf!). The name of the environment variable
    /// is
    /// `HAKMEM_` followed by this name in capitals.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }

    /// Returns the current value.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] where the system allocator replaces hakmem.
    pub fn get(&self) -> Result<T, Error> {
        let mut text = Text::default();
        let bytes = text.0.len();
        // SAFETY: the name ends with a NUL, and the text has room for `bytes` bytes.
        let status = unsafe { sys::hak_option_get(self.name.as_ptr(), text.0.as_mut_ptr(), bytes) };
        outcome(status)?;
        T::parse(text.as_str()).ok_or(Error::Invalid)
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// The old value stays in each of these cases:
    ///
    /// - [`Error::Invalid`] if the value is out of range,
    /// - [`Error::AtStart`] if the option is read only when the program starts,
    /// - [`Error::Unknown`] where the system allocator replaces hakmem.
    pub fn set(&self, value: T) -> Result<(), Error> {
        let mut text = Text::default();
        value.print(&mut text).map_err(|_| Error::Invalid)?;
        // SAFETY: both texts end with a NUL.
        outcome(unsafe { sys::hak_option_set(self.name.as_ptr(), text.0.as_ptr()) })
    }
}

// The numbers are the same on all of Linux.
const ENOENT: c_int = 2;
const EBUSY: c_int = 16;

fn outcome(status: c_int) -> Result<(), Error> {
    match status {
        0 => Ok(()),
        ENOENT => Err(Error::Unknown),
        EBUSY => Err(Error::AtStart),
        _ => Err(Error::Invalid),
    }
}

/// The text of a value. It has room for the longest value, and always ends with a NUL.
#[derive(Default)]
struct Text([c_char; 32]);

impl Text {
    fn bytes(&self) -> &[u8] {
        // SAFETY: c_char and u8 have the same size and alignment, and all bit patterns are valid.
        unsafe { &*(&raw const self.0).cast::<[u8; 32]>() }
    }

    fn as_str(&self) -> &str {
        let text = CStr::from_bytes_until_nul(self.bytes()).unwrap_or_default();
        text.to_str().unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let start = self.as_str().len();
        let room = self
            .0
            .get_mut(start..start + more.len() + 1)
            .ok_or(fmt::Error)?;
        for (to, from) in room.iter_mut().zip(more.bytes()) {
            *to = from as c_char;
        }
        Ok(())
    }
}

/// The types of option values.
#[expect(
    private_bounds,
    reason = "the types are those of the constants, no others"
)]
pub trait Value: Printed {}
impl<T: Printed> Value for T {}

trait Printed: Copy {
    fn print(self, text: &mut Text) -> fmt::Result;
    fn parse(text: &str) -> Option<Self>;
}

impl Printed for u64 {
    fn print(self, text: &mut Text) -> fmt::Result {
        write!(text, "{self}")
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Printed for bool {
    fn print(self, text: &mut Text) -> fmt::Result {
        u64::from(self).print(text)
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }
}

/// Implements [`Printed`] for an enum with named values.
macro_rules! named {
    ($kind:ident { $($value:ident: $name:literal),* $(,)? }) => {
        impl Printed for $kind {
            fn print(self, text: &mut Text) -> fmt::Result {
                text.write_str(match self {
                    $(Self::$value => $name,)*
                })
            }

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($name => Some(Self::$value),)*
                    _ => None,
                }
            }
        }
    };
}

named!(Prewarm {
    Off: "off",
    Tiny: "tiny",
    Pool: "pool",
    All: "all",
    Adaptive: "adaptive"
});
named!(Checks {
    Off: "0",
    Full: "1",
    Fast: "fast"
});
named!(OnError {
    Abort: "abort",
    Continue: "continue"
});
named!(Deepbind {
    Mask: "mask",
    Keep: "keep"
});
named!(Background {
    Auto: "auto",
    Always: "always",
    Never: "never"
});

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn a_value_that_is_printed_parses_to_itself() {
        fn check<T: Value + PartialEq + fmt::Debug>(value: T) {
            let mut text = Text::default();
            value.print(&mut text).expect("it fits");
            assert_eq!(T::parse(text.as_str()), Some(value));
        }
        for number in [0, 1, 86_400_000, u64::MAX] {
            check(number);
        }
        for flag in [false, true] {
            check(flag);
        }
        for checks in [Checks::Off, Checks::Full, Checks::Fast] {
            check(checks);
        }
        for action in [OnError::Abort, OnError::Continue] {
            check(action);
        }
        for flag in [Deepbind::Mask, Deepbind::Keep] {
            check(flag);
        }
        for background in [Background::Auto, Background::Always, Background::Never] {
            check(background);
        }
        for set in [
            Prewarm::Off,
            Prewarm::Tiny,
            Prewarm::Pool,
            Prewarm::All,
            Prewarm::Adaptive,
        ] {
            check(set);
        }
    }

    #[test]
    fn text_that_does_not_fit_with_its_nul_is_refused() {
        let mut text = Text::default();
        assert_eq!(text.write_str(&"x".repeat(31)), Ok(()));
        assert_eq!(text.as_str().len(), 31);
        assert_eq!(text.write_str("x"), Err(fmt::Error));
    }

    #[test]
    fn the_result_codes_are_those_of_the_operating_system() {
        assert_eq!((ENOENT, EBUSY), (libc::ENOENT, libc::EBUSY));
    }
}
