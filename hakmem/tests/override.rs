//! The feature `override`: libc's names are hakmem's.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::ffi::c_void;

// Nothing else of the crate is used by some programs: this alone links it.
use hakmem as _;

/// The bytes that hakmem counts as live more after `change` than before it.
fn growth(change: impl FnOnce()) -> i64 {
    let before = hakmem::stats().bytes_live as i64;
    change();
    hakmem::stats().bytes_live as i64 - before
}

#[test]
fn c_code_in_the_process_allocates_from_hakmem() {
    the_libc_names_are_served_by_hakmem();
    libc_itself_allocates_from_hakmem();
    other_shared_libraries_find_the_same_functions();
}

fn the_libc_names_are_served_by_hakmem() {
    let mut block = std::ptr::null_mut();
    // SAFETY: any size may be asked for.
    let grown = growth(|| block = unsafe { libc::malloc(100_000) });
    assert!(grown >= 100_000, "{grown}");
    // SAFETY: a live block. hakmem aborts if it is not one of its own.
    assert!(unsafe { hakmem::usable_size(block.cast()) } >= 100_000);
    // SAFETY: a live block, given up.
    assert!(growth(|| unsafe { libc::free(block) }) <= -100_000);
}

fn libc_itself_allocates_from_hakmem() {
    let text = c"a text that strdup copies";
    // SAFETY: the text ends with a NUL.
    let copy = unsafe { libc::strdup(text.as_ptr()) };
    // SAFETY: a live block. hakmem aborts if it is not one of its own.
    let usable = unsafe { hakmem::usable_size(copy.cast()) };
    assert!((26..=64).contains(&usable), "{usable}");
    // SAFETY: a live block, given up.
    unsafe { libc::free(copy.cast()) };
}

fn other_shared_libraries_find_the_same_functions() {
    let names = [
        (c"malloc", libc::malloc as *const () as *mut c_void),
        (c"calloc", libc::calloc as *const () as *mut c_void),
        (c"realloc", libc::realloc as *const () as *mut c_void),
        (c"free", libc::free as *const () as *mut c_void),
        (
            c"posix_memalign",
            libc::posix_memalign as *const () as *mut c_void,
        ),
        (
            c"malloc_usable_size",
            libc::malloc_usable_size as *const () as *mut c_void,
        ),
    ];
    for (name, here) in names {
        // SAFETY: the name ends with a NUL.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        // SAFETY: as above.
        let in_libc = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        assert_eq!(found, here, "{name:?}");
        assert_ne!(found, in_libc, "{name:?}");
    }
}
