//! Bounded and Scoped, on one connection: what the present life of its hub has sent and not heard of, and what it said twice.

use super::{Checked, Promise, broken};
use crate::plan::{CHUNKS, WINDOW_BYTES, WINDOW_PAGES};
use dormouse_core::change::{Page, RelationId};
use dormouse_core::position::Position;
use dormouse_core::row::Row;
use dormouse_core::session::BackfillId;
use dormouse_core::wire::{ClientMessage, ServerMessage};
use std::collections::{BTreeSet, VecDeque};

/// What one life of a hub has sent on a connection.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Pages without an acknowledgement: where each ends, and how many bytes of rows it has.
    pages: VecDeque<(Position, u64)>,
    /// The backfill that goes on, and how many of its messages are staged.
    backfill: Option<(BackfillId, u32)>,
    /// The shapes that it told.
    told: BTreeSet<RelationId>,
}

impl Sent {
    /// A hub sends a message.
    ///
    /// # Errors
    /// When more is under way than the window allows, a page is counted as less than its rows, or a shape is told twice.
    pub fn sends(&mut self, message: &ServerMessage) -> Checked {
        match message {
            ServerMessage::Page(page) => self.page(page),
            ServerMessage::Chunk { backfill, n, .. } | ServerMessage::Seam { backfill, n, .. } => {
                self.backfills(*backfill, *n)
            }
            ServerMessage::Schema(relation) if !self.told.insert(relation.id) => {
                broken(Promise::Bounded, "told once", format!("the shape of {} is told again", relation.name))
            }
            ServerMessage::Resync { .. } => {
                *self = Self::default();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn page(&mut self, page: &Page) -> Checked {
        let changes = page.transactions.iter().flat_map(|transaction| transaction.changes.iter());
        let bytes = changes.filter_map(crate::postgres::row_of).map(|row: &Row| row.bytes().len() as u64).sum();
        if (page.weight() as u64) < bytes {
            let event = format!("a page with {bytes} bytes of rows counts as {}", page.weight());
            return broken(Promise::Bounded, "weight", event);
        }
        let before: u64 = self.pages.iter().map(|(_, bytes)| bytes).sum();
        if self.pages.len() >= WINDOW_PAGES as usize || before >= WINDOW_BYTES {
            let event = format!("a page is sent while {} with {before} bytes are under way", self.pages.len());
            return broken(Promise::Bounded, "window", event);
        }
        self.pages.push_back((page.through.position, bytes));
        Ok(())
    }

    fn backfills(&mut self, backfill: BackfillId, n: u32) -> Checked {
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
    pub fn hears(&mut self, message: &ClientMessage) {
        match (message, &mut self.backfill) {
            (ClientMessage::Ack { through }, _) => self.pages.retain(|(page, _)| *page > through.position),
            (ClientMessage::Staged { backfill, n }, Some((of, staged))) if of == backfill => {
                *staged = (*staged).max(n.saturating_add(1));
            }
            _ => {}
        }
    }

    /// Whether everything that was sent was acknowledged.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pages.is_empty()
    }
}
