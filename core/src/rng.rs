//! Integer mixing for jitter: the machines draw from a seed they were given, never from the world.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Spreads the bits of a number (the finalizer of SplitMix64).
#[must_use]
pub const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A small deterministic generator for jitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator that follows from `seed` alone.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: mix(seed) }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }
}

/// Exponential back-off with full jitter in its upper half: the n-th wait lies in [d/2, d), d = min(first × 2ⁿ, most).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    rng: Rng,
}

impl Backoff {
    /// A back-off whose waits follow from `seed`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration, seed: u64) -> Self {
        Self { first, most, failures: 0, rng: Rng::new(seed) }
    }

    /// How long to wait after one more failure.
    pub fn next_wait(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        let half = u64::try_from(full.as_micros() / 2).unwrap_or(u64::MAX);
        Duration::from_micros(half + self.rng.below(half))
    }

    /// Starts over after a success.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many failures in a row there were.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}
