// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on rpmalloc.

hakmem_benches::main_on!(rpmalloc::RpMalloc);
