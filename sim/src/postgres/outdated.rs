//! What a slot's decoder knows of the catalogue, and how a slot is settled.
//!
//! While a slot waits for transactions, Postgres' decoder keeps the catalogue that it knew at the first write it met. What is altered,
//! published or stored anew meanwhile stays unknown to it until the next change of the catalogue commits, and what was written before
//! that is decoded by the old one even then.

use super::pgoutput::is_same;
use super::tables::Table;
use super::wal::Decoded;
use super::{Postgres, unavailable};
use dormouse_core::change::{Change, Relation};
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{Fenced, SettleSlot};
use dormouse_core::row::Row;
use dormouse_core::xid::Xid;
use std::borrow::Cow;
use std::sync::Arc;

/// A table, as a decoder knows it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    relation: Arc<Relation>,
    published: bool,
    relfilenode: u32,
}

/// What a decoder makes of the rows of a table that it knows as it was.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It is not published.
    Untold,
    /// Its file is none that the decoder knows: the stream fails.
    Undecodable,
    /// It has these columns.
    Cut(Arc<Relation>),
}

/// The catalogue that a slot's decoder goes by.
#[derive(Debug, Clone, Default)]
pub(super) enum Catalogue {
    /// The one that was in force at each write.
    #[default]
    Current,
    /// The slot is being created: what was known at the first write, and whether the catalogue changed since.
    Creating(Option<Vec<Known>>, bool),
    /// An older one, for what was written before `until`.
    Outdated { fates: Vec<Option<Fate>>, until: Option<Lsn> },
}

impl Catalogue {
    /// A slot is ready: what its decoder will make of these tables.
    pub(super) fn ready(self, tables: &[Table]) -> Self {
        let Self::Creating(Some(known), true) = self else { return Self::Current };
        let fates: Vec<_> = known.iter().zip(tables).map(|(known, table)| known.fate(table)).collect();
        if fates.iter().all(Option::is_none) { Self::Current } else { Self::Outdated { fates, until: None } }
    }

    /// Whether rows may be told wrongly.
    pub(super) const fn is_outdated(&self) -> bool {
        matches!(self, Self::Outdated { until: None, .. })
    }

    /// What the stream tells of a change. `None` when nothing.
    pub(super) fn tells<'a>(
        &self,
        decoded: &'a Decoded,
        tables: &[Table],
    ) -> Result<Option<Cow<'a, Decoded>>, Failure> {
        let Self::Outdated { fates, until } = self else { return Ok(Some(Cow::Borrowed(decoded))) };
        let table = tables.iter().position(|table| is_same(&table.relation, &decoded.relation));
        let fate = table.and_then(|n| fates[n].as_ref());
        match fate {
            Some(_) if until.is_some_and(|until| decoded.at >= until) => Ok(Some(Cow::Borrowed(decoded))),
            None => Ok(Some(Cow::Borrowed(decoded))),
            Some(Fate::Untold) => Ok(None),
            Some(Fate::Undecodable) => Err(undecodable()),
            Some(Fate::Cut(relation)) => Ok(Some(Cow::Owned(cut(decoded, relation)))),
        }
    }
}

/// What the stream fails with at a row in a file that its decoder does not know.
pub(super) fn undecodable() -> Failure {
    Failure::Unavailable("could not map filenode to a relation".into())
}

impl Known {
    pub(super) fn of(table: &Table) -> Self {
        let (relation, published) = (Arc::clone(&table.relation), table.published);
        Self { relation, published, relfilenode: table.relfilenode() }
    }

    fn fate(&self, table: &Table) -> Option<Fate> {
        let (known, now) = (&self.relation.columns, &table.relation.columns);
        if table.published && !self.published {
            Some(Fate::Untold)
        } else if table.relfilenode() != self.relfilenode {
            Some(Fate::Undecodable)
        } else {
            (known.len() < now.len()).then(|| Fate::Cut(Arc::clone(&self.relation)))
        }
    }
}

/// A change as a decoder tells it that knows fewer columns.
fn cut(decoded: &Decoded, relation: &Arc<Relation>) -> Decoded {
    let columns = relation.columns.len();
    let cut = |row: &Row| Row::of(row.values().take(columns));
    let id = relation.id;
    let change = match &decoded.change {
        Change::Insert { row, .. } => Change::Insert { relation: id, row: cut(row) },
        Change::Update { row, .. } => Change::Update { relation: id, row: cut(row) },
        Change::Move { old_key, row, .. } => Change::Move { relation: id, old_key: old_key.clone(), row: cut(row) },
        Change::Delete { key, .. } => Change::Delete { relation: id, key: key.clone() },
        Change::Truncate { .. } => Change::Truncate { relation: id },
    };
    Decoded { relation: Arc::clone(relation), change, old: decoded.old.as_ref().map(cut), at: decoded.at }
}

impl Postgres {
    /// Something is written: if a slot is being created, this is by what its decoder will go.
    pub(super) fn met_by_decoder(&mut self) {
        if let Some(slot) = &mut self.slot
            && let Catalogue::Creating(known @ None, _) = &mut slot.catalogue
        {
            *known = Some(self.tables.iter().map(Known::of).collect());
        }
    }

    /// A change of the catalogue commits: whatever is written from now on is decoded by it.
    pub(super) fn catalogue_changes(&mut self) {
        let now = self.insert_lsn();
        match self.slot.as_mut().map(|slot| &mut slot.catalogue) {
            Some(Catalogue::Creating(_, changed)) => *changed = true,
            Some(Catalogue::Outdated { until: until @ None, .. }) => *until = Some(now),
            _ => {}
        }
    }

    /// Whether a slot is being created, and waits.
    #[must_use]
    pub fn creates_slot(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| matches!(slot.catalogue, Catalogue::Creating(..)))
    }

    /// Whether the slot's decoder goes by an outdated catalogue.
    #[must_use]
    pub fn decodes_by_an_outdated_catalogue(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.usable && slot.catalogue.is_outdated())
    }

    /// Settling the slot begins: the catalogue is changed. `Some` when it waits until nothing [runs since](Postgres::runs_since) that
    /// id; `None` when [`Postgres::ask_settle_slot`] is answered at once.
    pub fn settle_waits(&mut self, ask: &SettleSlot) -> Option<Xid> {
        if !self.holds_lease(ask.token) || self.slot.as_ref().is_none_or(|slot| !slot.usable) {
            return None;
        }
        self.own_write();
        self.catalogue_changes();
        let until = self.next_xid();
        self.runs_since(until).then_some(until)
    }

    /// Answers [`SettleSlot`], once nothing runs any more that ran when it began.
    ///
    /// # Errors
    /// When there is no usable slot.
    pub fn ask_settle_slot(&mut self, ask: &SettleSlot) -> Result<Fenced<Lsn>, Failure> {
        if !self.holds_lease(ask.token) {
            return Ok(Fenced::Superseded);
        }
        self.stream = None;
        self.own_write();
        let end = self.flushed_lsn();
        let Some(slot) = self.slot.as_mut().filter(|slot| slot.usable) else {
            return unavailable("there is no usable replication slot");
        };
        slot.confirmed = slot.confirmed.max(end);
        Ok(Fenced::Done(slot.confirmed))
    }
}
