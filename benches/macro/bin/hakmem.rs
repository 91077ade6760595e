// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on hakmem.

hakmem_benches::main_on!(hakmem::Hakmem);
