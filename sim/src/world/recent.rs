//! The hot path of a hub does nothing twice: what it was just announced is not read from history, nor made ready anew for a scope.

use super::World;
use crate::entity::Entity;
use crate::oracle::Promise;
use crate::plan::Family;
use dormouse_core::ask::Answer;
use dormouse_core::change::{Page, Scope};
use dormouse_core::history::{Announcement, Head, HistoryRead, ReadHistory};
use dormouse_core::hub::{Hub, Input};
use dormouse_core::position::Waypoint;
use dormouse_core::wire::ServerMessage;
use std::collections::VecDeque;
use std::sync::Arc;

/// A hub may forget what it made of a page for so many scopes.
const SCOPES: usize = 16;

/// What one life of a hub was announced, as far as it must remember it: pages that chain, up to the last announcement.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    pages: VecDeque<Announced>,
    bytes: u64,
    /// The furthest head that it was told of, whoever told it.
    head: Option<Head>,
    /// It is answered what it read from history, and sends that.
    passes_on: bool,
}

#[derive(Debug, Clone)]
struct Announced {
    page: Arc<Page>,
    /// Nobody was known to follow the end of history when it came, so nobody was already about to read what it holds.
    is_news: bool,
    /// What was made of it for each scope, and the connection that was sent it first: a scope that nobody has is forgotten.
    made: Vec<Made>,
}

#[derive(Debug, Clone)]
struct Made {
    scope: Scope,
    message: Arc<ServerMessage>,
    connection: u64,
}

impl Recent {
    fn forget(&mut self) {
        self.pages.clear();
        self.bytes = 0;
    }

    /// It hears of a head.
    fn learn(&mut self, head: &Head) {
        let further = |known: &Head| known.era() != head.era() || known.position() < head.position();
        if self.head.as_ref().is_none_or(further) {
            self.head = Some(*head);
        }
    }

    /// A page is announced that follows the last, or begins anew.
    fn push(&mut self, page: &Arc<Page>, (pages_max, bytes_max): (usize, u64)) {
        let last = self.pages.back().map(|last| last.page.through);
        if last.is_some_and(|last| last.position != page.after || !is_alike(&last, &page.through)) {
            self.forget();
        }
        let is_news =
            self.head.is_some_and(|head| head.position() == page.after && is_alike(&head.waypoint, &page.through));
        self.bytes += page.weight() as u64;
        self.pages.push_back(Announced { page: Arc::clone(page), is_news, made: Vec::new() });
        while self.pages.len() > 1 && (self.pages.len() > pages_max || self.bytes > bytes_max) {
            let first = self.pages.pop_front();
            self.bytes -= first.map_or(0, |first| first.page.weight() as u64);
        }
    }

    /// The page with which what follows a place begins.
    fn after(&self, read: &ReadHistory) -> Option<&Announced> {
        let next = self.pages.iter().find(|next| next.page.through.position > read.after)?;
        let follows = next.page.after == read.after || (next.page.after < read.after && read.after.is_boundary());
        (follows && next.page.through.era == read.era).then_some(next)
    }
}

/// Whether two places are of one era and one schema.
fn is_alike(one: &Waypoint, other: &Waypoint) -> bool {
    (one.era, one.schema) == (other.era, other.schema)
}

/// The head of which an answer tells.
fn told(input: &Input) -> Option<Head> {
    match input {
        Input::HeadRead(Answer { reply: Ok(head), .. }) => Some(*head),
        Input::PositionJudged(Answer { reply: Ok(judged), .. }) => Some(judged.head),
        Input::HistoryRead(Answer { reply: Ok(read), .. }) => match read {
            HistoryRead::Page { head, .. }
            | HistoryRead::End { head }
            | HistoryRead::Pruned { head }
            | HistoryRead::OtherEra { head } => Some(*head),
        },
        _ => None,
    }
}

impl World {
    /// Whether what hubs remember of announcements can be told from outside: nothing that was in history is gone, and no search of
    /// all ways would be kept from seeing that two states are equal.
    fn tells_recent(&self) -> bool {
        !self.chooser.is_exhaustive() && !self.plan.has(Family::Restore) && self.oracle.is_all_kept()
    }

    /// A hub is about to hear something.
    pub(super) fn note_heard(&mut self, hub: u8, input: &Input) {
        if self.tells_recent() {
            self.hubs[hub as usize].recent.passes_on = matches!(input, Input::HistoryRead(_));
        }
    }

    /// The present life of a hub is about to be answered.
    pub(super) fn note_answer(&mut self, hub: u8, input: &Input) {
        if let Some(head) = told(input).filter(|_| self.tells_recent()) {
            self.hubs[hub as usize].recent.learn(&head);
        }
    }

    /// A hub is about to hear an announcement.
    pub(super) fn note_announced(&mut self, hub: u8, announcement: &Announcement) {
        if !self.tells_recent() {
            return;
        }
        let config = self.plan.hub(hub, 0);
        let present = self.postgres.head();
        let host = &mut self.hubs[hub as usize];
        // Before it knows the head a hub keeps nothing.
        let recent = &mut host.recent;
        let known = recent.head.is_some();
        let through = announcement.head.position();
        let is_old = recent.pages.back().is_some_and(|last| last.page.through.position >= through);
        match &announcement.page {
            _ if is_old => {}
            Some(page) if known && present.is_some_and(|head| is_alike(&head.waypoint, &page.through)) => {
                recent.push(page, (config.ring_pages_max, config.ring_bytes_max));
            }
            _ => recent.forget(),
        }
        if known {
            recent.learn(&announcement.head);
        }
    }

    /// It has heard the announcement: where nobody is left who follows, a hub keeps nothing.
    pub(super) fn note_followed(&mut self, hub: u8) {
        let host = &mut self.hubs[hub as usize];
        let sessions = host.machine.as_ref().map(Hub::sessions).unwrap_or_default();
        if sessions.greeted + sessions.backfill + sessions.catch_up + sessions.live == 0 {
            host.recent.forget();
        }
    }

    /// A hub reads history: not what it was just announced.
    pub(super) fn judge_read(&mut self, hub: u8, read: &ReadHistory) {
        if read.until.is_some() || !self.tells_recent() {
            return;
        }
        let present = self.postgres.head();
        let is_present = |next: &&Announced| present.is_some_and(|head| is_alike(&head.waypoint, &next.page.through));
        let next = self.hubs[hub as usize].recent.after(read).filter(|next| next.is_news).filter(is_present);
        if let Some(next) = next {
            let (after, through) = (read.after, next.page.through.position);
            let event = format!("reads history after {after}, and was just announced the page through {through}");
            self.violate(Promise::Bounded, "recent", Entity::Hub(hub), event);
        }
    }

    /// A hub sends a page to a client: the very message that it made for others of this scope, so that it is encoded once.
    pub(super) fn judge_made(&mut self, hub: u8, connection: u64, message: &Arc<ServerMessage>) {
        let ServerMessage::Page(page) = &**message else { return };
        let Some(client) = self.network.connections.get(connection).map(|connection| connection.client) else { return };
        if !self.tells_recent() || self.hubs[hub as usize].recent.passes_on || self.plan.is_attacker(client) {
            return;
        }
        let made = Made { scope: self.plan.scope(client), message: Arc::clone(message), connection };
        let (connections, recent) = (&self.network.connections, &mut self.hubs[hub as usize].recent);
        let is_this = |kept: &&mut Announced| (kept.page.after, kept.page.through) == (page.after, page.through);
        let Some(kept) = recent.pages.iter_mut().find(is_this) else { return };
        let of_gone = |kept: &Made| connections.get(kept.connection).is_none_or(|connection| !connection.server_open);
        kept.made.retain(|kept| !of_gone(kept));
        let before = kept.made.iter().find(|kept| kept.scope == made.scope);
        let again = before.is_some_and(|before| !Arc::ptr_eq(&before.message, message)) && kept.made.len() < SCOPES;
        if before.is_none() {
            kept.made.push(made);
        }
        if again {
            let event = format!("makes the page through {} again for the same scope", page.through.position);
            self.violate(Promise::Bounded, "made once", Entity::Hub(hub), event);
        }
    }
}
