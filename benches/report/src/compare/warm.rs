// SPDX-License-Identifier: MIT OR Apache-2.0

//! Warms the machine's memory. A virtual machine that gives free pages back to its host pays for their next
//! first touch. Without warming, the allocator that runs first would pay for all.

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use hakmem_reports::machine::field;

/// The argument on which this program only touches memory.
pub(crate) const OPTION: &str = "--warm";
/// For rows whose peak is not known yet.
const DEFAULT_KB: u64 = 512 << 10;
/// At most this part of the free memory is touched.
const FREE_DIVISOR: u64 = 4;

/// Touches and releases about as much memory as a row's peak. A process of its own does it, because the peak
/// of this one would count as that of its children.
pub(crate) fn warm(peak_kb: Option<u64>) {
    let free = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free_kb = field(&free, "MemFree").trim_end_matches(" kB").parse();
    let bytes = amount_kb(peak_kb, free_kb.unwrap_or(0)) << 10;
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    // Cold memory makes a run slower, but not wrong.
    let _ = Command::new(program)
        .args([OPTION, &bytes.to_string()])
        .stdin(Stdio::null())
        .status();
}

fn amount_kb(peak_kb: Option<u64>, free_kb: u64) -> u64 {
    peak_kb.unwrap_or(DEFAULT_KB).min(free_kb / FREE_DIVISOR)
}

/// The process that touches memory. Its end releases the memory.
pub(crate) fn touch(bytes: &str) -> ExitCode {
    match bytes.parse() {
        Ok(bytes) => {
            std::hint::black_box(vec![1_u8; bytes]);
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_is_the_peak_within_a_part_of_the_free_memory() {
        assert_eq!(amount_kb(None, 8 << 20), 512 << 10);
        assert_eq!(amount_kb(Some(1000), 8 << 20), 1000);
        assert_eq!(amount_kb(Some(1000), 2000), 500);
        assert_eq!(amount_kb(None, 0), 0);
    }

    #[test]
    fn memory_is_touched_or_the_number_is_wrong() {
        assert_eq!(touch("4096"), ExitCode::SUCCESS);
        assert_eq!(touch("many"), ExitCode::FAILURE);
    }
}
