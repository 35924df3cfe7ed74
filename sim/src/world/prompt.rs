//! Once everybody rests, a commit is shown, and whoever lost its connection is live again, as soon as the way there allows.
//!
//! What is only found by a timer that asks again, or after a wait that has grown, converges too: here it is late.

mod refused;
mod way;

use super::quiet::{CONVERGE_WITHIN, LOOK_EVERY};
use super::{Event, World};
use crate::chooser::mix;
use crate::entity::Entity;
use crate::log::{Draft, What, words};
use crate::oracle::Promise;
use crate::plan::Size;
use crate::postgres::Write;
use crate::probe::Probe;
use dormouse_core::position::Lsn;
use dormouse_core::time::Timestamp;
use refused::Refused;
use std::time::Duration;

/// What happens, one after the other. The hubs sleep at the first, and are awake at those that follow at once.
const STEPS: [Step; 4] = [Step::Commit, Step::Commit, Step::Cut, Step::Commit];
/// Nothing is tried so shortly before a credential runs out, whose client is then sent away.
const BEFORE_EXPIRY: Duration = Duration::from_secs(1);
/// Keys that rows may have.
const KEYS: u64 = 40;

/// One seed of size S in so many is tried: it would otherwise take as long as a tenth of a run.
const OF: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something is written: every client shows it.
    Commit,
    /// A connection is cut: its client is live again.
    Cut,
}

/// How far the tries have come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Prompt {
    began: Option<Timestamp>,
    tried: usize,
    /// Whether the hubs were left alone before the present step.
    paused: bool,
    /// What must be so by now, and within how long it had to be.
    due: Option<(Due, Duration)>,
    /// The question that is refused once.
    refused: Option<Refused>,
}

#[derive(Debug, Clone, Copy)]
enum Due {
    Shown(Lsn),
    Live(u8),
}

impl Prompt {
    /// Whether anything was tried.
    pub(super) const fn has_begun(&self) -> bool {
        self.began.is_some()
    }
}

impl World {
    /// The world lies still: what remains is to see whether it is prompt.
    pub(super) fn rest_ends(&mut self) {
        // To a search of all ways it would be the same end of each.
        let tried = self.plan.size != Size::S || (mix(self.plan.seed) >> 40).is_multiple_of(OF);
        match tried && !self.chooser.is_exhaustive() {
            true => self.prompt_turns(),
            false => self.finished = true,
        }
    }

    /// What was tried is judged, and the next is tried; the run ends after the last.
    pub(super) fn prompt_turns(&mut self) {
        self.digest.word(20);
        if let Some((due, within)) = self.prompt.due.take() {
            self.judge_prompt(due, within);
        }
        let Some(step) = STEPS.get(self.prompt.tried).copied() else {
            self.hit(Probe::Prompt);
            self.finished = true;
            return;
        };
        if let Some(wait) = self.prompt_waits() {
            return self.plan_in(wait, Event::Prompt);
        }
        let refused = self.refuses(step);
        (self.prompt.tried, self.prompt.refused) = (self.prompt.tried + 1, refused);
        let (shown, live) = (self.shown_within(refused), self.live_within(refused));
        let tried = match step {
            Step::Commit => self.commits_at_rest().map(|at| (Due::Shown(at), shown)),
            Step::Cut => self.cuts_at_rest().map(|client| (Due::Live(client), live)),
        };
        self.prompt.due = tried;
        self.plan_in(tried.map_or(Duration::ZERO, |(_, within)| within), Event::Prompt);
    }

    /// Before one step of a run, another in each, the hubs are left alone until they sleep; and nobody is about to be sent away.
    fn prompt_waits(&mut self) -> Option<Duration> {
        let began = *self.prompt.began.get_or_insert(self.now);
        let paused_at = usize::try_from(mix(self.plan.seed) >> 16).unwrap_or(0) % STEPS.len();
        if self.prompt.tried == paused_at && paused_at > 0 && !std::mem::replace(&mut self.prompt.paused, true) {
            let config = self.plan.hub(0, 0);
            return Some(config.hibernate_after + 2 * config.save_positions_every + self.plan.client(0).ack_every);
        }
        let sound = self.network.connections.values().filter(|connection| connection.is_sound());
        let expires = sound.filter_map(|connection| connection.credential_until).min();
        let expires = expires.is_some_and(|at| at < self.now + BEFORE_EXPIRY);
        let straggler = self.straggler();
        if let (Some((entity, why)), true) = (&straggler, self.now.since(began) > CONVERGE_WITHIN) {
            self.violate(Promise::Converges, "converges", *entity, why.clone());
        }
        (expires || straggler.is_some()).then_some(LOOK_EVERY)
    }

    fn judge_prompt(&mut self, due: Due, within: Duration) {
        let late = match due {
            Due::Shown(last) => (0..self.plan.size.clients()).find_map(|client| {
                let shown = self.shown(client).map_or(Lsn::ZERO, |shown| shown.position.commit_lsn);
                (shown < last).then(|| (client, format!("shows {shown}, {within:?} after the commit at {last}")))
            }),
            Due::Live(client) if self.clients[client as usize].live => None,
            Due::Live(client) => Some((client, format!("is not live {within:?} after its connection was cut"))),
        };
        if let Some((client, how)) = late {
            let event = format!("client/{client} {how}, although everybody has come to rest");
            self.violate(Promise::Converges, "prompt", Entity::Client(client), event);
        }
    }

    /// Somebody writes one row. `None` when no table can be written.
    fn commits_at_rest(&mut self) -> Option<Lsn> {
        let value = mix(self.plan.seed ^ self.prompt.tried as u64);
        let tx = self.postgres.begin();
        let tables = self.postgres.tables();
        let mut all = (0..KEYS).flat_map(|n| (0..tables).map(move |table| (n, table)));
        let written = all.find_map(|(n, table)| {
            let (key, value) = ((value % KEYS + n) % KEYS, value % 1_000_000);
            let insert = Write::Insert { table, key, value };
            let update = Write::Update { table, key, value, large: false };
            [insert, update].into_iter().find(|write| self.postgres.write(tx, *write).is_ok())
        });
        let Some(write) = written else {
            self.postgres.abort(tx);
            return None;
        };
        self.log.add(|_| words::written(0, &write));
        let committed = self.postgres.commit(self.now, tx)?;
        self.log.add(|_| words::committed(0, &committed));
        self.postgres.make_visible(tx);
        Some(committed.commit_lsn)
    }

    /// A connection is lost, and both sides are told.
    fn cuts_at_rest(&mut self) -> Option<u8> {
        let client = u8::try_from(mix(self.plan.seed) >> 32 & 0xff).unwrap_or(0) % self.plan.size.clients();
        let (id, _) = self.network.connections.of(client).find(|(_, connection)| connection.is_sound())?;
        self.log.add(|_| Draft::new(Entity::Client(client), What::Note, "its connection is cut".into()));
        self.clients[client as usize].live = false;
        self.cut(id, true);
        Some(client)
    }
}
