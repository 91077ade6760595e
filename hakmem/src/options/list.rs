//! Options by name, for programs that read them from a configuration file or show them.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::{CStr, c_char, c_uint};
use core::fmt::{self, Write as _};
use core::iter::FusedIterator;
use core::mem::MaybeUninit;

use super::text::{Buffer, Text};
use super::{Error, outcome};
use crate::sys;

/// An option and its current value. [`all`] returns one for each option.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The name, as in [`set`] and in [`conf!`](crate::conf!).
    pub name: &'static str,
    /// The current value.
    pub value: Text,
    /// The value that the option has if nothing sets it.
    pub default: Text,
    /// The values that can be set.
    pub values: Values,
    /// The meaning, in one line.
    pub description: &'static str,
    /// Whether the option is read only when the program starts. [`set`] then returns
    /// [`Error::AtStart`].
    pub at_start: bool,
}

/// The values that an option can be set to.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// A decimal number. Its unit is the end of the option's name, such as `_kb` for KiB.
    Number {
        /// The smallest number.
        least: u64,
        /// The largest number.
        most: u64,
    },
    /// A number of bytes, with or without a unit (`209715200`, `200M`, `1.5GiB`), or a percentage
    /// of the cgroup's memory limit (`80%`).
    Size {
        /// The smallest number of bytes.
        least: u64,
        /// The largest number of bytes.
        most: u64,
    },
    /// One of several words.
    Choice(Choices),
}

/// Displays the values in the way of the documentation: `0 to 256`, `bytes`, `abort, continue`.
impl fmt::Display for Values {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { least, most } => write!(formatter, "{least} to {most}"),
            Self::Size { .. } => formatter.write_str("bytes"),
            Self::Choice(choices) => {
                for (index, choice) in choices.iter().enumerate() {
                    formatter.write_str(if index == 0 { "" } else { ", " })?;
                    formatter.write_str(choice)?;
                }
                Ok(())
            }
        }
    }
}

/// The words that an option can be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices(&'static str);

impl Choices {
    /// Returns the words.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.0.split('|')
    }
}

/// Returns all options with their current values, in the order of the table in [this
/// module](crate::options).
///
/// The iterator is empty where the system allocator replaces hakmem.
///
/// # Examples
///
/// ```
/// for option in hakmem::options::all() {
///     println!("{}={} ({})", option.name, option.value, option.values);
/// }
/// ```
pub fn all() -> impl FusedIterator<Item = Info> {
    (0..=c_uint::MAX).map_while(info).fuse()
}

/// Returns the value of the option `name`.
///
/// # Errors
///
/// [`Error::Unknown`] if there is no option of this name. Where the system allocator replaces
/// hakmem, there are no options.
///
/// # Examples
///
/// ```
/// use hakmem::options::{self, Error};
///
/// assert_eq!(options::get("on_error")?, "abort");
/// assert_eq!(options::get("no_such_option"), Err(Error::Unknown));
/// # Ok::<(), Error>(())
/// ```
pub fn get(name: &str) -> Result<Text, Error> {
    let name = Buffer::new(name).ok_or(Error::Unknown)?;
    // SAFETY: the name is a C string.
    unsafe { value(name.as_ptr()) }
}

/// Sets the option `name` to `value`, both in the form that [`conf!`](crate::conf!) and the
/// environment have.
///
/// Numbers have the unit that is in the name: `thread_cache_kb` takes KiB. The constants of [this
/// module](crate::options) take bytes and durations instead.
///
/// # Errors
///
/// The old value stays in each of these cases:
///
/// - [`Error::Unknown`] if there is no option of this name. Where the system allocator replaces
///   hakmem, there are no options.
/// - [`Error::Invalid`] if the value does not parse, or is out of range.
/// - [`Error::AtStart`] if the option is read only when the program starts.
///
/// # Examples
///
/// ```
/// use hakmem::options::{self, Error};
///
/// options::set("purge_delay_ms", "500")?;
/// options::set("limit_soft", "1.5G")?;
/// assert_eq!(options::set("purge_delay", "500"), Err(Error::Unknown));
/// assert_eq!(options::set("purge_delay_ms", "soon"), Err(Error::Invalid));
/// assert_eq!(options::set("heaps", "2"), Err(Error::AtStart));
/// # Ok::<(), Error>(())
/// ```
pub fn set(name: &str, value: &str) -> Result<(), Error> {
    let name = Buffer::new(name).ok_or(Error::Unknown)?;
    let value = Buffer::new(value).ok_or(Error::Invalid)?;
    // SAFETY: both texts are C strings.
    outcome(unsafe { sys::hak_option_set(name.as_ptr(), value.as_ptr()) })
}

/// Returns the value of an option.
///
/// # Safety
///
/// `name` must be a valid C string.
pub(super) unsafe fn value(name: *const c_char) -> Result<Text, Error> {
    let mut value = Buffer::EMPTY;
    // SAFETY: the caller's promise, and the buffer has room for `bytes` bytes.
    let status = value.fill(|text, bytes| unsafe { sys::hak_option_get(name, text, bytes) });
    outcome(status)?;
    Ok(Text(value))
}

fn info(index: c_uint) -> Option<Info> {
    let mut row = MaybeUninit::<sys::hak_option_info>::zeroed();
    // SAFETY: `row` is a local variable of the given size.
    let status = unsafe { sys::hak_option_info(index, row.as_mut_ptr(), size_of_val(&row)) };
    if status != 0 {
        return None;
    }
    // SAFETY: the C function has filled the row.
    let row = unsafe { row.assume_init() };

    let (least, most) = (row.least, row.most);
    let values = if row.is_size != 0 {
        Values::Size { least, most }
    } else if row.choices.is_null() {
        Values::Number { least, most }
    } else {
        // SAFETY: the strings of a row are static.
        Values::Choice(Choices(unsafe { text(row.choices) }))
    };

    Some(Info {
        // SAFETY: the name is a C string.
        value: unsafe { value(row.name) }.ok()?,
        // SAFETY: the strings of a row are static.
        name: unsafe { text(row.name) },
        default: default(values, row.default_value)?,
        values,
        // SAFETY: the strings of a row are static.
        description: unsafe { text(row.help) },
        at_start: row.at_start != 0,
    })
}

/// Returns the default as text. In C, it is a number or the position of a choice.
fn default(values: Values, number: u64) -> Option<Text> {
    let mut text = Buffer::EMPTY;
    match values {
        Values::Choice(choices) => {
            let position = usize::try_from(number).ok()?;
            text.write_str(choices.iter().nth(position)?).ok()?;
        }
        _ => write!(text, "{number}").ok()?,
    }
    Some(Text(text))
}

/// # Safety
///
/// `text` must be a static C string.
unsafe fn text(text: *const c_char) -> &'static str {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default()
}
