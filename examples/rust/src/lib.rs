// SPDX-License-Identifier: MIT OR Apache-2.0

//! Shared code of the example programs. Nothing in here chooses an allocator. Each executable in
//! `src/bin` chooses its own.

pub mod client;
pub mod load;
pub mod process;
pub mod service;
