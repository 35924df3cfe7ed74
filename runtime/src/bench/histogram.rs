//! Counts of durations, exact to one part in 64, that can be added up and sent from process to process.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Each power of two is divided into so many steps.
const STEPS: u64 = 64;

/// How many durations fell into which step.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Histogram {
    counts: BTreeMap<u32, u64>,
    most_us: u64,
}

/// The percentiles that are printed, in milliseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Histogram {
    /// Counts a duration in microseconds.
    pub(super) fn note(&mut self, us: u64) {
        *self.counts.entry(step(us)).or_default() += 1;
        self.most_us = self.most_us.max(us);
    }

    /// Takes over what another one counted.
    pub(super) fn add(&mut self, other: &Self) {
        for (step, count) in &other.counts {
            *self.counts.entry(*step).or_default() += count;
        }
        self.most_us = self.most_us.max(other.most_us);
    }

    /// `None` while nothing was counted.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let total: u64 = self.counts.values().sum();
        (total > 0).then(|| Percentiles {
            p50_ms: self.at(total, 500),
            p90_ms: self.at(total, 900),
            p99_ms: self.at(total, 990),
            max_ms: self.most_us as f64 / 1_000.0,
        })
    }

    /// The upper end of the step in which that share lies, so that no percentile flatters.
    fn at(&self, total: u64, per_mille: u64) -> f64 {
        let wanted = (total * per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (step, count) in &self.counts {
            seen += count;
            if seen >= wanted {
                return upper_end(*step).min(self.most_us) as f64 / 1_000.0;
            }
        }
        self.most_us as f64 / 1_000.0
    }
}

fn step(us: u64) -> u32 {
    let step = if us < STEPS {
        us
    } else {
        let shift = u64::from(us.ilog2()) - u64::from(STEPS.ilog2());
        (shift + 1) * STEPS + ((us >> shift) - STEPS)
    };
    u32::try_from(step).expect("64 powers of two have few steps")
}

fn upper_end(step: u32) -> u64 {
    let (power, part) = (u64::from(step) / STEPS, u64::from(step) % STEPS);
    match power.checked_sub(1) {
        None => part,
        Some(shift) => ((STEPS + part + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_found_again_and_narrow() {
        for us in (0..5_000).chain([1 << 20, (1 << 20) + 12_345, 3_600_000_000]) {
            let end = upper_end(step(us));
            assert!(end >= us && end - us <= us / STEPS, "{us} lies in a step that ends at {end}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sum() {
        let (mut low, mut high) = (Histogram::default(), Histogram::default());
        assert_eq!(low.percentiles(), None);
        (1..=990).for_each(|_| low.note(1_000));
        (1..=10).for_each(|_| high.note(50_000));
        low.add(&high);
        let all = low.percentiles().expect("counted");
        assert!((1.0..1.02).contains(&all.p50_ms) && (1.0..1.02).contains(&all.p99_ms), "{all:?}");
        assert!((all.max_ms - 50.0).abs() < f64::EPSILON, "{all:?}");
    }
}
