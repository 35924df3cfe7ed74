//! Complete, Ordered, Atomic: what a client shows is what the database held at the place where the client stands.

use super::{Checked, Oracle, Promise, broken, is_in};
use crate::postgres::{Commit, Postgres, Verdict};
use dormouse_core::change::{Page, Scope, Transaction};
use dormouse_core::position::{Lsn, Waypoint};
use dormouse_core::store::{Held, StoreRequest};

/// What a client holds when it acknowledges.
#[derive(Debug, Clone, Copy)]
pub enum Holding {
    /// A replica's store.
    Replica(Held),
    /// A thin client: what it has handed over.
    Thin,
}

impl Oracle {
    /// A client acknowledges.
    ///
    /// # Errors
    /// When it has not stored that.
    pub fn acknowledged(&self, client: u8, holding: Holding, through: &Waypoint) -> Checked {
        let held = match holding {
            Holding::Replica(held) => held.staged,
            Holding::Thin => return self.thin_acknowledged(client, through),
        };
        let stored = held.is_some_and(|held| held.era != through.era || held.position >= through.position);
        if !stored {
            let event = format!("acknowledged {} but holds {held:?}", through.position);
            return broken(Promise::Durable, "acknowledged", event);
        }
        Ok(())
    }

    fn thin_acknowledged(&self, client: u8, through: &Waypoint) -> Checked {
        if self.ever_held(client as usize, through) {
            return Ok(());
        }
        let event = format!("acknowledged {}, which was never handed over", through.position);
        broken(Promise::Durable, "acknowledged", event)
    }

    /// A replica's store carried out a request.
    ///
    /// # Errors
    /// When what it shows is wrong.
    pub fn stored(
        &mut self,
        postgres: &Postgres,
        client: u8,
        request: &StoreRequest,
        before: &Held,
        held: &Held,
    ) -> Checked {
        if let Some(staged) = &held.staged {
            self.note_held(client as usize, staged);
        }
        let scope = &self.clients[client as usize].scope;
        if held.anomalies > before.anomalies && !may_not_fit(postgres, request) {
            let event =
                format!("{} changes did not fit the rows, after {:?}", held.anomalies - before.anomalies, held.shown);
            return broken(Promise::Complete, "anomalies", event);
        }
        if held.shown == before.shown {
            let replaced = matches!(request, StoreRequest::StageSeam { complete: Some(_), .. });
            return match &held.shown {
                _ if held.sum == before.sum => Ok(()),
                // Another snapshot may show a table that was altered since, without a word in the stream.
                Some(shown) if replaced => judge(postgres, shown, held.sum, scope),
                _ => broken(Promise::Atomic, "sum", "what is shown changed although the position stayed".into()),
            };
        }
        let Some(shown) = &held.shown else {
            return broken(Promise::Durable, "position", "a store forgot its position".into());
        };
        if let StoreRequest::ApplyPage { .. } = request {
            self.leads_on(before.shown.as_ref(), shown)?;
        }
        if self.is_lost(shown) {
            return Ok(());
        }
        is_boundary(postgres, shown)?;
        let from = before.shown.filter(|before| before.era == shown.era && !self.is_lost(before));
        if let Some(before) = from
            && shown.position < before.position
        {
            let event = format!("what is shown moved back from {} to {}", before.position, shown.position);
            return broken(Promise::Ordered, "monotone", event);
        }
        if let (StoreRequest::ApplyPage { page }, Some(from)) = (request, from) {
            exactly(postgres, from.position.commit_lsn, shown.position.commit_lsn, page, scope)?;
        }
        judge(postgres, shown, held.sum, scope)
    }

    /// A thin client handed a page over.
    ///
    /// # Errors
    /// When something between its first start and the page is missing.
    pub fn handed_over(&mut self, postgres: &Postgres, client: u8, page: &Page) -> Checked {
        if self.is_lost(&page.through) {
            self.note_held(client as usize, &page.through);
            return Ok(());
        }
        let truth = &mut self.clients[client as usize];
        let mark = truth.thin.get_or_insert(Waypoint { position: page.after, ..page.through });
        if mark.era == page.through.era && page.after > mark.position {
            let event = format!("received {}.. after {}: what lies between is missing", page.after, mark.position);
            return broken(Promise::Complete, "thin", event);
        }
        if mark.era != page.through.era || page.through.position > mark.position {
            *mark = page.through;
        }
        self.note_held(client as usize, &page.through);
        if page.is_piece() || !page.after.is_boundary() {
            return Ok(());
        }
        let first = page.transactions.first().map_or(page.after.commit_lsn, |first| {
            // What the client had already was cut off.
            postgres
                .commits()
                .iter()
                .rev()
                .map(|commit| commit.commit_lsn)
                .find(|lsn| *lsn < first.commit_lsn)
                .unwrap_or(Lsn::ZERO)
        });
        let scope = &self.clients[client as usize].scope;
        exactly(postgres, first.max(page.after.commit_lsn), page.through.position.commit_lsn, page, scope)
    }

    /// A thin client got everything.
    ///
    /// # Errors
    /// When that is not what the tables held.
    pub fn thin_backfilled(&mut self, postgres: &Postgres, client: u8, at: &Waypoint, sum: u128) -> Checked {
        self.note_held(client as usize, at);
        let lost = self.is_lost(at);
        let end = if lost { self.lost.kept_end.unwrap_or(*at) } else { *at };
        let is_old = |mark: Waypoint| mark.era != end.era || mark.position < end.position || self.is_lost(&mark);
        if self.clients[client as usize].thin.is_none_or(is_old) {
            self.clients[client as usize].thin = Some(end);
        }
        if lost {
            return Ok(());
        }
        judge(postgres, at, sum, &self.clients[client as usize].scope)
    }
}

/// Whether changes may not fit the rows: a table was created again, or is published again, with other rows, which the schema of a
/// page does not know of. Of the rows and the seam of a snapshot nobody says which schema they are of.
fn may_not_fit(postgres: &Postgres, request: &StoreRequest) -> bool {
    postgres.has_replaced_rows()
        && match request {
            StoreRequest::ApplyPage { page } => postgres.is_altered_since(&page.through),
            StoreRequest::StageChunk { .. } | StoreRequest::StageSeam { .. } | StoreRequest::ReadHeld => true,
        }
}

fn is_boundary(postgres: &Postgres, shown: &Waypoint) -> Checked {
    if !shown.position.is_boundary() {
        return broken(Promise::Atomic, "boundary", format!("{} is inside a transaction", shown.position));
    }
    if shown.xid.0 == 0 {
        return Ok(()); // An era's start.
    }
    match postgres.commit_at(shown.position.commit_lsn) {
        Some(commit) if commit.xid == shown.xid && commit.committed_at == shown.committed_at => Ok(()),
        _ => broken(Promise::Durable, "boundary", format!("no transaction {} stands at {}", shown.xid, shown.position)),
    }
}

/// A page holds exactly the commits between two places that changed something in scope, each whole.
fn exactly(postgres: &Postgres, after: Lsn, through: Lsn, page: &Page, scope: &Scope) -> Checked {
    let seen = |commit: &Commit| commit.changes.iter().filter(|change| is_in(scope, &change.relation)).count();
    let all = postgres.commits();
    let first = all.partition_point(|commit| commit.commit_lsn <= after);
    let expected = all[first..].iter().take_while(|commit| commit.commit_lsn <= through);
    let expected = expected.filter(|commit| seen(commit) > 0);
    // The last piece of a large transaction is sent even when nothing of it is in scope: it ends the transaction.
    let foreign = |transaction: &Transaction| {
        transaction.changes.is_empty()
            && postgres.commit_at(transaction.commit_lsn).is_some_and(|commit| seen(commit) == 0)
    };
    let mut given = page.transactions.iter().filter(|transaction| !foreign(transaction));
    for commit in expected {
        let Some(transaction) = given.next() else {
            let event = format!("{} is missing between {after} and {through}", commit.commit_lsn);
            return broken(Promise::Complete, "once", event);
        };
        if transaction.commit_lsn != commit.commit_lsn {
            let event = format!("{} came where {} was due", transaction.commit_lsn, commit.commit_lsn);
            return broken(Promise::Ordered, "once", event);
        }
        if transaction.xid != commit.xid {
            let event = format!("{} is said to be {}, not {}", commit.commit_lsn, transaction.xid, commit.xid);
            return broken(Promise::Complete, "xid", event);
        }
        let whole = transaction.first > 0 || transaction.changes.len() == seen(commit);
        if !whole {
            let event = format!("{} has {} of {} changes", commit.commit_lsn, transaction.changes.len(), seen(commit));
            return broken(Promise::Atomic, "once", event);
        }
    }
    match given.next() {
        Some(extra) => {
            let event = format!("{} was applied already, or lies beyond {through}", extra.commit_lsn);
            broken(Promise::Complete, "once", event)
        }
        None => Ok(()),
    }
}

fn judge(postgres: &Postgres, shown: &Waypoint, sum: u128, scope: &Scope) -> Checked {
    match postgres.judge_sum(shown, sum, scope) {
        Verdict::Right | Verdict::Altered => Ok(()),
        Verdict::Wrong { expected } => {
            let event = format!("at {} it shows {sum:x}, the tables held {expected:x}", shown.position);
            broken(Promise::Complete, "sum", event)
        }
    }
}
