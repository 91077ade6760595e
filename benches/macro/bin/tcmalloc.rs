// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on tcmalloc.

hakmem_benches::main_on!(tcmalloc_better::TCMalloc);
