//! Whether a database is still the one that a process knows, and not what it was earlier, or another.
//!
//! A process remembers what the database told it: places, pages, snapshots that are half sent. A database that was restored from a
//! copy, or that a standby without the end of the WAL has replaced, never said all of that. Whoever notices it must forget
//! everything, which means to begin anew: clients then come back with their places, and each is judged.

use crate::safeguard::{Safeguard, Safeguards};
use crate::source::Evidence;

/// What is seen of a database when a connection to it is opened, before anything is asked over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which database it is.
    pub evidence: Evidence,
    /// How often the lease was taken or renewed. It only grows, every other second while somebody replicates.
    pub renewals: u64,
    /// When its server was started, as a number that is another for each start. To restore a database its server must end.
    pub started: u64,
    /// How often the lease had been renewed when its server was started. Whoever takes the lease of a restored database makes its
    /// count grow again, and may come first.
    pub renewals_at_start: u64,
}

impl Sighting {
    /// Why this cannot be a later sighting of the same database, if so. Both must have been taken one after the other: the earlier
    /// one was complete before this one began.
    #[must_use]
    pub fn breaks_with(&self, earlier: &Self, safeguards: Safeguards) -> Option<String> {
        if !safeguards.holds(Safeguard::SameDatabase) {
            return None;
        }
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
        let kept = if self.started == earlier.started { self.renewals } else { self.renewals_at_start };
        (kept < earlier.renewals).then(|| {
            format!(
                "the lease was renewed {kept} times, and had been {} times before: the database was restored from a copy",
                earlier.renewals
            )
        })
    }

    /// Takes in a later sighting, which was compared with `earlier`. Of two that were taken at once, one is left as it is: it may be
    /// of an earlier start of the server.
    pub fn follow(&mut self, later: &Self, earlier: &Self) {
        if self.started == later.started || self.started == earlier.started {
            let renewals = self.renewals.max(later.renewals);
            *self = Self { renewals, ..later.clone() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(system_identifier: u64, timeline: u32, renewals: u64) -> Sighting {
        let evidence = Evidence { system_identifier, database_oid: 5, timeline };
        Sighting { evidence, renewals, started: 1, renewals_at_start: 40 }
    }

    #[test]
    fn only_what_has_grown_is_the_same_database() {
        let known = sighting(7, 1, 100);
        for later in [sighting(7, 1, 100), sighting(7, 1, 101)] {
            assert_eq!(later.breaks_with(&known, Safeguards::ALL), None, "{later:?}");
        }
        for (other, word) in
            [(sighting(8, 1, 101), "another database"), (sighting(7, 2, 101), "timeline"), (sighting(7, 1, 99), "copy")]
        {
            let why = other.breaks_with(&known, Safeguards::ALL).expect("not the same");
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn what_was_renewed_since_the_server_was_started_hides_nothing() {
        let known = sighting(7, 1, 100);
        let restarted =
            |renewals, renewals_at_start| Sighting { started: 2, renewals_at_start, ..sighting(7, 1, renewals) };
        assert_eq!(restarted(100, 100).breaks_with(&known, Safeguards::ALL), None);
        assert_eq!(restarted(130, 101).breaks_with(&known, Safeguards::ALL), None, "its last answer was lost");
        assert!(restarted(130, 99).breaks_with(&known, Safeguards::ALL).is_some(), "another has renewed it since");
    }

    #[test]
    fn of_two_sightings_at_once_the_later_start_stays() {
        let earlier = sighting(7, 1, 100);
        let later = Sighting { started: 2, renewals_at_start: 101, ..sighting(7, 1, 103) };
        let (mut newest, late) = (earlier.clone(), sighting(7, 1, 101));
        newest.follow(&later, &earlier);
        assert_eq!(newest, later);
        newest.follow(&late, &earlier);
        assert_eq!(newest, later, "it was seen before the restart, and is heard after it");
        let again = Sighting { renewals: 110, ..later.clone() };
        newest.follow(&again, &later);
        assert_eq!(newest.renewals, 110);
    }
}
