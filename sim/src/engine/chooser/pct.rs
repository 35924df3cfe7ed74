//! Few faults, well placed: probabilistic concurrency testing (Burckhardt and others, 2010) over keyed choices.
//!
//! A race of depth d needs d things to happen at the right moments and nothing else. So a run has d points, spread evenly over
//! all that could go wrong by weight: at a point whose choice is a fault, the fault happens; at one whose choice is a delay, its
//! entity falls behind the others for a few of its delays. Everything else is quiet, and the end is fair: nobody stays behind.

use super::mix;

/// How many delays in a row an entity that fell behind has at most.
const BEHIND_MAX: u64 = 6;

/// The state of the search.
#[derive(Debug, Clone)]
pub struct Pct {
    /// The points still to come, the next one last, in units of weight.
    points: Vec<u64>,
    /// How much weight went by.
    passed: u64,
    /// Who is behind, in which bucket, and for how many more delays.
    behind: Vec<(usize, u64, u64)>,
}

impl Pct {
    /// A search of `depth` points for this seed. How long a run is, is not known before: the points lie in a range that is drawn.
    #[must_use]
    pub fn new(seed: u64, depth: u32) -> Self {
        let salt = mix(seed ^ 0x5043_5421);
        let range = 1_u64 << (17 + salt % 6);
        let mut points: Vec<_> = (0..u64::from(depth)).map(|n| mix(salt.wrapping_add(n + 1)) % range).collect();
        points.sort_unstable_by(|a, b| b.cmp(a));
        Self { points, passed: 0, behind: Vec::new() }
    }

    /// At a point, half of the delays are held until a moment instead: a number that says until which.
    pub(super) fn holds(&mut self, hash: u64, weight: u32) -> Option<u64> {
        let passed = self.passed + u64::from(weight);
        if hash >> 63 == 0 || self.points.last().is_none_or(|point| *point >= passed) {
            return None;
        }
        self.points.pop();
        self.passed = passed;
        Some(mix(hash) >> 16)
    }

    pub(super) fn pick(&mut self, is_delay: bool, entity: usize, hash: u64, bound: u64, weight: u32) -> u64 {
        self.passed += u64::from(weight);
        let is_point = self.points.last().is_some_and(|point| *point < self.passed);
        let drawn = (hash >> 16) % (bound - 1) + 1;
        if is_point {
            self.points.pop();
            if is_delay {
                self.behind.push((entity, drawn, mix(hash) % BEHIND_MAX));
            }
            return drawn;
        }
        if !is_delay {
            return 0;
        }
        let Some(at) = self.behind.iter().position(|(who, _, left)| *who == entity && *left > 0) else { return 0 };
        self.behind[at].2 -= 1;
        self.behind[at].1.min(bound - 1)
    }
}
