//! How much history is kept.

use super::Postgres;
use super::history::TransactionRow;
use dormouse_core::fault::Failure;
use dormouse_core::position::{Lsn, Position, Waypoint};
use dormouse_core::replication::{Fenced, Prune};
use dormouse_core::time::Timestamp;

impl Postgres {
    /// Answers [`Prune`]; registrations that have run out go first. The horizon is zero before the first era.
    ///
    /// A transaction that new snapshots do not see yet stays, whatever its age: a snapshot taken now needs it in its seam.
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_prune(&mut self, now: Timestamp, ask: &Prune) -> Result<Fenced<Position>, Failure> {
        self.fenced(ask.token, |pg| {
            pg.registry.expire(now);
            let (needed, snapshot) = (pg.needed(), pg.current_snapshot());
            let (old, too_old) = (pg.config.clock(now - ask.keep_min), pg.config.clock(now - ask.keep_max));
            let prunable = |commit_lsn: Lsn, row: &TransactionRow| {
                let unneeded = needed.is_none_or(|needed| Position::after(commit_lsn) <= needed);
                snapshot.sees(row.xid) && (row.committed_at < too_old || row.committed_at < old && unneeded)
            };
            pg.history.prune(prunable);
            pg.own_write();
            pg.horizon().unwrap_or_default().position
        })
    }

    /// The oldest position from which a living registration or a spool will read on. `None` when there is none.
    fn needed(&self) -> Option<Position> {
        let present = |waypoint: &&Waypoint| Some(waypoint.era) == self.era();
        let stored = self.registry.rows().values().filter_map(|row| row.position.as_ref());
        stored.chain(self.spools.starts()).filter(present).map(|waypoint| waypoint.position).min()
    }
}
