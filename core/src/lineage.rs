//! Whether a database is still the one that a process knows, and not what it was earlier, or another.
//!
//! A process remembers what the database told it: places, pages, snapshots that are half sent. A database that was restored from a
//! copy, or that a standby without the end of the WAL has replaced, never said all of that. Whoever notices it must forget
//! everything, which means to begin anew: clients then come back with their places, and each is judged.

use crate::source::Evidence;

/// What is seen of a database when a connection to it is opened, before anything is asked over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which database it is.
    pub evidence: Evidence,
    /// How often the lease was taken or renewed. It only grows, every other second while somebody replicates.
    pub renewals: u64,
}

impl Sighting {
    /// Why this cannot be a later sighting of the same database, if so. Both must have been taken one after the other: the earlier
    /// one was complete before this one began.
    #[must_use]
    pub fn breaks_with(&self, earlier: &Self) -> Option<String> {
        let (here, then) = (&self.evidence, &earlier.evidence);
        if (here.system_identifier, here.database_oid) != (then.system_identifier, then.database_oid) {
            return Some("another database answers under its address".into());
        }
        if here.timeline != then.timeline {
            return Some(format!(
                "the database is on timeline {}, and was on {}: it was restored, or a standby has taken over, which may lack the end",
                here.timeline, then.timeline
            ));
        }
        (self.renewals < earlier.renewals).then(|| {
            format!(
                "the lease was renewed {} times, and had been {} times before: the database was restored from a copy",
                self.renewals, earlier.renewals
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(system_identifier: u64, timeline: u32, renewals: u64) -> Sighting {
        Sighting { evidence: Evidence { system_identifier, database_oid: 5, timeline }, renewals }
    }

    #[test]
    fn only_what_has_grown_is_the_same_database() {
        let known = sighting(7, 1, 100);
        for later in [sighting(7, 1, 100), sighting(7, 1, 101)] {
            assert_eq!(later.breaks_with(&known), None, "{later:?}");
        }
        for (other, word) in
            [(sighting(8, 1, 101), "another database"), (sighting(7, 2, 101), "timeline"), (sighting(7, 1, 99), "copy")]
        {
            let why = other.breaks_with(&known).expect("not the same");
            assert!(why.contains(word), "{why}");
        }
    }
}
