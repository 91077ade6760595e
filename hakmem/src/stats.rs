//! The allocator's counters, as plain numbers. Sizes are in bytes.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::iter::FusedIterator;

use crate::sys;

/// Defines a public struct with the fields of a C struct. If a field is missing, the macro does not
/// compile.
macro_rules! snapshot {
    (
        $(#[$attribute:meta])* $name:ident of $c:ident $(without $other:ident)?;
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
                let sys::$c { $($field,)* $($other: _)? } = c;
                Self { $($field),* }
            }
        }

        /// Serializes a struct with one number for each field.
        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;

                let fields = [$(stringify!($field)),*].len();
                let mut state = serializer.serialize_struct(stringify!($name), fields)?;
                $(state.serialize_field(stringify!($field), &self.$field)?;)*
                state.end()
            }
        }
    };
}

snapshot! {
    /// Statistics of the allocator. Bytes are current values unless stated otherwise. Counts start
    /// with the process.
    ///
    /// This is a snapshot. Other threads continue while it is taken, so two fields may be from
    /// slightly different times. Statistics cost the fast paths nothing and are always available.
    /// Where the system allocator replaces hakmem, all fields are 0.
    Stats of hak_stats;

    /// Bytes in live blocks.
    bytes_live,
    /// Bytes in free blocks of thread caches and transfer caches.
    bytes_cached,
    /// Bytes in slabs, including free blocks.
    bytes_slabs,
    /// Bytes in live blocks above the largest size class. Part of `bytes_live`.
    bytes_large,
    /// Bytes in freed large blocks that are cached for reuse.
    bytes_large_cached,
    /// Free bytes that have not been returned to the operating system yet.
    bytes_dirty,
    /// Mapped address space in bytes, including metadata.
    bytes_mapped,
    /// Maximum of `bytes_mapped` so far.
    bytes_mapped_peak,
    /// Mapped address space of the allocator's metadata, in bytes.
    bytes_metadata,
    /// Bytes returned to the operating system by purge calls since the start of the process.
    bytes_purged,
    /// Threads that have a thread cache.
    threads,
    /// Heaps that exist.
    heaps,
    /// Refills of thread caches, from transfer caches or from slabs.
    refills,
    /// Batches flushed from thread caches, to transfer caches or to owner heaps.
    flushes,
    /// Batches flushed to transfer caches.
    transfer_puts,
    /// Transfer-cache hits: refills from transfer caches.
    transfer_takes,
    /// Calls of mmap.
    map_calls,
    /// Calls of munmap.
    unmap_calls,
    /// Calls of mremap.
    remap_calls,
    /// Calls of madvise, for purging and for huge pages.
    purge_calls,
    /// Times that a thread slept while it waited for a lock.
    lock_waits,
    /// Reports of bad pointers.
    errors,
    /// Bytes that may be resident. This value is compared with the limits.
    bytes_used,
    /// Bytes of chunk memory for which huge pages are requested.
    bytes_huge,
    /// The option `limit_soft`, in bytes; 0 means none.
    limit_soft,
    /// The option `limit_hard`, in bytes; 0 means none.
    limit_hard,
    /// Contended acquisitions of the lock of a heap's size class.
    lock_busy_class,
    /// Contended acquisitions of the lock of a heap's arena.
    lock_busy_arena,
    /// Contended acquisitions of the lock of the allocator's metadata.
    lock_busy_meta,
    /// Contended acquisitions of all other locks.
    lock_busy_other,
    /// Bytes in live blocks between guard pages. Part of `bytes_live`. See [`guard`](crate::guard).
    bytes_guarded,
    /// Private heaps that exist now. See [`heap`](crate::heap).
    heaps_private,
    /// Bytes in live blocks of private heaps. Part of `bytes_live`.
    bytes_private,
}

snapshot! {
    /// Statistics of one size class. Like [`Stats`], this is a snapshot.
    ClassStats of hak_class_stats;

    /// Size of a block in bytes.
    block_bytes,
    /// Size of a slab in bytes.
    slab_bytes,
    /// Slabs of this class.
    slabs,
    /// Live blocks.
    blocks_live,
    /// Free blocks in thread caches and transfer caches.
    blocks_cached,
    /// Free blocks in slabs.
    blocks_free,
    /// Refills of thread caches, from transfer caches or from slabs.
    refills,
    /// Batches flushed from thread caches, to transfer caches or to owner heaps.
    flushes,
    /// Batches flushed to transfer caches.
    transfer_puts,
    /// Transfer-cache hits: refills from transfer caches.
    transfer_takes,
}

snapshot! {
    /// A snapshot of a private heap. The values are current, unless stated otherwise.
    HeapStats of hak_heap_stats without name;

    /// Unique in the process, from 1.
    id,
    /// Live blocks.
    blocks_live,
    /// Bytes in live blocks.
    bytes_live,
    /// Bytes in live blocks above 256 KiB. Part of `bytes_live`.
    bytes_large,
    /// Bytes in slabs: live and free blocks.
    bytes_slabs,
    /// The limit for `bytes_live`. 0 means none.
    limit,
    /// Calls that failed at the limit, since the start of the heap.
    refused,
}

/// Returns the allocator's counters.
///
/// # Examples
///
/// ```
/// let stats = hakmem::stats();
/// println!("{} bytes in use, {} mapped", stats.bytes_live, stats.bytes_mapped);
/// ```
#[must_use]
pub fn stats() -> Stats {
    let mut stats = sys::hak_stats::default();
    // SAFETY: `stats` is a local variable of the given size.
    unsafe { sys::hak_stats(&mut stats, size_of_val(&stats)) };
    stats.into()
}

/// Room for the rows of all size classes.
const CLASSES_MAX: usize = 128;

/// Returns the counters of each size class, in ascending order of block size. The class of 8 bytes
/// is an exception: it comes last.
///
/// All rows come from one snapshot, which this function takes. It does not allocate, because the
/// iterator contains the rows, about 10 KiB. If hakmem is the global allocator, collecting them
/// into a `Vec` allocates from hakmem, but after the snapshot, so the rows do not count this `Vec`.
///
/// The iterator is empty where the system allocator replaces hakmem.
///
/// # Examples
///
/// ```
/// let fullest = hakmem::class_stats().max_by_key(|class| class.blocks_live * class.block_bytes);
/// println!("{fullest:?}");
/// ```
pub fn class_stats() -> impl ExactSizeIterator<Item = ClassStats> + FusedIterator {
    let mut rows = [sys::hak_class_stats::default(); CLASSES_MAX];
    let row_bytes = size_of_val(&rows[0]);
    // SAFETY: `rows` is a local array of this many rows of this size.
    let classes = unsafe { sys::hak_class_stats_all(rows.as_mut_ptr(), row_bytes, rows.len()) };
    rows.into_iter().take(classes).map(ClassStats::from)
}

#[cfg(test)]
mod tests {
    use core::ptr;

    use super::*;

    #[test]
    fn there_is_room_for_the_rows_of_all_classes() {
        // SAFETY: an array of no rows may be null.
        let classes = unsafe { sys::hak_class_stats_all(ptr::null_mut(), 0, 0) };
        assert!(classes <= CLASSES_MAX);
        assert_eq!(class_stats().len(), classes);
    }
}
