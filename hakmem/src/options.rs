//! Run-time options that can be set, read and listed.
//!
//! | constant | name | default | values | can be set |
//! |---|---|---|---|---|
//! | [`PREWARM`] | `prewarm` | `off` | `off`, `tiny`, `pool`, `all`, `adaptive` | any time |
//! | [`THREAD_CACHE_BYTES`] | `thread_cache_kb` | 8192 | 0 to 1048576 | any time |
//! | [`CACHE_TOTAL_BYTES`] | `cache_total_mb` | 0 | 0 to 1048576 | any time |
//! | [`HEAPS`] | `heaps` | 0 | 0 to 256 | at start |
//! | [`POOL_TLS_ARENA_BYTES_INIT`] | `pool_tls_arena_mb_init` | 1 | 1 to 64 | any time |
//! | [`POOL_TLS_ARENA_BYTES_MAX`] | `pool_tls_arena_mb_max` | 8 | 1 to 64 | any time |
//! | [`POOL_TLS_ARENA_GROWTH_LEVELS`] | `pool_tls_arena_growth_levels` | 3 | 0 to 16 | any time |
//! | [`LARGE_CACHE_BYTES`] | `large_cache_mb` | 64 | 0 to 1048576 | any time |
//! | [`PURGE_DELAY`] | `purge_delay_ms` | 1000 | 0 to 86400000 | any time |
//! | [`PURGE_THREAD_BYTES`] | `purge_thread_mb` | 16 | 0 to 1048576 | any time |
//! | [`BACKGROUND`] | `background` | `auto` | `auto`, `always`, `never` | any time |
//! | [`HUGE_PAGE_BYTES`] | `huge_page_mb` | 4 | 0 to 1048576 | any time |
//! | [`LIMIT_SOFT`] | `limit_soft` | 0 | bytes | any time |
//! | [`LIMIT_HARD`] | `limit_hard` | 0 | bytes | any time |
//! | [`CHECKS`] | `checks` | `0` | `0`, `1`, `fast` | at start |
//! | [`ON_ERROR`] | `on_error` | `abort` | `abort`, `continue` | any time |
//! | [`DEEPBIND`] | `deepbind` | `mask` | `mask`, `keep` | any time |
//! | [`GUARD_RATE`] | `guard_rate` | 0 | 0 to 4294967296 | at start |
//! | [`GUARD_SLOTS`] | `guard_slots` | 128 | 1 to 65536 | at start |
//! | [`STATS`] | `stats` | 0 | 0, 1 | any time |
//! | [`PROFILE`] | `profile` | `0` | `0`, `1`, `leaks` | at start |
//! | [`PROFILE_RATE`] | `profile_rate` | 0 | 0 to 1099511627776 | any time |
//! | [`PROFILE_SIGNAL`] | `profile_signal` | `none` | `none`, `HUP`, `USR1`, `USR2`, `PROF` | at start |
//!
//! The option `profile_file` is a text, so it has no constant. [`get`] returns it.
//!
//! An option can be set in three places. Each overrides the ones before it:
//!
//! - [`conf!`](crate::conf!), when the program is linked,
//! - the environment variable `HAKMEM_` followed by the name in capitals, when the program starts,
//! - [`Opt::set`] or [`set`], while the program runs.
//!
//! # Units
//!
//! The constants are typed: sizes and limits are in bytes, and times are a [`Duration`]. In
//! [`conf!`](crate::conf!), in the environment, in [`set`], and in the columns of defaults and
//! values above, a number has the unit in the option's name: `_kb` is KiB, `_mb` is MiB, and `_ms`
//! is milliseconds.
//!
//! hakmem keeps a number in this unit. A constant rounds a value up to the next whole unit, so only
//! 0 has the special meaning of 0. [`Opt::get`] returns the rounded value.
//!
//! # Examples
//!
//! By constant, with types:
//!
//! ```
//! use std::time::Duration;
//!
//! use hakmem::options::{self, Checks, Error};
//!
//! options::PURGE_DELAY.set(Duration::from_millis(100))?;
//! assert_eq!(options::PURGE_DELAY.get()?, Duration::from_millis(100));
//! options::THREAD_CACHE_BYTES.set(1 << 20)?;
//! assert_eq!(options::CHECKS.set(Checks::Full), Err(Error::AtStart));
//! # Ok::<(), Error>(())
//! ```
//!
//! By name, for instance from a configuration file:
//!
//! ```
//! use hakmem::options;
//!
//! options::set("purge_delay_ms", "500")?;
//! for option in options::all().filter(|option| option.value != option.default) {
//!     println!("{} is {}, not {}", option.name, option.value, option.default);
//! }
//! # Ok::<(), options::Error>(())
//! ```
//
// SPDX-License-Identifier: MIT OR Apache-2.0

mod list;
mod text;

use core::ffi::{CStr, c_int};
use core::fmt::{self, Write as _};
use core::marker::PhantomData;
use core::time::Duration;

pub use list::{Choices, Info, Values, all, get, set};
use text::Buffer;
pub use text::Text;

use crate::{Prewarm, sys};

/// An option with values of the type `T`. The constants of this module are the options.
#[derive(Debug)]
pub struct Opt<T> {
    name: &'static CStr,
    /// The unit of the number in C: bytes of a size, or nanoseconds of a duration.
    unit: u64,
    value: PhantomData<fn(T) -> T>,
}

/// The reason why an option could not be set or read.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// There is no such option. For the constants of this module, this happens only where the
    /// system allocator replaces hakmem.
    Unknown,
    /// The value does not parse, or is out of range. The old value stays. [`Info::values`] are the
    /// values that can be set.
    Invalid,
    /// The option is read only once, when the program starts. Use [`conf!`](crate::conf!) or the
    /// environment instead.
    AtStart,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => "hakmem has no such option",
            Self::Invalid => "the value does not parse or is out of the option's range",
            Self::AtStart => "the option can be set only before the program starts",
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

/// Whether the heap is profiled from the start of the program on: [`PROFILE`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// No profile. The module [`profile`](crate::profile) can start one at any time.
    #[default]
    Off,
    /// The profile is written to a file when the program ends.
    On,
    /// All blocks in use are printed when the program ends, by stack.
    Leaks,
}

/// The signal that writes the profile to a file: [`PROFILE_SIGNAL`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProfileSignal {
    /// No signal.
    #[default]
    None,
    /// `SIGHUP`.
    Hup,
    /// `SIGUSR1`.
    Usr1,
    /// `SIGUSR2`.
    Usr2,
    /// `SIGPROF`.
    Prof,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MILLISECOND: u64 = 1_000_000;

/// Defines the constants.
macro_rules! options {
    ($($(#[$doc:meta])* $constant:ident: $kind:ty = $name:literal $(in $unit:ident)?;)*) => {
        $(
            $(#[$doc])*
            pub const $constant: Opt<$kind> = Opt {
                name: $name,
                unit: 1 $(* $unit)?,
                value: PhantomData,
            };
        )*
    };
}

options! {
    /// The blocks that the cache of each new thread is filled with.
    PREWARM: Prewarm = c"prewarm";
    /// Maximum size of a thread's cache in bytes, in steps of 1 KiB. 0 disables thread caches.
    THREAD_CACHE_BYTES: u64 = c"thread_cache_kb" in KIB;
    /// Maximum size of all thread caches together in bytes, in steps of 1 MiB. 0 means 8 MiB for
    /// each CPU that the process may use, or 512 KiB for each thread if that is more.
    CACHE_TOTAL_BYTES: u64 = c"cache_total_mb" in MIB;
    /// Number of heaps that threads are spread over, at least one for each NUMA node. 0 means one
    /// for two CPUs that the process may use.
    HEAPS: u64 = c"heaps";
    /// Size of a heap's first chunk in bytes, in steps of 1 MiB.
    POOL_TLS_ARENA_BYTES_INIT: u64 = c"pool_tls_arena_mb_init" in MIB;
    /// Maximum size of a chunk in bytes, in steps of 1 MiB.
    POOL_TLS_ARENA_BYTES_MAX: u64 = c"pool_tls_arena_mb_max" in MIB;
    /// Number of times that the chunk size of a heap doubles.
    POOL_TLS_ARENA_GROWTH_LEVELS: u64 = c"pool_tls_arena_growth_levels";
    /// Size of the cache of freed large mappings in bytes, in steps of 1 MiB. The cache grows
    /// beyond this size if the program soon maps as much memory again.
    LARGE_CACHE_BYTES: u64 = c"large_cache_mb" in MIB;
    /// Time until free memory is returned to the operating system, in steps of 1 ms and at most 24
    /// hours. 0 means at the next opportunity.
    PURGE_DELAY: Duration = c"purge_delay_ms" in MILLISECOND;
    /// Minimum amount of memory in bytes, free or in use, for a background thread to return memory
    /// while the program is idle, in steps of 1 MiB. 0 means never.
    PURGE_THREAD_BYTES: u64 = c"purge_thread_mb" in MIB;
    /// Whether hakmem may start a background thread that returns memory.
    BACKGROUND: Background = c"background";
    /// Size of a heap in bytes from which it requests huge pages for new memory, in steps of 1 MiB.
    /// 0 means never.
    HUGE_PAGE_BYTES: u64 = c"huge_page_mb" in MIB;
    /// Bytes in use above which all free memory is returned. 0 means no limit. [`set`],
    /// [`conf!`](crate::conf!) and the environment also accept units, such as `1.5G`, and a
    /// percentage of the cgroup's limit, such as `80%`.
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
    /// One allocation in this many lies between guard pages from the start of the program on. 0
    /// means none. The module [`guard`](crate::guard) can start and stop it at any time.
    GUARD_RATE: u64 = c"guard_rate";
    /// Maximum number of blocks that are guarded at once. It needs [`GUARD_RATE`].
    GUARD_SLOTS: u64 = c"guard_slots";
    /// Whether hakmem prints all statistics to standard error at exit.
    STATS: bool = c"stats";
    /// Whether the heap is profiled from the start of the program on.
    PROFILE: Profile = c"profile";
    /// Average bytes between two samples of a profile. 1 samples every block. 0 means 512 KiB, and
    /// every block with [`Profile::Leaks`].
    PROFILE_RATE: u64 = c"profile_rate";
    /// The signal that writes the profile to a file. It needs [`PROFILE`].
    PROFILE_SIGNAL: ProfileSignal = c"profile_signal";
}

impl<T: Value> Opt<T> {
    /// Returns the name, as used in [`set`] and in [`conf!`](crate::conf!). The name of the
    /// environment variable is `HAKMEM_` followed by this name in capitals.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(hakmem::options::PURGE_DELAY.name(), "purge_delay_ms");
    /// ```
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }

    /// Returns the current value.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] where the system allocator replaces hakmem.
    ///
    /// # Examples
    ///
    /// ```
    /// use hakmem::options;
    ///
    /// assert_eq!(options::LARGE_CACHE_BYTES.get(), Ok(64 << 20));
    /// ```
    pub fn get(&self) -> Result<T, Error> {
        // SAFETY: the name is a C string.
        let text = unsafe { list::value(self.name.as_ptr()) }?;
        T::parse(&text, self.unit).ok_or(Error::Invalid)
    }

    /// Sets the value. Sizes and durations are rounded up to the unit in the option's name.
    ///
    /// # Errors
    ///
    /// The old value stays in each of these cases:
    ///
    /// - [`Error::Invalid`] if the value is out of range,
    /// - [`Error::AtStart`] if the option is read only when the program starts,
    /// - [`Error::Unknown`] where the system allocator replaces hakmem.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use hakmem::options::{self, Error};
    ///
    /// options::PURGE_DELAY.set(Duration::from_micros(1500))?;
    /// assert_eq!(options::PURGE_DELAY.get()?, Duration::from_millis(2));
    /// let days = Duration::from_secs(2 * 86_400);
    /// assert_eq!(options::PURGE_DELAY.set(days), Err(Error::Invalid));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set(&self, value: T) -> Result<(), Error> {
        let mut text = Buffer::EMPTY;
        value
            .print(self.unit, &mut text)
            .map_err(|_| Error::Invalid)?;
        // SAFETY: both texts are C strings.
        outcome(unsafe { sys::hak_option_set(self.name.as_ptr(), text.as_ptr()) })
    }
}

// The numbers are the same on all of Linux. Elsewhere, `system.rs` returns them.
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

/// The types of option values.
#[expect(
    private_bounds,
    reason = "the types are those of the constants, no others"
)]
pub trait Value: Printed {}
impl<T: Printed> Value for T {}

/// Conversion to and from the text of a value in C, where numbers count units of [`Opt::unit`].
trait Printed: Copy {
    fn print(self, unit: u64, text: &mut Buffer) -> fmt::Result;
    fn parse(text: &str, unit: u64) -> Option<Self>;
}

impl Printed for u64 {
    fn print(self, unit: u64, text: &mut Buffer) -> fmt::Result {
        write!(text, "{}", self.div_ceil(unit))
    }

    fn parse(text: &str, unit: u64) -> Option<Self> {
        text.parse::<u64>().ok()?.checked_mul(unit)
    }
}

impl Printed for Duration {
    fn print(self, unit: u64, text: &mut Buffer) -> fmt::Result {
        write!(text, "{}", self.as_nanos().div_ceil(u128::from(unit)))
    }

    fn parse(text: &str, unit: u64) -> Option<Self> {
        u64::parse(text, unit).map(Self::from_nanos)
    }
}

impl Printed for bool {
    fn print(self, unit: u64, text: &mut Buffer) -> fmt::Result {
        u64::from(self).print(unit, text)
    }

    fn parse(text: &str, _unit: u64) -> Option<Self> {
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
            fn print(self, _unit: u64, text: &mut Buffer) -> fmt::Result {
                text.write_str(match self {
                    $(Self::$value => $name,)*
                })
            }

            fn parse(text: &str, _unit: u64) -> Option<Self> {
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
named!(Profile {
    Off: "0",
    On: "1",
    Leaks: "leaks"
});
named!(ProfileSignal {
    None: "none",
    Hup: "HUP",
    Usr1: "USR1",
    Usr2: "USR2",
    Prof: "PROF"
});
named!(Background {
    Auto: "auto",
    Always: "always",
    Never: "never"
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints and parses a value with a unit.
    fn through_text<T: Value>(value: T, unit: u64) -> Option<T> {
        let mut text = Buffer::EMPTY;
        value.print(unit, &mut text).expect("it fits");
        T::parse(text.as_str(), unit)
    }

    #[test]
    fn a_value_that_is_printed_parses_to_itself() {
        fn check<T: Value + PartialEq + fmt::Debug>(value: T) {
            assert_eq!(through_text(value, 1), Some(value));
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
        for profile in [Profile::Off, Profile::On, Profile::Leaks] {
            check(profile);
        }
        for signal in [
            ProfileSignal::None,
            ProfileSignal::Hup,
            ProfileSignal::Usr1,
            ProfileSignal::Usr2,
            ProfileSignal::Prof,
        ] {
            check(signal);
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
    fn sizes_are_rounded_up_to_whole_units() {
        for (bytes, rounded) in [(0, 0), (1, MIB), (MIB, MIB), (MIB + 1, 2 * MIB)] {
            assert_eq!(through_text(bytes, MIB), Some(rounded));
        }
        assert_eq!(through_text(u64::MAX, MIB), None, "it does not fit a u64");
    }

    #[test]
    fn durations_are_rounded_up_to_whole_units() {
        let milliseconds = Duration::from_millis;
        for (time, rounded) in [
            (Duration::ZERO, milliseconds(0)),
            (Duration::from_nanos(1), milliseconds(1)),
            (milliseconds(1), milliseconds(1)),
            (Duration::from_nanos(1_000_001), milliseconds(2)),
        ] {
            assert_eq!(through_text(time, MILLISECOND), Some(rounded));
        }
        assert_eq!(through_text(Duration::MAX, MILLISECOND), None);
    }

    #[test]
    fn the_result_codes_are_those_of_the_operating_system() {
        assert_eq!((ENOENT, EBUSY), (libc::ENOENT, libc::EBUSY));
    }
}
