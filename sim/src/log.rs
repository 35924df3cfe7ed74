//! What happened, as people read it: who did what, which message links whom, and what the machines held by then.
//!
//! Nothing is made unless somebody wants to read it: every entry is made by a closure, and a log that is off costs one test.

mod entry;
mod names;
mod state;
pub mod words;

pub use entry::{Draft, Entry, Link, LinkId, What};
pub use names::Names;
pub use state::{State, state};

use crate::entity::Entity;
use dormouse_core::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// The most entries that are kept; the oldest go first.
pub const ENTRIES_MAX: usize = 400_000;
/// The most states of machines that are kept; the oldest go first.
pub const STATES_MAX: usize = 4_000;

/// What happened in a run, kept only when somebody wants to read it.
#[derive(Debug, Clone, Default)]
pub struct Log {
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Clone, Default)]
struct Kept {
    now: Timestamp,
    event: u64,
    entries: VecDeque<Entry>,
    dropped: u64,
    states: VecDeque<State>,
    /// From which event on states are kept.
    states_from: Option<u64>,
    links: u32,
    /// Sent, and not received yet.
    under_way: BTreeMap<Link, VecDeque<LinkId>>,
    /// What arrives with the next input of this event.
    arriving: Option<(u64, LinkId)>,
    names: Names,
}

impl Log {
    /// A log that keeps what happens.
    #[must_use]
    pub fn kept() -> Self {
        Self { kept: Some(Box::default()) }
    }

    /// A log that also keeps the states of the machines from an event on.
    #[must_use]
    pub fn kept_with_states(from: u64) -> Self {
        Self { kept: Some(Box::new(Kept { states_from: Some(from), ..Kept::default() })) }
    }

    /// Whether anybody reads it.
    #[inline]
    #[must_use]
    pub const fn wanted(&self) -> bool {
        self.kept.is_some()
    }

    /// An event begins.
    #[inline]
    pub fn turn(&mut self, now: Timestamp, event: u64) {
        if let Some(kept) = &mut self.kept {
            (kept.now, kept.event) = (now, event);
        }
    }

    /// Adds what happened.
    #[inline]
    pub fn add(&mut self, make: impl FnOnce(&Names) -> Draft) {
        if let Some(kept) = &mut self.kept {
            let draft = make(&kept.names);
            kept.add(draft);
        }
    }

    /// The last entry of this lane in this event sends something; an entry is made for it when there is none.
    #[inline]
    pub fn sends(&mut self, lane: Entity, make: impl FnOnce() -> Link) {
        if let Some(kept) = &mut self.kept {
            kept.sends(lane, make());
        }
    }

    /// Something that was sent arrives, with the next input of this event.
    #[inline]
    pub fn arrives(&mut self, make: impl FnOnce() -> Link) {
        if let Some(kept) = &mut self.kept
            && let Some(link) = kept.received(&make())
        {
            kept.arriving = Some((kept.event, link));
        }
    }

    /// Adds a remark to the last entry of this lane in this event.
    #[inline]
    pub fn remark(&mut self, lane: Entity, remark: &str) {
        if let Some(kept) = &mut self.kept {
            let event = kept.event;
            if let Some(entry) = kept
                .entries
                .iter_mut()
                .rev()
                .find(|entry| entry.lane == lane && entry.event == event && entry.what.is_step())
            {
                entry.words = format!("{} ({})", entry.words, remark);
            }
        }
    }

    /// A session belongs to a client.
    #[inline]
    pub fn names(&mut self, serial: u64, client: Entity) {
        if let Some(kept) = &mut self.kept {
            kept.names.session(serial, client);
        }
    }

    /// Takes these for the clients behind sessions from now on, and no others.
    pub(crate) fn know(&mut self, names: Names) {
        if let Some(kept) = &mut self.kept {
            kept.names = names;
        }
    }

    /// The clients behind sessions, as far as they are known.
    pub(crate) fn known(&self) -> &Names {
        static NOBODY: Names = Names::nobody();
        self.kept.as_ref().map_or(&NOBODY, |kept| &kept.names)
    }

    /// Whether the states of machines are wanted by now.
    #[inline]
    #[must_use]
    pub fn keeps_states(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.states_from.is_some_and(|from| kept.event >= from))
    }

    /// Keeps the state of a machine, when states are wanted by now.
    #[inline]
    pub fn state(&mut self, lane: Entity, make: impl FnOnce() -> serde_json::Value) {
        if let Some(kept) = &mut self.kept
            && kept.states_from.is_some_and(|from| kept.event >= from)
        {
            if kept.states.len() == STATES_MAX {
                kept.states.pop_front();
            }
            kept.states.push_back(State { event: kept.event, lane, value: make() });
        }
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        static NONE: VecDeque<Entry> = VecDeque::new();
        self.kept.as_ref().map_or(&NONE, |kept| &kept.entries).iter()
    }

    /// The states that were kept, oldest first.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        self.kept.iter().flat_map(|kept| kept.states.iter())
    }

    /// How many entries were too many to keep.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.dropped)
    }

    /// The entries as lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.entries().map(ToString::to_string).collect()
    }
}

impl Kept {
    fn add(&mut self, draft: Draft) {
        let sends = draft.sends.into_iter().map(|link| self.sent(link)).collect();
        let mut receives = draft.receives.and_then(|link| self.received(&link));
        if receives.is_none() && draft.what.takes_what_arrives() {
            receives = self.arriving.take().filter(|(event, _)| *event == self.event).map(|(_, link)| link);
        }
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(Entry {
            at: self.now,
            event: self.event,
            lane: draft.lane,
            what: draft.what,
            words: draft.words,
            raw: draft.raw,
            sends,
            receives,
            minor: draft.minor,
        });
    }

    fn sends(&mut self, lane: Entity, link: Link) {
        let words = link.words();
        let link = self.sent(link);
        let event = self.event;
        let last = self.entries.iter_mut().rev().take_while(|entry| entry.event == event);
        let last = last.into_iter().find(|entry| entry.lane == lane && entry.what.is_step());
        if let Some(entry) = last {
            entry.sends.push(link);
            return;
        }
        self.add(Draft::new(lane, What::Sent, words.into()).minor());
        if let Some(entry) = self.entries.back_mut() {
            entry.sends.push(link);
        }
    }

    fn sent(&mut self, link: Link) -> LinkId {
        self.links += 1;
        let id = LinkId(self.links);
        self.under_way.entry(link).or_default().push_back(id);
        id
    }

    fn received(&mut self, link: &Link) -> Option<LinkId> {
        let waiting = self.under_way.get_mut(link)?;
        let id = waiting.pop_front();
        if waiting.is_empty() {
            self.under_way.remove(link);
        }
        id
    }
}
