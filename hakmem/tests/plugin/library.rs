//! A shared library that uses hakmem, such as a server might load and unload. In the manifest this
//! is the example `plugin`. `cargo test` builds it for the test `plugin`.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

/// Allocates `mib` MiB in blocks of several sizes, and frees them. Returns hakmem's count of live
/// bytes before the frees.
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
