//! All statistics as text or JSON.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::{c_char, c_void};
use core::fmt;
use core::{slice, str};

use crate::sys;

/// The form of a [`report`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// All statistics, taken when it is displayed. Made by [`report`].
#[derive(Clone, Copy, Debug)]
pub struct Report(Format);

/// All statistics in the given form: the counters of [`stats`](crate::stats()), of each size class,
/// and the options.
///
/// They are taken when the result is displayed, and then written in pieces, with no lock held: the
/// formatter may allocate.
///
/// ```
/// eprintln!("{}", hakmem::report(hakmem::Format::Text));
/// let json = hakmem::report(hakmem::Format::Json).to_string();
/// assert!(json.starts_with('{'));
/// ```
pub fn report(format: Format) -> Report {
    Report(format)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.0 {
            Format::Text => sys::HAK_REPORT_TEXT,
            Format::Json => sys::HAK_REPORT_JSON,
        };
        let mut sink = Sink {
            formatter,
            result: Ok(()),
        };
        // SAFETY: `write` takes a pointer to a Sink, and the sink outlives the call. The statistics
        // are collected before the first piece and no lock is held from then on, so a formatter
        // that allocates does no harm.
        unsafe { sys::hak_report(format, Some(write), (&raw mut sink).cast()) };
        sink.result
    }
}

struct Sink<'a, 'b> {
    formatter: &'a mut fmt::Formatter<'b>,
    result: fmt::Result,
}

/// Adds a piece; after the first failure all others are dropped. A panic of the formatter ends the
/// process here: it cannot unwind through C.
unsafe extern "C" fn write(sink: *mut c_void, text: *const c_char, bytes: usize) {
    // SAFETY: `fmt` above passes its sink, which nothing else uses during the call.
    let sink = unsafe { &mut *sink.cast::<Sink<'_, '_>>() };
    // SAFETY: hak_report passes that many bytes, for the time of this call.
    let text = unsafe { slice::from_raw_parts(text.cast(), bytes) };
    sink.result = sink.result.and_then(|()| {
        let text = str::from_utf8(text).map_err(|_| fmt::Error)?;
        sink.formatter.write_str(text)
    });
}
