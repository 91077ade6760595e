//! Options that are fixed when the program is linked.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::{CStr, c_char};

/// Sets options for the whole program at link time: `"name=value,name=value"`, the names as in
/// [`options`](crate::options). The environment takes precedence.
///
/// Used once, at the top level of the program's own crate. Two uses in one program do not link. An
/// option that does not exist and a value that does not parse give a line on standard error when
/// the program starts, and change nothing.
///
/// ```
/// #[global_allocator]
/// static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
/// hakmem::conf!("prewarm=tiny,purge_delay_ms=250");
///
/// fn main() {
///     assert_eq!(hakmem::options::PURGE_DELAY_MS.get(), Ok(250));
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

/// The type of the C variable `hak_conf`, a `const char *`. Named by [`conf!`](crate::conf!) only.
#[doc(hidden)]
#[derive(Debug)]
#[repr(transparent)]
pub struct Conf(*const c_char);

// SAFETY: points to a constant.
unsafe impl Sync for Conf {}

impl Conf {
    /// Fails to compile for text with a NUL inside.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        match CStr::from_bytes_with_nul(text.as_bytes()) {
            Ok(text) => Self(text.as_ptr()),
            Err(_) => panic!("the text of hakmem::conf! contains a NUL"),
        }
    }
}
