// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on mimalloc.

hakmem_benches::main_on!(mimalloc::MiMalloc);
