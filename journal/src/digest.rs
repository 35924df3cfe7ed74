//! The rolling hash over everything that happens in a run: two runs of one seed must agree on it.

mod serializer;

use serde::Serialize;
use std::fmt;

/// 128 bits over all events and outputs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    low: u64,
    high: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { low: 0x243f_6a88_85a3_08d3, high: 0x1319_8a2e_0370_7344 }
    }
}

impl Digest {
    /// Adds a number.
    #[inline]
    pub const fn word(&mut self, word: u64) {
        self.low = (self.low ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        self.high = self.high.wrapping_add(word ^ self.low).wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31);
    }

    /// Adds a byte string, and its length.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        self.word(rest.iter().rev().fold(0, |last, byte| last << 8 | u64::from(*byte)));
        self.word(bytes.len() as u64);
    }

    /// Adds any plain value: the same bytes in debug and release, on every machine.
    pub fn add(&mut self, value: &impl Serialize) {
        if value.serialize(serializer::Sink(self)).is_err() {
            self.word(u64::MAX); // No value of ours refuses to be serialized.
        }
    }

    /// Half of the hash of all that was added.
    #[must_use]
    pub const fn low_half(self) -> u64 {
        self.low
    }

    /// The hash of all that was added.
    #[must_use]
    pub const fn finish(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &impl Serialize) -> u128 {
        let mut digest = Digest::default();
        digest.add(value);
        digest.finish()
    }

    #[test]
    fn different_values_differ() {
        assert_ne!(of(&("a", "b")), of(&("ab", "")));
        assert_ne!(of(&vec![1_u8, 2]), of(&vec![1_u8, 2, 0]));
        assert_ne!(of(&Some(0_u8)), of(&None::<u8>));
        assert_eq!(of(&(1_u32, "x")), of(&(1_u32, "x")));
    }
}
