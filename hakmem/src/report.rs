//! Reports all statistics as text, as JSON, or for Prometheus.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::{c_char, c_void};
use core::fmt;
use core::{slice, str};

use crate::sys;

/// The format of a [`report`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Human-readable text.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// The text format of Prometheus, version 0.0.4. An answer over HTTP has the content type
    /// `text/plain; version=0.0.4`.
    Prometheus,
    /// As `Prometheus`, with series for each size class in use. A program that uses all classes
    /// gets about 1000 series.
    PrometheusClasses,
}

/// A report of all statistics, which are collected when it is displayed. [`report`] creates it.
#[derive(Clone, Copy, Debug)]
pub struct Report(Format);

/// Returns a report of all statistics: the counters of [`stats`](crate::stats()) and of each size
/// class, and the options. The formats of Prometheus have no options, and the first of them has no
/// size classes.
///
/// The statistics are collected each time the result is displayed, and then written in pieces. No
/// lock is held while they are written, so the formatter may allocate.
///
/// # Examples
///
/// ```
/// eprintln!("{}", hakmem::report(hakmem::Format::Text));
/// let json = hakmem::report(hakmem::Format::Json).to_string();
/// assert!(json.starts_with('{'));
/// let metrics = hakmem::report(hakmem::Format::Prometheus).to_string();
/// ```
pub fn report(format: Format) -> Report {
    Report(format)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.0 {
            Format::Text => sys::HAK_REPORT_TEXT,
            Format::Json => sys::HAK_REPORT_JSON,
            Format::Prometheus => sys::HAK_REPORT_PROMETHEUS,
            Format::PrometheusClasses => sys::HAK_REPORT_PROMETHEUS_CLASSES,
        };
        let mut sink = Sink {
            formatter,
            result: Ok(()),
        };
        // SAFETY: `write` takes a pointer to a Sink, and the sink outlives the call. The statistics
        // are collected before the first piece is written, and no lock is held after that, so the
        // formatter may allocate.
        unsafe { sys::hak_report(format, Some(write), (&raw mut sink).cast()) };
        sink.result
    }
}

struct Sink<'a, 'b> {
    formatter: &'a mut fmt::Formatter<'b>,
    result: fmt::Result,
}

/// Writes a piece to the formatter. After the first failure, all further pieces are dropped. If the
/// formatter panics, the process aborts here, because a panic cannot unwind through C.
unsafe extern "C" fn write(sink: *mut c_void, text: *const c_char, bytes: usize) {
    // SAFETY: `fmt` above passes its own sink, and nothing else uses it during the call.
    let sink = unsafe { &mut *sink.cast::<Sink<'_, '_>>() };
    // SAFETY: hak_report passes `bytes` bytes at `text`, which are valid during this call.
    let text = unsafe { slice::from_raw_parts(text.cast(), bytes) };
    sink.result = sink.result.and_then(|()| {
        let text = str::from_utf8(text).map_err(|_| fmt::Error)?;
        sink.formatter.write_str(text)
    });
}
