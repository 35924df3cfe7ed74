//! Bounded and Scoped, on one connection: what the present life of its hub has sent and not heard of, and what it said twice.

use super::{Checked, Promise, broken};
use crate::plan::CHUNKS;
use dormouse_core::change::{Page, RelationId};
use dormouse_core::position::{Era, Position, SchemaVersion, Waypoint};
use dormouse_core::row::Row;
use dormouse_core::session::BackfillId;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ClientMessage, ServerMessage};
use std::collections::{BTreeSet, VecDeque};

/// What one life of a hub has sent on a connection.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Pages without an acknowledgement: where each ends, and how many bytes of rows it has.
    pages: VecDeque<(Position, u64)>,
    /// The backfill that goes on, and how many of its messages are staged.
    backfill: Option<(BackfillId, u32)>,
    /// Whether the client has not staged all of it, or not shown what is complete.
    unstaged: bool,
    /// Where it is complete, once that was told.
    complete: Option<Waypoint>,
    /// The shapes that it told since everything came again last.
    told: BTreeSet<RelationId>,
    /// All that it told.
    known: BTreeSet<RelationId>,
    /// Whether pages follow, so that a backfill must be told first.
    on_pages: bool,
    /// Whether this life has welcomed the session, so that no earlier one can have sent it anything.
    welcomed: bool,
    /// The next message of the backfill.
    next: Option<(BackfillId, u32)>,
    /// When the client last acknowledged something that was under way.
    progressed: Option<Timestamp>,
}

impl Sent {
    /// A hub sends a message, on a connection with a window of so many pages and bytes.
    ///
    /// # Errors
    /// When more is under way than the window allows, a page is counted as less than its rows, or a shape is told twice.
    pub fn sends(&mut self, message: &ServerMessage, window: (u32, u64)) -> Checked {
        self.is_told(message)?;
        match message {
            ServerMessage::Welcome { from, .. } => {
                (self.on_pages, self.welcomed) = (from.is_some(), true);
                Ok(())
            }
            ServerMessage::Page(page) => {
                self.on_pages = true;
                self.page(page, window)
            }
            ServerMessage::Chunk { .. } | ServerMessage::Seam { .. } if self.on_pages => {
                let event = "everything is sent again, and the client was not told why".into();
                broken(Promise::Complete, "resync told", event)
            }
            ServerMessage::Chunk { backfill, n, .. } | ServerMessage::Seam { backfill, n, .. } => {
                self.unstaged = true;
                if let ServerMessage::Seam { complete: Some(complete), .. } = message {
                    self.complete = Some(*complete);
                }
                self.backfills(*backfill, *n)
            }
            ServerMessage::Schema(relation) if !self.told.insert(relation.id) => {
                broken(Promise::Bounded, "told once", format!("the shape of {} is told again", relation.name))
            }
            ServerMessage::Resync { .. } => {
                let welcomed = self.welcomed;
                *self = Self { known: std::mem::take(&mut self.known), welcomed, ..Self::default() };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What a message speaks of was told before it.
    fn is_told(&mut self, message: &ServerMessage) -> Checked {
        let (one, many) = match message {
            ServerMessage::Schema(relation) => {
                self.known.insert(relation.id);
                return Ok(());
            }
            ServerMessage::Chunk { chunk, .. } => (Some(&chunk.relation), &[][..]),
            ServerMessage::Page(page) | ServerMessage::Seam { page: Some(page), .. } => (None, &page.relations[..]),
            _ => return Ok(()),
        };
        match one.into_iter().chain(many).find(|relation| !self.known.contains(&relation.id)) {
            None => Ok(()),
            Some(relation) => {
                let event = format!("rows of {} are sent, and its shape was not told before", relation.name);
                broken(Promise::Complete, "told first", event)
            }
        }
    }

    fn page(&mut self, page: &Page, (window_pages, window_bytes): (u32, u64)) -> Checked {
        let changes = page.transactions.iter().flat_map(|transaction| transaction.changes.iter());
        let bytes = changes.filter_map(crate::postgres::row_of).map(|row: &Row| row.bytes().len() as u64).sum();
        if (page.weight() as u64) < bytes {
            let event = format!("a page with {bytes} bytes of rows counts as {}", page.weight());
            return broken(Promise::Bounded, "weight", event);
        }
        let before: u64 = self.pages.iter().map(|(_, bytes)| bytes).sum();
        if self.pages.len() >= window_pages as usize || before >= window_bytes {
            let event = format!("a page is sent while {} with {before} bytes are under way", self.pages.len());
            return broken(Promise::Bounded, "window", event);
        }
        self.pages.push_back((page.through.position, bytes));
        Ok(())
    }

    fn backfills(&mut self, backfill: BackfillId, n: u32) -> Checked {
        self.next = Some((backfill, n.saturating_add(1)));
        let staged = match self.backfill {
            Some((of, staged)) if of == backfill => staged,
            _ => {
                self.backfill = Some((backfill, 0));
                0
            }
        };
        if n >= staged + CHUNKS {
            let event = format!("message {n} of a backfill is sent, of which {staged} are staged");
            return broken(Promise::Bounded, "chunks", event);
        }
        Ok(())
    }

    /// A client's message reaches the hub.
    pub fn hears(&mut self, message: &ClientMessage, now: Option<Timestamp>) {
        match (message, &mut self.backfill) {
            (ClientMessage::Ack { through }, _) => {
                let before = self.pages.len();
                self.pages.retain(|(page, _)| *page > through.position);
                if !self.pages.is_empty() && self.pages.len() < before {
                    self.progressed = now.or(self.progressed);
                }
                // What was complete before everything came again is acknowledged, perhaps, while the next is under way; even at the same
                // place, where the schema number tells them apart.
                let of = |at: Waypoint| (at.era, at.schema) == (through.era, through.schema);
                if self.complete.is_some_and(|at| of(at) && at.position <= through.position) {
                    self.unstaged = false;
                }
            }
            (ClientMessage::Staged { backfill, n }, Some((of, staged))) if of == backfill => {
                *staged = (*staged).max(n.saturating_add(1));
            }
            _ => {}
        }
    }

    /// Whether this life has welcomed the session.
    #[must_use]
    pub const fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// The next message of the backfill that goes on.
    #[must_use]
    pub const fn next(&self) -> Option<(BackfillId, u32)> {
        self.next
    }

    /// When the client last acknowledged a part of what was under way.
    #[must_use]
    pub const fn progressed(&self) -> Option<Timestamp> {
        self.progressed
    }

    /// Whether everything that was sent was acknowledged.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pages.is_empty()
    }

    /// Whether a client has anything to answer: a page, or a message of a backfill.
    #[must_use]
    pub fn awaits_client(&self) -> bool {
        !self.pages.is_empty() || self.backfill.is_some_and(|_| self.unstaged)
    }
}

/// A page is sent on a connection whose session stands in this era and schema.
///
/// # Errors
/// When it is of another.
pub fn of_session(stands: Option<(Era, SchemaVersion)>, message: &ServerMessage) -> Checked {
    let (Some(stands), ServerMessage::Page(page)) = (stands, message) else { return Ok(()) };
    if stands == (page.through.era, page.through.schema) {
        return Ok(());
    }
    let event =
        format!("a page of {:?} {:?} is sent to a session of {stands:?}", page.through.era, page.through.schema);
    broken(Promise::Ordered, "of its session", event)
}
