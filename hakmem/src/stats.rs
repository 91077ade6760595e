//! Counters, as plain numbers.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::c_uint;
use core::iter::FusedIterator;

use crate::sys;

/// Defines a public struct with the fields of a C struct; a field left out does not compile.
macro_rules! snapshot {
    (
        $(#[$attribute:meta])* $name:ident of $c:ident;
        $($(#[$doc:meta])* $field:ident,)*
    ) => {
        $(#[$attribute])*
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl From<sys::$c> for $name {
            fn from(c: sys::$c) -> Self {
                let sys::$c { $($field),* } = c;
                Self { $($field),* }
            }
        }
    };
}

snapshot! {
    /// What the allocator holds and has done: bytes are of now unless said otherwise, counts since
    /// the start of the process.
    ///
    /// A snapshot: other threads go on while it is taken, so that two fields may differ by what
    /// happened in between. Taking it costs the fast paths nothing; it is always compiled in.
    Stats of hak_stats;

    /// In blocks that the program holds.
    bytes_live,
    /// In free blocks in thread caches and inboxes.
    bytes_cached,
    /// In slabs: live, cached and free blocks.
    bytes_slabs,
    /// In blocks above the largest class; part of `bytes_live`.
    bytes_large,
    /// In freed large blocks kept for reuse.
    bytes_large_cached,
    /// Free, but not given back to the operating system yet.
    bytes_dirty,
    /// Address space held from the operating system, metadata included.
    bytes_mapped,
    /// The most that `bytes_mapped` ever was.
    bytes_mapped_peak,
    /// Address space of hakmem's own structures.
    bytes_metadata,
    /// Given back to the operating system by purging, since the start.
    bytes_purged,
    /// Threads that have a thread cache.
    threads,
    /// Heaps that exist.
    heaps,
    /// Times that a thread cache was filled from slabs.
    refills,
    /// Batches of blocks that went home from a thread cache.
    flushes,
    /// Batches of blocks put into an inbox of a heap.
    inbox_deliveries,
    /// Refills from slabs avoided, because the inbox had blocks.
    inbox_saves,
    /// Calls of mmap.
    map_calls,
    /// Calls of munmap.
    unmap_calls,
    /// Calls of mremap.
    remap_calls,
    /// Calls of madvise.
    purge_calls,
    /// Times that a thread slept for a lock.
    lock_waits,
    /// Uses of bad pointers that were reported.
    errors,
    /// That pages of memory may stand behind: what limits count.
    bytes_used,
    /// In chunks that ask for huge pages.
    bytes_huge,
    /// The option `limit_soft`, in bytes; 0 means none.
    limit_soft,
    /// The option `limit_hard`, in bytes; 0 means none.
    limit_hard,
    /// Times that the lock of a class of a heap was found taken.
    lock_busy_class,
    /// Times that the lock of a heap's memory was found taken.
    lock_busy_arena,
    /// Times that the lock of the memory of hakmem's own structures was found taken.
    lock_busy_meta,
    /// Times that any other lock was found taken.
    lock_busy_other,
}

snapshot! {
    /// One size class, with what is in use now. A snapshot, as [`Stats`].
    ClassStats of hak_class_stats;

    /// Size of a block.
    block_bytes,
    /// Size of a slab.
    slab_bytes,
    /// Slabs of this class.
    slabs,
    /// Blocks that the program holds.
    blocks_live,
    /// Blocks in thread caches and inboxes.
    blocks_cached,
    /// Free blocks in slabs.
    blocks_free,
    /// Times that a thread cache was filled from slabs.
    refills,
    /// Batches of blocks that went home from a thread cache.
    flushes,
    /// Batches of blocks put into an inbox of a heap.
    inbox_deliveries,
    /// Refills from slabs avoided, because the inbox had blocks.
    inbox_saves,
}

/// The allocator's counters.
///
/// ```
/// let stats = hakmem::stats();
/// println!("{} bytes in use, {} mapped", stats.bytes_live, stats.bytes_mapped);
/// ```
#[must_use]
pub fn stats() -> Stats {
    let mut stats = sys::hak_stats::default();
    // SAFETY: that many bytes may be written there.
    unsafe { sys::hak_stats(&mut stats, size_of_val(&stats)) };
    stats.into()
}

/// The counters of each size class: of rising sizes from 16 bytes on, and at the end that of 8 bytes.
///
/// ```
/// let fullest = hakmem::class_stats().max_by_key(|class| class.blocks_live * class.block_bytes);
/// println!("{fullest:?}");
/// ```
pub fn class_stats() -> impl FusedIterator<Item = ClassStats> {
    (1..=c_uint::MAX).map_while(one_class).fuse()
}

fn one_class(index: c_uint) -> Option<ClassStats> {
    let mut stats = sys::hak_class_stats::default();
    // SAFETY: that many bytes may be written there.
    let error = unsafe { sys::hak_class_stats(index, &mut stats, size_of_val(&stats)) };
    (error == 0).then(|| stats.into())
}
