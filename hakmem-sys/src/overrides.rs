//! Makes the linker take libc's names from hakmem.
//!
//! A program whose own code never mentions `posix_memalign`, say, would leave it out, and a shared
//! library that does use it would then mix two allocators. A reference from a `#[used]` static
//! pulls the object in and keeps each function.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

macro_rules! keep {
    ($($name:ident)*) => {
        // Never called from here: only the addresses matter, so the signatures are left out.
        unsafe extern "C" {
            $(fn $name();)*
        }

        #[used]
        static OVERRIDES: &[unsafe extern "C" fn()] = &[$($name),*];
    };
}

keep! {
    malloc calloc realloc reallocarray free cfree free_sized free_aligned_sized
    posix_memalign aligned_alloc memalign valloc pvalloc
    malloc_usable_size malloc_trim mallopt mallinfo mallinfo2 malloc_info malloc_stats
}
