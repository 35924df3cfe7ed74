//! What was committed and is gone since the database was restored from a copy: a future that it does not have any more.
//!
//! Whoever shows it shows what the database held then, and must be told everything again before it shows anything else.

use super::{Checked, Oracle, Promise, broken};
use crate::postgres::Postgres;
use dormouse_core::position::{CommitTime, Era, Lsn, Position, Waypoint};
use dormouse_core::xid::Xid;

/// Commits and eras that are gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Lost {
    commits: Vec<(Lsn, Xid, CommitTime)>,
    eras: Vec<Era>,
    restored: bool,
    /// How far history had been pruned before the restores: what was judged by it may be answered after them.
    horizons: Vec<Waypoint>,
    /// The end of what was kept at the last restore, be it in the copy's history or not yet. Who was handed something that is gone was
    /// handed all before this.
    pub(super) kept_end: Option<Waypoint>,
}

impl Lost {
    /// Whether the database was never restored.
    pub(super) const fn is_nothing(&self) -> bool {
        !self.restored
    }

    /// Whether a place of the present era was pruned before a restore.
    pub(super) fn was_pruned(&self, at: &Waypoint) -> bool {
        self.horizons.iter().any(|horizon| horizon.era == at.era && horizon.position > at.position)
    }
}

impl Oracle {
    /// Whether nothing that was ever in history is gone.
    #[must_use]
    pub const fn is_all_kept(&self) -> bool {
        self.lost.is_nothing()
    }

    /// The database became what it was before. What was visible at greetings may be gone, and history may be written anew.
    pub fn restored(&mut self, was: &Postgres, is: &Postgres) {
        self.lost.restored = true;
        self.lost.horizons.extend(was.horizon());
        let kept = is.commits().len();
        let gone = was.commits()[kept..].iter().map(|commit| (commit.commit_lsn, commit.xid, commit.committed_at));
        self.lost.commits.extend(gone);
        self.lost.eras.extend(was.eras().filter(|era| is.eras().all(|kept| kept != *era)));
        self.lost.kept_end = is.head().map(|head| {
            let last = is.commits().last().map_or(Position::ZERO, |commit| Position::after(commit.commit_lsn));
            Waypoint { position: head.position().max(last), ..head.waypoint }
        });
        for client in 0..self.clients.len() {
            self.clients[client].greeted = Lsn::ZERO;
            // A thin client that lets the server remember its place goes on from what the copy says.
            if self.clients[client].thin.is_some_and(|mark| self.is_lost(&mark)) {
                self.clients[client].thin = self.lost.kept_end;
            }
        }
        (self.recorded, self.piece) = (None, None);
    }

    /// Whether a place belongs to a future that is gone.
    #[must_use]
    pub fn is_lost(&self, place: &Waypoint) -> bool {
        let named = (place.position.commit_lsn, place.xid, place.committed_at);
        self.lost.eras.contains(&place.era) || self.lost.commits.contains(&named)
    }

    /// A store goes on from one place to another by a page.
    ///
    /// # Errors
    /// When the first belongs to a future that is gone and the second does not.
    pub(super) fn leads_on(&self, from: Option<&Waypoint>, to: &Waypoint) -> Checked {
        match from.filter(|from| self.is_lost(from) && !self.is_lost(to)) {
            None => Ok(()),
            Some(from) => {
                let event = format!("{} follows {}, which the restored database never had", to.position, from.position);
                broken(Promise::Complete, "lost future", event)
            }
        }
    }
}
