// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on jemalloc.

hakmem_benches::main_on!(tikv_jemallocator::Jemalloc);
