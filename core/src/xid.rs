//! Transaction ids in 64 bits, and what a snapshot sees.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A transaction id widened to 64 bits (Postgres' `xid8`). 0 is no transaction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Xid(pub u64);

impl Xid {
    /// Widens a 32-bit id against a reference read on the source at this moment: right while the two are less than 2³¹ apart.
    #[must_use]
    pub const fn widen(xid: u32, reference: Self) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "the distance is taken modulo 2^32 on purpose"
        )]
        let distance = xid.wrapping_sub(reference.0 as u32) as i32;
        Self(reference.0.wrapping_add_signed(distance as i64))
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What `pg_current_snapshot()` says: which transactions a statement sees.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// All below have ended.
    pub xmin: Xid,
    /// None at or above is seen.
    pub xmax: Xid,
    /// Those in between that were running, ascending.
    pub running: Vec<Xid>,
}

impl Snapshot {
    /// Whether the snapshot sees what this transaction wrote, provided that it committed.
    #[must_use]
    pub fn sees(&self, xid: Xid) -> bool {
        xid < self.xmin || xid < self.xmax && self.running.binary_search(&xid).is_err()
    }

    /// Parses Postgres' text: `xmin:xmax:xid,xid,…`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let mut xid = || parts.next()?.parse().ok().map(Xid);
        let (xmin, xmax) = (xid()?, xid()?);
        let running = parts.next()?.split(',').filter(|part| !part.is_empty());
        let mut running = running.map(|part| part.parse().map(Xid)).collect::<Result<Vec<_>, _>>().ok()?;
        running.sort_unstable();
        Some(Self { xmin, xmax, running })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_works_on_both_sides_of_a_wrap() {
        let reference = Xid((7 << 32) + 5);
        assert_eq!(Xid::widen(3, reference), Xid((7 << 32) + 3));
        assert_eq!(Xid::widen(u32::MAX, reference), Xid((6 << 32) + u64::from(u32::MAX)));
        assert_eq!(Xid::widen(9, Xid((7 << 32) - 2)), Xid((7 << 32) + 9));
    }

    #[test]
    fn a_snapshot_sees_what_ended_before_it() {
        let snapshot = Snapshot::parse("10:20:12,15").expect("Postgres' own form");
        assert!(snapshot.sees(Xid(9)) && snapshot.sees(Xid(11)) && snapshot.sees(Xid(19)));
        assert!(!snapshot.sees(Xid(12)) && !snapshot.sees(Xid(15)) && !snapshot.sees(Xid(20)));
        assert!(Snapshot::parse("10:20:").is_some());
        assert!(Snapshot::parse("10:x:").is_none());
    }
}
