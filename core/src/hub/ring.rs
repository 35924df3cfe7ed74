//! The recent pages, shared by all sessions: what a session that falls behind a little catches up from without a read.

use super::Config;
use super::shapes::{ScopeId, Scopes};
use crate::change::{Page, Relation, Scope};
use crate::position::{Position, Waypoint};
use crate::wire::ServerMessage;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A page cut to one scope, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parcel {
    pub message: Arc<ServerMessage>,
    pub relations: Arc<[Arc<Relation>]>,
    pub through: Waypoint,
    pub bytes: u64,
}

impl Parcel {
    pub fn new(page: &Arc<Page>, scope: &Scope) -> Self {
        let page = scope.cut(page);
        Self {
            relations: Arc::clone(&page.relations),
            through: page.through,
            bytes: page.weight() as u64,
            message: Arc::new(ServerMessage::Page(page)),
        }
    }
}

/// Parcels of one page, made when the first session of a scope needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cuts {
    page: Arc<Page>,
    parcels: BTreeMap<ScopeId, Parcel>,
}

/// The most parcels that are kept of one page.
const PARCELS_MAX: usize = 16;

impl Cuts {
    pub fn new(page: Arc<Page>) -> Self {
        Self { page, parcels: BTreeMap::new() }
    }

    pub fn parcel(&mut self, id: ScopeId, scopes: &Scopes) -> &Parcel {
        if self.parcels.len() >= PARCELS_MAX && !self.parcels.contains_key(&id) {
            self.parcels.clear(); // Many scopes: a page for one is made again rather than kept for all.
        }
        self.parcels.entry(id).or_insert_with(|| Parcel::new(&self.page, &scopes.get(id)))
    }
}

/// Recent pages that chain without a hole. Each has a sequence number that is never used again.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    first: u64,
    bytes: u64,
    end: Option<Position>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    after: Position,
    through: Position,
    bytes: u64,
    cuts: Cuts,
}

impl Ring {
    /// Adds a page; what does not chain with it, and what is too much, is dropped. Returns its sequence number.
    pub fn push(&mut self, page: &Arc<Page>, config: &Config) -> u64 {
        if self.end != Some(page.after) {
            self.restart(None);
        }
        let bytes = page.weight() as u64;
        let (after, through) = (page.after, page.through.position);
        self.entries.push_back(Entry { after, through, bytes, cuts: Cuts::new(Arc::clone(page)) });
        self.bytes += bytes;
        self.end = Some(through);
        while self.entries.len() > 1
            && (self.entries.len() > config.ring_pages_max || self.bytes > config.ring_bytes_max)
        {
            self.drop_first();
        }
        self.first + self.entries.len() as u64 - 1
    }

    /// Drops everything: what comes next follows `end`.
    pub fn restart(&mut self, end: Option<Position>) {
        while !self.entries.is_empty() {
            self.drop_first();
        }
        self.end = end;
    }

    fn drop_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.bytes;
            self.first += 1;
        }
    }

    /// The sequence number of the page to send to a session that was sent all up to `sent`.
    pub fn after(&self, sent: Position) -> Option<u64> {
        let n = self.entries.partition_point(|entry| entry.through <= sent);
        let entry = self.entries.get(n)?;
        let follows = entry.after == sent || (entry.after < sent && sent.is_boundary());
        follows.then_some(self.first + n as u64)
    }

    /// A page for one scope.
    pub fn parcel(&mut self, sequence: u64, id: ScopeId, scopes: &Scopes) -> Option<&Parcel> {
        let n = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        Some(self.entries.get_mut(n)?.cuts.parcel(id, scopes))
    }

    /// What was announced last.
    pub const fn end(&self) -> Option<Position> {
        self.end
    }

    /// How many bytes are kept.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether pages chain and are counted rightly.
    pub fn is_sound(&self) -> bool {
        let chained = self.entries.iter().zip(self.entries.iter().skip(1)).all(|(a, b)| a.through == b.after);
        let counted = self.entries.iter().map(|entry| entry.bytes).sum::<u64>() == self.bytes;
        let ended = self.entries.back().is_none_or(|entry| self.end == Some(entry.through));
        chained && counted && ended
    }
}
