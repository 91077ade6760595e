//! A callback for usage that comes close to a limit, so that a service sheds load before
//! allocations fail or the kernel ends it.
//!
//! There are two limits: the lower one of the options [`LIMIT_SOFT`] and [`LIMIT_HARD`], for the
//! bytes that hakmem uses, and that of the control group (container), for all memory in it. The one
//! that is closest to being reached counts. Free memory that hakmem would give back does not count
//! as used.
//!
//! Where the system allocator replaces hakmem, there is no limit and no call.
//!
//! [`LIMIT_SOFT`]: crate::options::LIMIT_SOFT
//! [`LIMIT_HARD`]: crate::options::LIMIT_HARD
//!
//! # Examples
//!
//! The callback sets a flag. The service looks at it, and accepts requests again when usage has
//! fallen:
//!
//! ```
//! use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
//!
//! use hakmem::limit;
//!
//! #[global_allocator]
//! static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
//!
//! static OVERLOADED: AtomicBool = AtomicBool::new(false);
//!
//! fn accepts_requests() -> bool {
//!     if OVERLOADED.load(Relaxed) && limit::closest().is_none_or(|limit| limit.percent < 75) {
//!         OVERLOADED.store(false, Relaxed);
//!     }
//!     !OVERLOADED.load(Relaxed)
//! }
//!
//! fn main() {
//!     limit::on_level(|limit| {
//!         if limit.level >= 90 {
//!             OVERLOADED.store(true, Relaxed);
//!         }
//!     });
//!     assert!(accepts_requests());
//! }
//! ```
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::c_void;
use core::mem;
use core::ptr;

use crate::sys;

/// The kind of a limit.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The lower one of the options `limit_soft` and `limit_hard`.
    Option,
    /// The limit of the fullest control group, of the process's one and those above it.
    Cgroup,
}

/// A limit, and its use.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Used bytes: of hakmem's memory, or of all memory of the control group.
    pub used: u64,
    /// The limit in bytes.
    pub limit: u64,
    /// Used per cent of the limit. May exceed 100.
    pub percent: u32,
    /// The highest level that was reached: 80, 90 or 100, or 0.
    pub level: u32,
    /// The kind of the limit.
    pub kind: Kind,
}

impl Limit {
    fn new(limit: &sys::hak_limit) -> Option<Self> {
        let kind = match limit.kind {
            sys::HAK_LIMIT_NONE => return None,
            sys::HAK_LIMIT_OPTION => Kind::Option,
            _ => Kind::Cgroup,
        };
        Some(Self {
            used: limit.used,
            limit: limit.limit,
            percent: limit.percent,
            level: limit.level,
            kind,
        })
    }
}

/// Returns the limit that is closest to being reached, with its current use, or `None` if there is
/// no limit. This reads some files of the system.
#[must_use]
pub fn closest() -> Option<Limit> {
    let mut limit = sys::hak_limit {
        used: 0,
        limit: 0,
        percent: 0,
        level: 0,
        kind: sys::HAK_LIMIT_NONE,
    };
    let bytes = size_of_val(&limit);
    // SAFETY: `limit` has that many bytes.
    unsafe { sys::hak_limit(&raw mut limit, bytes) };
    Limit::new(&limit)
}

/// Calls `callback` when usage reaches 80, 90 or 100 % of a limit: once for each time that usage
/// rises to a level, and again for that level after usage has fallen 5 % below it. A rise over
/// several levels is one call. It replaces an earlier callback.
///
/// The call comes from inside an allocation, in the thread that allocates. hakmem holds no lock,
/// and the callback may allocate and free. The program may hold any lock at that point, so the
/// callback should only try locks, and for instance set a flag or wake another thread. It is not
/// called again before it returns, in any thread.
///
/// An allocation that `limit_hard` would refuse counts as 100 %, and is tried again after the call.
///
/// # Aborts
///
/// The process aborts if the callback panics, because a panic cannot leave an allocation.
pub fn on_level(callback: fn(Limit)) {
    // SAFETY: `call` may be called in any thread with a function of this type, and it does not
    // unwind.
    unsafe { sys::hak_on_limit(Some(call), callback as *mut c_void) }
}

/// Removes the callback. A call that another thread has begun may still run.
pub fn off() {
    // SAFETY: no function is called from now on.
    unsafe { sys::hak_on_limit(None, ptr::null_mut()) }
}

unsafe extern "C" fn call(callback: *mut c_void, limit: *const sys::hak_limit) {
    // SAFETY: `on_level` passes a function of this type.
    let callback = unsafe { mem::transmute::<*mut c_void, fn(Limit)>(callback) };
    // SAFETY: hak_on_limit passes a state that is valid during this call.
    if let Some(limit) = Limit::new(unsafe { &*limit }) {
        callback(limit);
    }
}
