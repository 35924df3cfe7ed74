//! Whether a peek can find anything new: told by WAL and by the transactions that ended, never by time.
//!
//! A peek reads WAL from the oldest transaction that still runs, so one that finds nothing can cost a tenth of a second. An idle
//! database writes WAL all the same: checkpoints, vacuums, and our own lease. What is published comes only from transactions
//! that end; so where none ended but our own, and WAL moved less than a distance, there is nothing to find.

use dormouse_core::position::Lsn;
use std::collections::BTreeSet;

/// More ended transactions than this are not looked at one by one.
const ENDED_MAX: u64 = 64;

/// What one look at the database saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// Everything below is on disk: a peek that begins now reads at least so far.
    pub(super) flushed: Lsn,
    /// Where WAL ends, read no earlier than `running`. A commit that is not flushed at once lies between.
    pub(super) inserted: Lsn,
    /// The transactions that ran.
    pub(super) running: Running,
    /// Transactions that touched nothing that is published: the last ones that renewed or locked our lease.
    pub(super) own: [u32; 2],
}

/// The transactions that ran at one moment, as `pg_current_snapshot()` tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    /// One more than the last transaction that ended.
    next: u64,
    /// Those below that run.
    running: BTreeSet<u64>,
}

impl Running {
    /// Reads `xmin:xmax:xid,xid`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':').skip(1);
        let next = parts.next()?.parse().ok()?;
        let list = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        let running = list.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { next, running })
    }

    /// Whether no transaction ended from here to `later` but those named.
    fn only_ended(&self, later: &Self, own: [u32; 2]) -> bool {
        if later.next.saturating_sub(self.next) > ENDED_MAX {
            return false;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a row tells the low half of an id, and these are near")]
        let is_own = |xid: u64| own.contains(&(xid as u32));
        let mut candidates = self.running.iter().copied().chain(self.next..later.next);
        candidates.all(|xid| xid >= later.next || later.running.contains(&xid) || is_own(xid))
    }
}

/// What the last complete peek had before its eyes.
#[derive(Debug)]
pub(super) struct Watch {
    distance: u64,
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// All commits below were told.
    peeked: Lsn,
    /// Whether every transaction that had ended had its commit record below `peeked`.
    settled: bool,
    running: Running,
}

impl Watch {
    /// A peek is due at the latest when WAL moved by `distance` bytes, so that Postgres can forget it.
    pub(super) const fn new(distance: u64) -> Self {
        Self { distance, seen: None }
    }

    /// Whether a peek now can find something new, or must be made for WAL's sake.
    pub(super) fn wants_peek(&mut self, sight: &Sight) -> bool {
        let Some(seen) = &mut self.seen else { return true };
        if sight.flushed <= seen.peeked {
            return false;
        }
        let quiet = seen.settled && seen.running.only_ended(&sight.running, sight.own);
        if !quiet || sight.flushed.0 - seen.peeked.0 >= self.distance {
            return true;
        }
        seen.running = sight.running.clone();
        false
    }

    /// A peek that began after this look told everything there was.
    pub(super) fn peeked(&mut self, sight: Sight) {
        let Sight { flushed, inserted, running, .. } = sight;
        self.seen = Some(Seen { peeked: flushed, settled: inserted <= flushed, running });
    }

    /// Below here all commits were told. `None` before the first complete peek.
    pub(super) fn told(&self) -> Option<Lsn> {
        Some(self.seen.as_ref()?.peeked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(flushed: u64, running: &str, own: u32) -> Sight {
        let running = Running::parse(running).expect("a snapshot");
        Sight { flushed: Lsn(flushed), inserted: Lsn(flushed), running, own: [own, 0] }
    }

    fn watch(first: Sight) -> Watch {
        let mut watch = Watch::new(1_000);
        assert!(watch.wants_peek(&first), "nothing was seen yet");
        watch.peeked(first);
        watch
    }

    #[test]
    fn a_watch_wakes_for_whatever_could_have_committed() {
        let check = |before: &str, after: &str, own, wakes| {
            let found = watch(sight(100, before, 0)).wants_peek(&sight(200, after, own));
            assert_eq!(found, wakes, "{before} -> {after}, own {own}");
        };
        check("10:10:", "10:10:", 0, false);
        check("10:10:", "11:11:", 0, true);
        check("10:10:", "11:11:", 10, false);
        check("10:10:", "12:12:", 10, true);
        // One that runs on, and one that has begun since, told nothing yet.
        check("5:10:5", "5:11:5", 10, false);
        check("5:10:5", "5:12:5,10", 11, false);
        // One that ran and has ended.
        check("5:10:5", "11:11:", 10, true);
        check("5:10:5,7", "5:10:5", 0, true);
        // Ids beyond 32 bits.
        check("4294967300:4294967300:", "4294967301:4294967301:", 4, false);
        check("10:10:", "1000:1000:", 10, true);
    }

    #[test]
    fn time_alone_wakes_nobody_and_distance_does() {
        let mut watch = watch(sight(100, "10:10:", 0));
        for n in 0..50_u64 {
            assert!(!watch.wants_peek(&sight(100, "99:99:", 0)), "WAL did not move");
            let renewed = sight(101 + n, &format!("{0}:{0}:", 11 + n), 10 + u32::try_from(n).expect("small"));
            assert!(!watch.wants_peek(&renewed), "only our own lease was renewed");
        }
        assert!(watch.wants_peek(&sight(1_100, "60:60:", 0)));
    }

    #[test]
    fn a_commit_that_was_not_flushed_yet_is_waited_for() {
        let early = Sight { inserted: Lsn(180), ..sight(100, "11:11:", 0) };
        let mut watch = watch(early);
        assert!(!watch.wants_peek(&sight(100, "11:11:", 0)));
        assert!(watch.wants_peek(&sight(180, "11:11:", 0)), "the commit is on disk now");
        watch.peeked(sight(180, "11:11:", 0));
        assert!(!watch.wants_peek(&sight(190, "11:11:", 0)));
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for wrong in ["", "1", "1:x:", "1:2:a", "1:2"] {
            assert_eq!(Running::parse(wrong), None, "{wrong}");
        }
    }
}
