// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on the system allocator.

hakmem_benches::main_on!(std::alloc::System);
