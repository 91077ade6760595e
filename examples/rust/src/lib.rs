// SPDX-License-Identifier: MIT OR Apache-2.0

//! The parts of the example programs. Nothing in here chooses an allocator: that is up to each
//! executable, in `src/bin`.

pub mod client;
pub mod load;
pub mod process;
pub mod service;
