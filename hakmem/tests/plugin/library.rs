//! A shared library on hakmem, as a server might load and unload it: the example `plugin` of the
//! manifest, which `cargo test` builds for the test `plugin`.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

/// Allocates `mib` MiB in blocks of several sizes, and frees them. Returns the bytes that hakmem
/// counted as live in between.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_work(mib: usize) -> u64 {
    let blocks: Vec<Vec<u8>> = (0..mib)
        .flat_map(|_| [vec![1; 512 << 10], vec![2; 256 << 10]])
        .chain((0..mib * 256).map(|i| vec![3; 1 + i * 7 % 2048]))
        .collect();
    let live = hakmem::stats().bytes_live;
    drop(blocks);
    live
}
