// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cheap random numbers, the same for each allocator.

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    /// Creates a generator for one thread. Each `stream` has different numbers.
    pub(crate) fn new(stream: usize) -> Self {
        Self(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(2 * stream as u64 + 1)) // odd: never 0
    }

    /// Returns 32 random bits.
    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u64::from(self.next()) * bound as u64) >> 32) as usize
    }
}
