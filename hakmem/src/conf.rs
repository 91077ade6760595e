//! Options that are fixed when the program is linked.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::{CStr, c_char};

/// Sets options for the whole program at link time, as `"name=value,name=value"`. The names are
/// those listed in [`options`](crate::options). The environment takes precedence.
///
/// Use it once, at the top level of the program's own crate. A program with two uses does not link.
/// When the program starts, hakmem prints a line to standard error for each unknown option and each
/// invalid value, and ignores it. Where the system allocator replaces hakmem, the macro has no
/// effect.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// #[global_allocator]
/// static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
/// hakmem::conf!("prewarm=tiny,purge_delay_ms=250");
///
/// fn main() {
///     let delay = hakmem::options::PURGE_DELAY.get();
///     assert_eq!(delay, Ok(Duration::from_millis(250)));
/// }
/// ```
#[macro_export]
macro_rules! conf {
    ($text:literal $(,)?) => {
        const _: () = {
            #[used]
            #[unsafe(export_name = "hak_conf")]
            static CONF: $crate::Conf = $crate::Conf::new(::core::concat!($text, "\0"));
        };
    };
}

/// The type of the C variable `hak_conf`, a `const char *`. Only [`conf!`](crate::conf!) uses it.
#[doc(hidden)]
#[derive(Debug)]
#[repr(transparent)]
pub struct Conf(*const c_char);

// SAFETY: the pointer refers to an immutable string constant.
unsafe impl Sync for Conf {}

impl Conf {
    /// Wraps `text`, which ends with a NUL.
    ///
    /// # Panics
    ///
    /// If `text` contains another NUL. In [`conf!`](crate::conf!) this is a compile-time error.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        match CStr::from_bytes_with_nul(text.as_bytes()) {
            Ok(text) => Self(text.as_ptr()),
            Err(_) => panic!("the text of hakmem::conf! contains a NUL"),
        }
    }
}
