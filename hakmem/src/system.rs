//! The C interface on top of the system allocator, for targets that hakmem does not run on. Miri
//! needs it because it cannot run C code. Builds with `--cfg hakmem_system` use it for tools such
//! as AddressSanitizer, which cannot observe the blocks of another allocator. Nothing is counted,
//! and there are no options.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::alloc::{GlobalAlloc as _, Layout};
use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr;
use std::alloc::System;

pub(crate) use hakmem_sys::{
    HAK_HEAP_NAME_BYTES, HAK_HEAP_PURGE_DELAYED, HAK_HEAP_PURGE_NEVER, HAK_LIMIT_NONE,
    HAK_LIMIT_OPTION, HAK_PREWARM_ADAPTIVE, HAK_PREWARM_ALL, HAK_PREWARM_OFF, HAK_PREWARM_POOL,
    HAK_PREWARM_TINY, HAK_PROFILE_COLLAPSED, HAK_PROFILE_PPROF, HAK_PROFILE_TEXT, HAK_REPORT_JSON,
    HAK_REPORT_PROMETHEUS, HAK_REPORT_PROMETHEUS_CLASSES, HAK_REPORT_TEXT, HAK_VERSION_STRING,
    hak_heap, hak_heap_options, hak_prewarm_set, hak_profile_format, hak_report_format,
};

// We use aliases because an import would also import the functions of the same names.
#[expect(non_camel_case_types, reason = "the name in the C interface")]
pub(crate) type hak_stats = hakmem_sys::hak_stats;
#[expect(non_camel_case_types, reason = "the name in the C interface")]
pub(crate) type hak_class_stats = hakmem_sys::hak_class_stats;
#[expect(non_camel_case_types, reason = "the name in the C interface")]
pub(crate) type hak_option_info = hakmem_sys::hak_option_info;

#[expect(non_camel_case_types, reason = "the name in the C interface")]
pub(crate) type hak_thread_counters = hakmem_sys::hak_thread_counters;

#[expect(non_camel_case_types, reason = "the name in the C interface")]
pub(crate) type hak_limit = hakmem_sys::hak_limit;

#[expect(non_camel_case_types, reason = "the name in the C interface")]
pub(crate) type hak_profile_options = hakmem_sys::hak_profile_options;
#[expect(non_camel_case_types, reason = "the name in the C interface")]
pub(crate) type hak_heap_stats = hakmem_sys::hak_heap_stats;

// As on Linux, also on other systems.
const ENOENT: c_int = 2;
const ENOSYS: c_int = 38;

/// # Safety
///
/// As for [`Layout::from_size_align_unchecked`].
unsafe fn layout(size: usize, align: usize) -> Layout {
    // SAFETY: the caller's promise.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

/// # Safety
///
/// `size` and `align` must form a valid layout, and `size` must not be 0.
pub(crate) unsafe fn hak_alloc(size: usize, align: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    let layout = unsafe { layout(size, align) };
    // SAFETY: the caller's promise.
    unsafe { System.alloc(layout) }.cast()
}

/// # Safety
///
/// As for [`hak_alloc`].
pub(crate) unsafe fn hak_alloc_zeroed(size: usize, align: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    let layout = unsafe { layout(size, align) };
    // SAFETY: the caller's promise.
    unsafe { System.alloc_zeroed(layout) }.cast()
}

/// # Safety
///
/// `block` must have been allocated with `size` and `align`. `new_size` and `align` must form a
/// valid layout, and `new_size` must not be 0.
pub(crate) unsafe fn hak_realloc_layout(
    block: *mut c_void,
    size: usize,
    align: usize,
    new_size: usize,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let layout = unsafe { layout(size, align) };
    // SAFETY: the caller's promise.
    unsafe { System.realloc(block.cast(), layout, new_size) }.cast()
}

/// # Safety
///
/// `block` must have been allocated with `size` and `align`, and must not be used any more.
pub(crate) unsafe fn hak_dealloc(block: *mut c_void, size: usize, align: usize) {
    // SAFETY: the caller's promise.
    let layout = unsafe { layout(size, align) };
    // SAFETY: the caller's promise.
    unsafe { System.dealloc(block.cast(), layout) }
}

/// # Safety
///
/// There are no requirements, because the block is not accessed.
pub(crate) unsafe fn hak_usable_size(_block: *const c_void) -> usize {
    0
}

pub(crate) fn hak_prewarm(_set: hak_prewarm_set) -> usize {
    0
}

pub(crate) fn hak_trim() -> usize {
    0
}

/// # Safety
///
/// There are no requirements, because nothing is read.
pub(crate) unsafe fn hak_option_set(_name: *const c_char, _value: *const c_char) -> c_int {
    ENOENT
}

/// # Safety
///
/// There are no requirements, because nothing is read or written.
pub(crate) unsafe fn hak_option_get(
    _name: *const c_char,
    _value: *mut c_char,
    _value_bytes: usize,
) -> c_int {
    ENOENT
}

/// # Safety
///
/// There are no requirements, because there are no options and nothing is written.
pub(crate) unsafe fn hak_option_info(
    _index: c_uint,
    _info: *mut hak_option_info,
    _info_bytes: usize,
) -> c_int {
    ENOENT
}

/// # Safety
///
/// There are no requirements, because nothing is written. The caller's struct keeps its values.
pub(crate) unsafe fn hak_stats(_stats: *mut hak_stats, _stats_bytes: usize) {}

/// # Safety
///
/// There are no requirements, because there are no classes and nothing is written.
pub(crate) unsafe fn hak_class_stats_all(
    _stats: *mut hak_class_stats,
    _stats_bytes: usize,
    _count: usize,
) -> usize {
    0
}

/// # Safety
///
/// Calling `write` with `arg` must be sound.
pub(crate) unsafe fn hak_report(
    format: hak_report_format,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize)>,
    arg: *mut c_void,
) {
    let text = match format {
        HAK_REPORT_JSON => "{}\n",
        HAK_REPORT_PROMETHEUS | HAK_REPORT_PROMETHEUS_CLASSES => "",
        _ => "hakmem: the system's allocator is used\n",
    };
    if let Some(write) = write {
        // SAFETY: the caller's promise, and the text has `text.len()` bytes.
        unsafe { write(arg, text.as_ptr().cast(), text.len()) }
    }
}

pub(crate) fn hak_thread_count_start() {}

pub(crate) fn hak_thread_count_stop() {}

/// # Safety
///
/// There are no requirements, because nothing is written. The caller's struct keeps its values.
pub(crate) unsafe fn hak_thread_counters(
    _counters: *mut hak_thread_counters,
    _counters_bytes: usize,
) -> c_int {
    0
}

/// # Safety
///
/// There are no requirements, because nothing is called.
pub(crate) unsafe fn hak_on_limit(
    _callback: Option<unsafe extern "C" fn(*mut c_void, *const hak_limit)>,
    _arg: *mut c_void,
) {
}

/// # Safety
///
/// There are no requirements, because nothing is written. The caller's struct keeps its values.
pub(crate) unsafe fn hak_limit(_limit: *mut hak_limit, _limit_bytes: usize) {}

/// # Safety
///
/// There are no requirements, because nothing is read.
pub(crate) unsafe fn hak_profile_start(
    _options: *const hak_profile_options,
    _options_bytes: usize,
) -> c_int {
    ENOSYS
}

pub(crate) fn hak_profile_stop() {}

pub(crate) fn hak_guard_start(_rate: u64, _slots: c_uint) -> c_int {
    ENOSYS
}

pub(crate) fn hak_guard_stop() {}

pub(crate) fn hak_guard_is_running() -> c_int {
    0
}

pub(crate) fn hak_profile_is_running() -> c_int {
    0
}

/// # Safety
///
/// There are no requirements, because nothing is written.
pub(crate) unsafe fn hak_profile_write(
    _format: hak_profile_format,
    _write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize)>,
    _arg: *mut c_void,
) -> c_int {
    ENOSYS
}

/// Creates no heap, so there is no valid argument for the functions that follow.
///
/// # Safety
///
/// There are no requirements, because nothing is read.
pub(crate) unsafe fn hak_heap_new(
    _options: *const hak_heap_options,
    _options_bytes: usize,
) -> *mut hak_heap {
    ptr::null_mut()
}

/// # Safety
///
/// As for the C function.
pub(crate) unsafe fn hak_heap_destroy(_heap: *mut hak_heap) {}

/// # Safety
///
/// As for the C function.
pub(crate) unsafe fn hak_heap_merge(_heap: *mut hak_heap) {}

/// # Safety
///
/// As for the C function.
pub(crate) unsafe fn hak_heap_calloc(
    _heap: *mut hak_heap,
    _count: usize,
    _size: usize,
) -> *mut c_void {
    ptr::null_mut()
}

/// # Safety
///
/// As for the C function.
pub(crate) unsafe fn hak_heap_aligned_alloc(
    _heap: *mut hak_heap,
    _alignment: usize,
    _size: usize,
) -> *mut c_void {
    ptr::null_mut()
}

/// # Safety
///
/// As for the C function.
pub(crate) unsafe fn hak_heap_set_default(_heap: *mut hak_heap) -> *mut hak_heap {
    ptr::null_mut()
}

/// # Safety
///
/// As for the C function.
pub(crate) unsafe fn hak_heap_stats(
    _heap: *mut hak_heap,
    _stats: *mut hak_heap_stats,
    _stats_bytes: usize,
) {
}

pub(crate) fn hak_validate() -> usize {
    0
}

pub(crate) fn hak_version() -> *const c_char {
    HAK_VERSION_STRING.as_ptr()
}
