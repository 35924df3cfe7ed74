//! Durable, on the server's side: nothing is announced, covered or confirmed ahead of what is in history.

use super::{Checked, Oracle, Promise, broken};
use crate::plan::Limits;
use crate::postgres::Postgres;
use dormouse_core::change::{Page, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::history::Announcement;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{Fenced, NoteAttempt, RecordPage, Recorded, SaveCovered};

impl Oracle {
    /// A replicator announces.
    ///
    /// # Errors
    /// When history does not hold what is announced.
    pub fn announced(&self, postgres: &Postgres, announcement: &Announcement) -> Checked {
        let head = &announcement.head;
        if postgres.era() != Some(head.era()) {
            return Ok(()); // A replicator that was replaced, and a hub that will find out.
        }
        let after = Lsn(head.position().commit_lsn.0 + 1);
        if let Some(missing) = postgres.unrecorded_below(after) {
            let event = format!("announced {}, but {} is not in history", head.position(), missing.commit_lsn);
            return broken(Promise::Durable, "announced", event);
        }
        if let Some(missing) = postgres.unrecorded_below(head.covered) {
            let event = format!("covered {} is announced, but {} is not in history", head.covered, missing.commit_lsn);
            return broken(Promise::Durable, "covered", event);
        }
        Ok(())
    }

    /// A confirmation takes effect.
    ///
    /// # Errors
    /// When Postgres may now forget what is not durably in history, or not known to be.
    pub fn confirmed(&self, postgres: &Postgres, lsn: Lsn) -> Checked {
        if let Some(missing) = postgres.unrecorded_below(lsn) {
            let event = format!("confirmed {lsn}, but {} is not in history", missing.commit_lsn);
            return broken(Promise::Durable, "confirmed", event);
        }
        let covered = postgres.head().map_or(Lsn::ZERO, |head| head.covered);
        if lsn > covered {
            let event = format!("confirmed {lsn}, but covered is durable to {covered} only");
            return broken(Promise::Durable, "confirmed", event);
        }
        Ok(())
    }

    /// An append took effect, or did not.
    ///
    /// # Errors
    /// When something is in history twice, out of order, or with a hole inside a transaction.
    pub fn recorded(&mut self, postgres: &Postgres, ask: &RecordPage, reply: &Result<Recorded, Failure>) -> Checked {
        if !matches!(reply, Ok(Recorded::Recorded { .. })) {
            return Ok(());
        }
        within_limits(postgres, &ask.page, self.limits)?;
        in_noted_shapes(postgres, &ask.page)?;
        for transaction in &ask.page.transactions {
            let at = transaction.commit_lsn;
            as_committed(postgres, &ask.page, transaction)?;
            if self.recorded.is_some_and(|(era, last)| era == ask.era && last >= at) {
                let event = format!("{at} is appended to history again, or too late");
                return broken(Promise::Complete, "history", event);
            }
            let next = match self.piece {
                Some((era, lsn, next)) if era == ask.era && lsn == at => next,
                _ => 0,
            };
            if transaction.first != next {
                let event = format!("piece {} of {at} is appended where {next} was due", transaction.first);
                return broken(Promise::Complete, "history", event);
            }
            let changes = u32::try_from(transaction.changes.len()).unwrap_or(u32::MAX);
            if transaction.complete {
                (self.recorded, self.piece) = (Some((ask.era, at)), None);
            } else {
                self.piece = Some((ask.era, at, transaction.first + changes));
            }
        }
        Ok(())
    }

    /// The pieces that no transaction's row finishes were deleted.
    pub const fn leftovers_deleted(&mut self) {
        self.piece = None;
    }

    /// An attempt at a transaction was counted, or was not.
    ///
    /// # Errors
    /// When no holder of the lease has ended since the last transaction was recorded: each count stands for an end.
    pub fn attempted(&self, postgres: &Postgres, ask: &NoteAttempt, reply: &Result<Fenced<u32>, Failure>) -> Checked {
        let at = ask.commit_lsn;
        let is_next = postgres.head().is_some_and(|head| head.position().commit_lsn < at);
        // What was recorded late, after its era had been given up, tells nobody that it was.
        let is_next = is_next && self.recorded.is_some_and(|(era, _)| Some(era) == postgres.era());
        if matches!(reply, Ok(Fenced::Done(_))) && is_next && postgres.unclean_ends() == 0 && self.is_all_kept() {
            let event =
                format!("an attempt at {at} is counted, and nobody has ended since what is before it was recorded");
            return broken(Promise::Converges, "attempts", event);
        }
        Ok(())
    }

    /// An idle advance was saved, or was not.
    ///
    /// # Errors
    /// When it covers what is not in history.
    pub fn covered_saved(
        &self,
        postgres: &Postgres,
        ask: &SaveCovered,
        reply: &Result<Fenced<()>, Failure>,
    ) -> Checked {
        if !matches!(reply, Ok(Fenced::Done(()))) || postgres.era() != Some(ask.era) {
            return Ok(());
        }
        match postgres.unrecorded_below(ask.covered) {
            Some(missing) => {
                let event = format!("covered {} is saved, but {} is not in history", ask.covered, missing.commit_lsn);
                broken(Promise::Durable, "covered", event)
            }
            None => Ok(()),
        }
    }
}

/// What is appended is what the application committed, in the shape that the catalogue had then.
fn as_committed(postgres: &Postgres, page: &Page, transaction: &Transaction) -> Checked {
    let at = transaction.commit_lsn;
    let wrong = |what: &str| broken(Promise::Complete, "as committed", format!("{at} is appended with another {what}"));
    let Some(commit) = postgres.commit_at(at) else { return Ok(()) }; // A failover has lost it, and its era ends.
    if transaction.committed_at != commit.committed_at {
        return wrong("time");
    }
    if transaction.complete && transaction.end_lsn != commit.end_lsn {
        return wrong("end");
    }
    for (change, decoded) in transaction.changes.iter().zip(commit.changes.iter().skip(transaction.first as usize)) {
        if *change != decoded.change {
            return wrong("change");
        }
        // A shape that an earlier page of this era brought need not come again.
        if page.relation(change.relation()).is_some_and(|relation| **relation != *decoded.relation) {
            return wrong("shape");
        }
    }
    Ok(())
}

/// Tables are looked at before changes in another shape are recorded: who takes a snapshot at the schema of before must not be sent them.
fn in_noted_shapes(postgres: &Postgres, page: &Page) -> Checked {
    if postgres.alterations().is_empty() {
        return Ok(());
    }
    let Some(noted) = postgres.noted_at(&page.through) else { return Ok(()) };
    for transaction in &page.transactions {
        let told = transaction.changes.iter().filter_map(|change| page.relation(change.relation()));
        for relation in told {
            if postgres.shaped_by(relation, transaction.commit_lsn) > noted {
                let event =
                    format!("{} is appended in a shape of {} that is not noted", transaction.commit_lsn, relation.name);
                return broken(Promise::Ordered, "noted shape", event);
            }
        }
    }
    Ok(())
}

/// A page keeps to its limits, and no transaction is cut that need not be.
fn within_limits(postgres: &Postgres, page: &Page, limits: Limits) -> Checked {
    let (changes, weight) = (page.changes(), page.weight());
    let (changes_max, bytes_max) = (limits.changes as usize, limits.recorded_bytes as usize);
    if changes > 1 && (changes > changes_max || weight > bytes_max) {
        let event = format!("{changes} changes that weigh {weight} are appended in one page");
        return broken(Promise::Bounded, "page", event);
    }
    let Some(piece) = page.transactions.first().filter(|piece| !piece.complete) else { return Ok(()) };
    let next =
        postgres.commit_at(piece.commit_lsn).and_then(|commit| commit.changes.get(piece.first as usize + changes));
    if next.is_some_and(|next| changes < changes_max && weight + next.change.weight() <= bytes_max) {
        let event = format!("a piece of {changes} changes that weighs {weight} is appended, which is no whole page");
        return broken(Promise::Bounded, "piece", event);
    }
    Ok(())
}
