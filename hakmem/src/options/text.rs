//! Texts in fixed buffers, because this crate does not allocate.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::{CStr, c_char};
use core::fmt;
use core::ops::Deref;

/// Longer than each name and each value of an option.
const BYTES: usize = 256;

/// A text for C. It ends with a NUL, and all bytes after that are NULs, too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Buffer([u8; BYTES]);

impl Buffer {
    pub(super) const EMPTY: Self = Self([0; BYTES]);

    /// Copies `text`. Returns `None` if it does not fit or contains a NUL.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut copy = Self::EMPTY;
        fmt::Write::write_str(&mut copy, text).ok()?;
        Some(copy)
    }

    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Lets `fill` write at most the given number of bytes, of which the last is a NUL.
    pub(super) fn fill<R>(&mut self, fill: impl FnOnce(*mut c_char, usize) -> R) -> R {
        fill(self.0.as_mut_ptr().cast(), BYTES)
    }

    pub(super) fn as_str(&self) -> &str {
        let text = CStr::from_bytes_until_nul(&self.0).unwrap_or_default();
        text.to_str().unwrap_or_default()
    }
}

/// Appends text. On failure, the old text stays.
impl fmt::Write for Buffer {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let start = self.as_str().len();
        let end = start + more.len();
        if end >= BYTES || more.contains('\0') {
            return Err(fmt::Error);
        }
        self.0[start..end].copy_from_slice(more.as_bytes());
        Ok(())
    }
}

/// The value of an option as text. It can be used as a `&str`.
///
/// # Examples
///
/// ```
/// let delay = hakmem::options::get("purge_delay_ms")?;
/// assert_eq!(delay, "1000");
/// assert_eq!(delay.parse(), Ok(1000_u64));
/// # Ok::<(), hakmem::options::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text(pub(super) Buffer);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::fmt::Write as _;
    use std::format;

    use super::*;

    #[test]
    fn text_that_does_not_fit_with_its_nul_is_refused() {
        let mut text = Buffer::EMPTY;
        assert_eq!(text.write_str(&"x".repeat(BYTES - 1)), Ok(()));
        assert_eq!(text.as_str().len(), BYTES - 1);
        assert_eq!(text.write_str("x"), Err(fmt::Error));
        assert_eq!(text.as_str().len(), BYTES - 1);
    }

    #[test]
    fn text_with_a_nul_is_refused() {
        assert!(Buffer::new("prewarm").is_some());
        assert!(Buffer::new("prewarm\0x").is_none());
    }

    #[test]
    fn a_value_is_shown_like_a_str() {
        let text = Text(Buffer::new("auto").expect("it fits"));
        assert_eq!(format!("{text} {text:>6} {text:?}"), "auto   auto \"auto\"");
        assert_eq!(text, "auto");
        assert_eq!(text, *"auto");
    }
}
