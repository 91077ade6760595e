// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on snmalloc.

hakmem_benches::main_on!(snmalloc_rs::SnMalloc);
