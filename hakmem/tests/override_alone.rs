//! The feature `override` in a program that only links the crate.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
// Without shared libraries (the default with musl) there is nothing to find.
#![cfg(all(target_env = "gnu", not(hakmem_system)))]

use std::ffi::{CStr, c_void};

use hakmem as _;

/// The functions of glibc that hakmem replaces.
const NAMES: [&CStr; 17] = [
    c"malloc",
    c"calloc",
    c"realloc",
    c"reallocarray",
    c"free",
    c"posix_memalign",
    c"aligned_alloc",
    c"memalign",
    c"valloc",
    c"pvalloc",
    c"malloc_usable_size",
    c"malloc_trim",
    c"mallopt",
    c"mallinfo",
    c"mallinfo2",
    c"malloc_info",
    c"malloc_stats",
];

#[test]
fn shared_libraries_find_every_name_in_the_program_before_that_in_libc() {
    for name in NAMES {
        let (first, next) = (find(libc::RTLD_DEFAULT, name), find(libc::RTLD_NEXT, name));
        assert!(!first.is_null() && !next.is_null(), "{name:?}");
        assert_ne!(first, next, "{name:?} is libc's");
    }
}

fn find(from: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: a special handle of dlsym, and a string that ends with a NUL.
    unsafe { libc::dlsym(from, name.as_ptr()) }
}
