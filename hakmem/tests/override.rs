//! The feature `override`: hakmem replaces libc's functions. Counters are per process, so this is a
//! single test in its own process.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

/// Returns the increase of hakmem's live bytes during `change`.
fn growth(change: impl FnOnce()) -> i64 {
    let before = hakmem::stats().bytes_live as i64;
    change();
    hakmem::stats().bytes_live as i64 - before
}

#[test]
fn c_code_in_the_process_allocates_from_hakmem() {
    the_libc_names_are_served_by_hakmem();
    libc_itself_allocates_from_hakmem();
}

fn the_libc_names_are_served_by_hakmem() {
    let mut block = std::ptr::null_mut();
    // SAFETY: malloc accepts any size.
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
