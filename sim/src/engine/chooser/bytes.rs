//! Choices from a fuzzer's bytes: coverage guides what happens. Exhausted bytes mean the quiet choice.

use std::sync::Arc;

/// A string of bytes and a place in it: pairs of how many choices stay quiet, and what comes then.
#[derive(Debug, Clone)]
pub struct Bytes {
    bytes: Arc<[u8]>,
    at: usize,
    /// How many more choices are quiet before the next that is not.
    quiet: u32,
}

impl Bytes {
    /// Choices from these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut this = Self { bytes: bytes.into(), at: 0, quiet: 0 };
        this.rest();
        this
    }

    /// Reads how long it stays quiet: bytes of 255 count on.
    fn rest(&mut self) {
        self.quiet = 0;
        while let Some(byte) = self.next() {
            self.quiet += u32::from(byte);
            if byte != u8::MAX {
                return;
            }
        }
        self.quiet = u32::MAX;
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// Of a choice that has `ways` more than the `bound` of its picks, which of those the next byte means, if one.
    pub(super) fn beyond(&mut self, bound: u64, ways: u64, weight: u32) -> Option<u64> {
        if weight == 0 || self.quiet > 0 {
            return None;
        }
        let byte = u64::from(*self.bytes.get(self.at)?);
        let way = (byte % (bound - 1 + ways)).checked_sub(bound - 1)?;
        self.at += 1;
        self.rest();
        Some(way)
    }

    pub(super) fn pick(&mut self, bound: u64, weight: u32) -> u64 {
        if weight == 0 || self.quiet == u32::MAX {
            return 0; // What cannot happen in this world takes no bytes.
        }
        if self.quiet > 0 {
            self.quiet -= 1;
            return 0;
        }
        let pick = self.next().map_or(0, |byte| u64::from(byte) % (bound - 1) + 1);
        self.rest();
        pick
    }
}
