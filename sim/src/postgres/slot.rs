//! The replication slot and its stream: whole transactions in commit order, from what was confirmed.

use super::outdated::{self, Catalogue};
use super::tables::Table;
use super::{Postgres, pgoutput, unavailable};
use bytes::Bytes;
use dormouse_core::change::{Change, RelationId};
use dormouse_core::fault::Failure;
use dormouse_core::pgoutput::Translator;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{CreateSlot, Fenced, ReadSource, StartStream};
use dormouse_core::source::{SlotState, SourceItem};
use dormouse_core::xid::Xid;
use std::collections::BTreeMap;

/// After so many reads that a slot's decoder failed the source drops the slot.
const UNDECODED_MAX: u32 = 3;

/// Names one opening of the stream. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) confirmed: Lsn,
    /// What a crash leaves of `confirmed`: Postgres writes it down at checkpoints.
    pub(super) saved: Lsn,
    pub(super) usable: bool,
    /// By what its rows are decoded.
    pub(super) catalogue: Catalogue,
    /// How often that failed.
    pub(super) undecoded: u32,
}

/// A walsender: where it is in the commits, and in the one it is sending.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    id: StreamId,
    commit: usize,
    begun: bool,
    change: usize,
    /// The shape last sent of each table, by name.
    pub(super) shapes: BTreeMap<String, RelationId>,
    /// The runtime's end of it, which knows the shapes that it was told.
    translator: Translator,
}

impl Postgres {
    /// Answers [`CreateSlot`]: everything that commits from now on is decoded, whole.
    ///
    /// Postgres creates a slot only once all transactions that ran when it was asked to have ended, those among them whose commit
    /// is not visible yet. The caller waits for that: [`Postgres::slot_waits`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_create_slot(&mut self, ask: &CreateSlot) -> Result<Fenced<Lsn>, Failure> {
        if !self.holds_lease(ask.token) {
            return Ok(Fenced::Superseded);
        }
        self.stream = None;
        self.advance_wal(64); // The record of the running transactions.
        let confirmed = self.insert_lsn();
        let catalogue = self.slot.take().map_or(Catalogue::Current, |slot| slot.catalogue.ready(&self.tables));
        self.slot = Some(Slot { confirmed, saved: confirmed, usable: true, catalogue, undecoded: 0 });
        Ok(Fenced::Done(confirmed))
    }

    /// Creating the slot begins: the old one is gone, the new one is there and cannot be used. `Some` when it waits until nothing
    /// [runs since](Postgres::runs_since) that id; `None` when [`Postgres::ask_create_slot`] is answered at once.
    pub fn slot_waits(&mut self, ask: &CreateSlot) -> Option<Xid> {
        let until = self.next_xid();
        if !self.holds_lease(ask.token) || !self.runs_since(until) {
            return None;
        }
        self.stream = None;
        let catalogue = Catalogue::Creating(None, false);
        self.slot = Some(Slot { confirmed: Lsn::ZERO, saved: Lsn::ZERO, usable: false, catalogue, undecoded: 0 });
        Some(until)
    }

    /// Answers [`StartStream`]; an older stream ends. The source has given up a slot that could not be decoded.
    ///
    /// # Errors
    /// When there is no usable slot.
    pub fn ask_start_stream(&mut self, ask: &StartStream) -> Result<StreamId, Failure> {
        if self.slot.as_ref().is_some_and(|slot| slot.undecoded >= UNDECODED_MAX) {
            self.drop_slot();
        }
        let Some(slot) = self.slot.as_ref().filter(|slot| slot.usable) else {
            return unavailable("there is no usable replication slot");
        };
        self.streams_started += 1;
        let id = StreamId(self.streams_started);
        let commit = self.wal.first_at(slot.confirmed.max(ask.from));
        self.stream = Some(Stream {
            id,
            commit,
            begun: false,
            change: 0,
            shapes: BTreeMap::new(),
            translator: Translator::default(),
        });
        Ok(id)
    }

    /// Whether a read of this stream would return something, if only a failure.
    #[must_use]
    pub fn stream_ready(&self, id: StreamId) -> bool {
        self.stream.as_ref().filter(|stream| stream.id == id).is_none_or(|s| s.commit < self.wal.commits().len())
    }

    /// Takes what the stream has, within the limits. Empty when there is nothing yet; a read may end between any two items.
    ///
    /// # Errors
    /// When the stream is gone.
    pub fn ask_read_source(&mut self, id: StreamId, ask: &ReadSource) -> Result<Vec<SourceItem>, Failure> {
        let read = self.read_stream(id, ask);
        if let (Err(why), Some(slot)) = (&read, &mut self.slot)
            && *why == outdated::undecodable()
        {
            slot.undecoded += 1;
        }
        read
    }

    fn read_stream(&mut self, id: StreamId, ask: &ReadSource) -> Result<Vec<SourceItem>, Failure> {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.id == id) else {
            return unavailable("the replication connection is gone");
        };
        let odd = self.config.odd_shapes;
        let Stream { commit: at, begun, change, shapes, translator, .. } = stream;
        let catalogue = self.slot.as_ref().map_or(&Catalogue::Current, |slot| &slot.catalogue);
        let (mut items, mut changes, mut bytes) = (Vec::new(), 0, 0);
        while let Some(commit) = self.wal.commits().get(*at) {
            if !std::mem::replace(begun, true) {
                pgoutput::begin(commit, odd, |message| hear(translator, message, &self.tables, &mut items))?;
            }
            while let Some(decoded) = commit.changes.get(*change) {
                if changes >= ask.changes_max.max(1) || bytes >= ask.bytes_max.max(1) as usize {
                    return Ok(items);
                }
                let Some(decoded) = catalogue.tells(decoded, &self.tables)? else {
                    *change += 1;
                    continue;
                };
                let table = pgoutput::table_of(&decoded.relation, &self.tables);
                let name = decoded.relation.full_name();
                let shape = shapes.get(&name);
                if shape != Some(&decoded.relation.id) {
                    shapes.insert(name, decoded.relation.id);
                    pgoutput::relation(table, &decoded.relation, |message| {
                        hear(translator, message, &self.tables, &mut items)
                    })?;
                }
                if let Change::Truncate { .. } = decoded.change {
                    // One statement names all that it empties, and their shapes stand before it.
                    let rest = commit.changes[*change..].iter();
                    let together: Vec<_> =
                        rest.take_while(|next| matches!(next.change, Change::Truncate { .. })).collect();
                    for next in &together {
                        let (table, id) = (pgoutput::table_of(&next.relation, &self.tables), next.relation.id);
                        if shapes.insert(next.relation.full_name(), id) != Some(id) {
                            pgoutput::relation(table, &next.relation, |message| {
                                hear(translator, message, &self.tables, &mut items)
                            })?;
                        }
                    }
                    let oids = together.iter().map(|next| pgoutput::table_of(&next.relation, &self.tables).oid());
                    hear(translator, &pgoutput::truncate(oids), &self.tables, &mut items)?;
                    for next in &together {
                        shapes.remove(&next.relation.full_name()); // Postgres forgets that it told the shape, and tells it again.
                    }
                    (changes, *change) =
                        (changes + u32::try_from(together.len()).unwrap_or(u32::MAX), *change + together.len());
                    continue;
                }
                hear(translator, &pgoutput::change(table, &decoded), &self.tables, &mut items)?;
                (changes, bytes) = (changes + 1, bytes + decoded.change.weight());
                *change += 1;
            }
            hear(translator, &pgoutput::commit(commit), &self.tables, &mut items)?;
            (*at, *begun, *change) = (*at + 1, false, 0);
        }
        Ok(items)
    }

    /// A keepalive: all commits below its `wal_end` were sent on this stream.
    ///
    /// # Errors
    /// When the stream is gone.
    pub fn keepalive(&self, id: StreamId) -> Result<SourceItem, Failure> {
        let Some(stream) = self.stream.as_ref().filter(|stream| stream.id == id) else {
            return unavailable("the replication connection is gone");
        };
        let unsent = self.wal.commits().get(stream.commit);
        Ok(SourceItem::Keepalive { wal_end: unsent.map_or(self.flushed_lsn(), |commit| commit.commit_lsn) })
    }

    /// Carries out [`dormouse_core::replication::Output::Confirm`] on a stream; ignored when that is gone.
    pub fn confirm(&mut self, id: StreamId, lsn: Lsn) {
        let flushed = self.flushed_lsn();
        if let (Some(stream), Some(slot)) = (&self.stream, &mut self.slot)
            && stream.id == id
        {
            slot.confirmed = slot.confirmed.max(lsn.min(flushed));
        }
    }

    /// Carries out [`dormouse_core::replication::Output::StopStream`], or ends a walsender from outside.
    pub fn stop_stream(&mut self, id: StreamId) {
        if self.stream.as_ref().is_some_and(|stream| stream.id == id) {
            self.stream = None;
        }
    }

    /// The stream that is open.
    #[must_use]
    pub fn open_stream(&self) -> Option<StreamId> {
        Some(self.stream.as_ref()?.id)
    }

    /// What the slot has confirmed. `None` without a slot.
    #[must_use]
    pub fn confirmed(&self) -> Option<Lsn> {
        Some(self.slot.as_ref()?.confirmed)
    }

    pub(super) fn slot_state(&self) -> Option<SlotState> {
        self.slot.as_ref().map(|slot| SlotState { confirmed: slot.confirmed, usable: slot.usable })
    }
}

/// What the runtime does with a message: it asks the catalogue for the key where the stream does not tell it, and translates.
fn hear(
    translator: &mut Translator,
    message: &Bytes,
    tables: &[Table],
    items: &mut Vec<SourceItem>,
) -> Result<(), Failure> {
    if let Some(oid) = Translator::needs_keys(message)
        && let Some(table) = tables.iter().find(|table| table.oid() == oid)
    {
        if tells_key(message) {
            return Err(Failure::Refused("the catalogue is asked for a key that the stream tells".into()));
        }
        translator.set_keys(oid, table.keys());
    }
    let refused = |why| Failure::Refused(format!("the stream could not be decoded ({why})"));
    translator.translate(message, items).map_err(refused)
}

/// Whether the key of a shape stands in the message that tells it: its replica identity is not FULL.
fn tells_key(shape: &[u8]) -> bool {
    let names = shape.get(5..).unwrap_or_default();
    let identity = names.split(|byte| *byte == 0).nth(2).and_then(|rest| rest.first());
    identity.is_some_and(|identity| *identity != b'f')
}
