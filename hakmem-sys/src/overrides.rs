//! Makes the linker use hakmem for libc's names.
//!
//! If a program does not call `posix_memalign`, for example, the linker would leave it out. A
//! shared library that calls it would then mix two allocators. A reference from a `#[used]` static
//! links the object file and keeps each function.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

macro_rules! keep {
    ($($name:ident)*) => {
        // These are never called from Rust. Only the addresses matter, so we omit the signatures.
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

/// Functions that only glibc has.
#[cfg(target_env = "gnu")]
mod gnu {
    keep! { mallinfo malloc_info }
}

/// Exists since glibc 2.33. The build script checks for it.
#[cfg(hakmem_mallinfo2)]
mod gnu_2_33 {
    keep! { mallinfo2 }
}
