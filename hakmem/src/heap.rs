//! Private heaps, which a program creates, allocates from, and drops as a whole.
//!
//! A [`Heap`] holds the blocks of one request, document, connection or plugin. It frees all of them
//! at once, and can have a limit. There are two ways to allocate from it:
//!
//! | way | blocks | at the limit |
//! |---|---|---|
//! | a collection with the allocator `&Heap` (feature `allocator-api2` or `nightly`) | cannot outlive the heap | an `AllocError` |
//! | [`Heap::scope`], which redirects the global allocator | may outlive the heap | as when memory is exhausted |
//!
//! Where the system allocator replaces hakmem, [`Heap::new`] fails with [`Error::Unsupported`].
//!
//! # Examples
//!
//! ```
//! use hakmem::Heap;
//! use hakmem::heap::{Error, Options};
//!
//! #[global_allocator]
//! static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
//!
//! fn main() -> Result<(), Error> {
//!     let heap = Heap::with(Options::default().name("request"))?;
//!     let words = heap.scope(|| vec!["existing", "code", "that", "allocates"].join(" "));
//!     assert_eq!(heap.stats().blocks_live, 1);
//!     drop(heap);
//!     assert_eq!(words, "existing code that allocates");
//!     Ok(())
//! }
//! ```
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_char, c_int, c_void};
use core::fmt;
use core::mem;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

pub use crate::stats::HeapStats as Stats;
use crate::sys;

/// The properties of a heap.
///
/// # Examples
///
/// ```
/// use hakmem::Heap;
/// use hakmem::heap::{Error, Options};
///
/// let heap = Heap::with(Options::default().name("plugin").limit(64 << 20))?;
/// assert_eq!(heap.stats().limit, 64 << 20);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "the options are for Heap::with"]
pub struct Options<'a> {
    name: &'a str,
    limit: u64,
    on_limit: Option<fn(usize) -> bool>,
    keeps_slabs: bool,
}

impl<'a> Options<'a> {
    /// Returns the options with a name for statistics. A heap has the first 31 bytes of it.
    pub const fn name(mut self, name: &'a str) -> Self {
        self.name = name;
        self
    }

    /// Returns the options with a limit for the bytes in live blocks. 0 means no limit, which is
    /// the default.
    ///
    /// Blocks count with their usable sizes. The limit is exact if only one thread allocates from
    /// the heap. Otherwise free blocks in the cache of the first of them may count, too.
    pub const fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Returns the options with a function for allocations that would exceed the limit. It gets the
    /// size of the allocation in bytes. If it returns true, the allocation is tried once more.
    ///
    /// The thread that allocates calls the function. It may free blocks of the heap. It may also
    /// allocate, and is not called again for its own allocations. Locks that the program holds
    /// during the allocation are still held. If the function panics, the process aborts.
    pub const fn on_limit(mut self, on_limit: fn(usize) -> bool) -> Self {
        self.on_limit = Some(on_limit);
        self
    }

    /// Returns the options with another treatment of the memory of blocks that are freed singly. If
    /// `keep` is true, the heap keeps all of it until its end. Otherwise, which is the default, the
    /// heap keeps one slab that is entirely free. Other heaps may use the rest, which goes back to
    /// the operating system after [`PURGE_DELAY`](crate::options::PURGE_DELAY).
    pub const fn keep_slabs(mut self, keep: bool) -> Self {
        self.keeps_slabs = keep;
        self
    }
}

/// The reason why a heap could not be created.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// Memory is exhausted.
    OutOfMemory,
    /// The system allocator replaces hakmem, see [the overview](crate).
    Unsupported,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OutOfMemory => "no memory for a private heap",
            Self::Unsupported => "private heaps need hakmem as the allocator",
        })
    }
}

impl core::error::Error for Error {}

/// A private heap. See [the module](self).
///
/// Any number of threads may allocate from it, and free each other's blocks. A heap has 4 KiB of
/// metadata, and at least 64 KiB of address space for each size class in use.
///
/// # The end of a heap
///
/// | | blocks of `&Heap` | blocks of a [`scope`](Self::scope) |
/// |---|---|---|
/// | the value is dropped | are freed, all at once | stay valid |
/// | [`merge`](Self::merge) | stay valid | stay valid |
/// | [`destroy`](Self::destroy), which is unsafe | are freed, all at once | are freed, all at once |
///
/// Blocks that stay valid belong to the global allocator from then on. A heap that was used with
/// `scope` keeps all of its blocks when it is dropped, because its blocks may be anywhere: in
/// statics, in channels, and in caches of libraries.
///
/// No destructors run for blocks that are freed at once. The borrow checker ensures that no value
/// with the allocator `&Heap` is left, except for those that were forgotten.
pub struct Heap {
    heap: NonNull<sys::hak_heap>,
    /// A scope may have left blocks in the heap that no borrow shows. No order is needed: the only
    /// reader owns the heap, so all scopes have ended before.
    scoped: AtomicBool,
}

// SAFETY: the C functions for a heap may be called from any thread. Those that end it need
// exclusive access, and take the value or a mutable reference.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Heap {
    /// Creates a heap without a limit.
    ///
    /// # Errors
    ///
    /// - [`Error::OutOfMemory`] if memory is exhausted,
    /// - [`Error::Unsupported`] where the system allocator replaces hakmem.
    pub fn new() -> Result<Self, Error> {
        Self::with(Options::default())
    }

    /// Creates a heap with these options.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with(options: Options<'_>) -> Result<Self, Error> {
        let name = c_name(options.name);
        let options = sys::hak_heap_options {
            name: name.as_ptr(),
            limit: options.limit,
            on_limit: options.on_limit.map(|_| call_on_limit as _),
            on_limit_arg: options
                .on_limit
                .map_or(ptr::null_mut(), |function| function as *mut c_void),
            purge: if options.keeps_slabs {
                sys::HAK_HEAP_PURGE_NEVER
            } else {
                sys::HAK_HEAP_PURGE_DELAYED
            },
        };
        // SAFETY: the struct is valid for reads of its size, and the name ends with a NUL.
        // `call_on_limit` gets the function that it expects. Functions are never freed, and a panic
        // ends in `call_on_limit`.
        let heap = unsafe { sys::hak_heap_new(&raw const options, size_of_val(&options)) };
        let heap = NonNull::new(heap).ok_or(if cfg!(hakmem_system) {
            Error::Unsupported
        } else {
            Error::OutOfMemory
        })?;
        let scoped = AtomicBool::new(false);
        Ok(Self { heap, scoped })
    }

    /// Calls `run`, and meanwhile serves all allocations of the calling thread from this heap:
    /// those through [`Hakmem`](crate::Hakmem), and with the feature `override` also those of C
    /// code. Other threads are not affected. After the call, or a panic in it, the thread allocates
    /// as before. Scopes can be nested.
    ///
    /// Blocks may outlive the scope and the heap. Dropping the heap does not free them then, but
    /// gives them to the global allocator, at a cost for each 64 KiB. A block that is resized after
    /// the scope stays in the heap.
    ///
    /// An allocation that the limit refuses fails as if memory were exhausted. Most code then
    /// aborts the process, except for functions such as `Vec::try_reserve`. So a limit fits the
    /// allocator `&Heap` better. All calls of a thread in a scope take a slower path.
    ///
    /// # Examples
    ///
    /// ```
    /// #[global_allocator]
    /// static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
    ///
    /// fn main() -> Result<(), hakmem::heap::Error> {
    ///     let heap = hakmem::Heap::new()?;
    ///     let text = heap.scope(|| 12345.to_string());
    ///     assert_eq!(heap.stats().blocks_live, 1);
    ///     let outside = 12345.to_string();
    ///     assert_eq!(heap.stats().blocks_live, 1);
    ///
    ///     drop(heap); // the string stays
    ///     assert_eq!(text, outside);
    ///     Ok(())
    /// }
    /// ```
    pub fn scope<R>(&self, run: impl FnOnce() -> R) -> R {
        /// Restores the default heap of the thread.
        struct Former(*mut sys::hak_heap);

        impl Drop for Former {
            fn drop(&mut self) {
                // SAFETY: the former default heap is borrowed by the scope around this one, or the
                // program set it by the C function and keeps it.
                unsafe { sys::hak_heap_set_default(self.0) };
            }
        }

        // relaxed: see the field
        self.scoped.store(true, Ordering::Relaxed);
        // SAFETY: the heap is borrowed until this function returns.
        let _former = Former(unsafe { sys::hak_heap_set_default(self.heap.as_ptr()) });
        run()
    }

    /// Returns the counters of the heap. Takes time for each 64 KiB of the heap.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = sys::hak_heap_stats::default();
        let bytes = size_of_val(&stats);
        // SAFETY: the heap exists, and `stats` is a local variable of the given size.
        unsafe { sys::hak_heap_stats(self.heap.as_ptr(), &mut stats, bytes) };
        stats.into()
    }

    /// Ends the heap and gives all of its blocks to the global allocator, also those that were
    /// allocated through `&Heap` and forgotten.
    pub fn merge(mut self) {
        *self.scoped.get_mut() = true;
    }

    /// Ends the heap and frees all of its blocks at once, also those of a [`scope`](Self::scope).
    /// No destructor runs.
    ///
    /// # Safety
    ///
    /// No block that was allocated in a scope of this heap may be used any more, by any thread.
    /// Such blocks include the payload of a panic, and everything that libraries allocated and
    /// kept, for instance in thread-local values, in caches, and for threads that were started in
    /// the scope.
    ///
    /// # Examples
    ///
    /// ```
    /// let heap = hakmem::Heap::new()?;
    /// let primes = heap.scope(|| {
    ///     let sieve: Vec<_> = (2..1000).filter(|n| (2..*n).all(|m| n % m != 0)).collect();
    ///     sieve.len()
    /// });
    /// assert_eq!(primes, 168);
    /// // SAFETY: the only block of the scope was the vector.
    /// unsafe { heap.destroy() };
    /// # Ok::<(), hakmem::heap::Error>(())
    /// ```
    pub unsafe fn destroy(mut self) {
        *self.scoped.get_mut() = false;
    }

    /// Returns the `struct hak_heap *` of the C interface, for C code that allocates from the heap.
    /// It is valid until the heap is dropped. C code must not end the heap.
    ///
    /// If C code makes it the default heap of a thread, call [`merge`](Self::merge) unless all
    /// blocks are known to be unused at the end.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut c_void {
        self.heap.as_ptr().cast()
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        let heap = self.heap.as_ptr();
        if *self.scoped.get_mut() {
            // SAFETY: no thread allocates from the heap, because nothing borrows it. Other threads
            // may free and resize blocks of its scopes meanwhile, and `on_limit` is never freed.
            unsafe { sys::hak_heap_merge(heap) }
        } else {
            // SAFETY: nothing borrows the heap, so the blocks of `&Heap` are not used any more.
            // There are no others, or the caller of `destroy` promises that they are not used
            // either.
            unsafe { sys::hak_heap_destroy(heap) }
        }
    }
}

impl fmt::Debug for Heap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        formatter.debug_tuple("Heap").field(&stats).finish()
    }
}

/// The alignment of the smallest blocks of a heap.
const ALIGN_MIN: usize = 16;

/// Returns the alignment with which the C functions know a block of this layout.
fn align(layout: Layout) -> usize {
    layout.align().max(ALIGN_MIN)
}

// SAFETY: blocks fit their layout and do not overlap, failure returns null and leaves the old block
// intact, and nothing unwinds. Each function passes the same alignment for the same layout.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let heap = self.heap.as_ptr();
        // SAFETY: the heap exists.
        unsafe { sys::hak_heap_aligned_alloc(heap, align(layout), layout.size()) }.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGN_MIN {
            // SAFETY: the heap exists.
            return unsafe { sys::hak_heap_calloc(self.heap.as_ptr(), 1, layout.size()) }.cast();
        }
        // SAFETY: the caller's promise.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: the block has this size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller allocated `block` with `layout`, and does not use it any more.
        unsafe { sys::hak_dealloc(block.cast(), layout.size(), align(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (size, align) = (layout.size(), align(layout));
        // SAFETY: the caller allocated `block` with `layout`, and does not use it after success.
        // The block stays in its heap.
        unsafe { sys::hak_realloc_layout(block.cast(), size, align, new_size) }.cast()
    }
}

/// Returns the beginning of a name, without an incomplete character, with a NUL at the end.
fn c_name(name: &str) -> [c_char; sys::HAK_HEAP_NAME_BYTES] {
    let mut c = [0; sys::HAK_HEAP_NAME_BYTES];
    let mut length = name.len().min(c.len() - 1);
    while !name.is_char_boundary(length) {
        length -= 1;
    }
    for (to, from) in c.iter_mut().zip(name[..length].bytes()) {
        *to = from as c_char;
    }
    c
}

/// Calls the function of the program. If it panics, the process aborts here, because a panic cannot
/// unwind through C.
unsafe extern "C" fn call_on_limit(
    function: *mut c_void,
    _heap: *mut sys::hak_heap,
    bytes: usize,
) -> c_int {
    // SAFETY: `Heap::with` passes a function of this type.
    let on_limit = unsafe { mem::transmute::<*mut c_void, fn(usize) -> bool>(function) };
    on_limit(bytes).into()
}

#[cfg(test)]
mod tests {
    use core::ffi::CStr;

    use super::*;

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        for (name, expected) in [
            ("", ""),
            ("request", "request"),
            (
                "0123456789012345678901234567890123",
                "0123456789012345678901234567890",
            ),
            (
                "012345678901234567890123456789\u{e4}",
                "012345678901234567890123456789",
            ),
        ] {
            let c = c_name(name);
            // SAFETY: the name ends with a NUL.
            let c = unsafe { CStr::from_ptr(c.as_ptr()) };
            assert_eq!(c.to_str(), Ok(expected));
        }
    }
}
