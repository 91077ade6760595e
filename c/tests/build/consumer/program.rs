// program.rs - succeeds only if its global allocator is hakmem. Other projects build it.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

fn main() {
    let held = std::hint::black_box(vec![1_u8; 1000]);
    let ours = hakmem::stats().bytes_live >= held.len() as u64 && hakmem::validate() == 0;
    println!("{}", if ours { "ours" } else { "not ours" });
}
