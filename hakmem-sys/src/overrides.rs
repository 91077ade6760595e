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
    malloc_usable_size malloc_trim mallopt malloc_stats
}

/// Those that only glibc has.
#[cfg(target_env = "gnu")]
mod gnu {
    keep! { mallinfo malloc_info }
}

/// Since glibc 2.33, as the build script has found.
#[cfg(hakmem_mallinfo2)]
mod gnu_2_33 {
    keep! { mallinfo2 }
}
