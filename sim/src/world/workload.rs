//! The applications that write to the database: transactions that interleave, large ones, and commits that stay invisible.

use super::{Event, World};
use crate::chooser::{Kind, per_mille};
use crate::entity::{Entity, NODES};
use crate::log::words;
use crate::plan::{Family, PAGE_CHANGES, Plan};
use crate::postgres::{TxId, Write, WriteError};
use crate::probe::Probe;
use crate::scenario::{Script, Verb};
use dormouse_core::time::Timestamp;
use std::time::Duration;

const LAG_US: &[u64] = &[0, 10_000, 60_000, 250_000];
const TABLES: u64 = 2;
const KEYS: u64 = 10;
/// The fewest changes of a huge transaction: more pages than a hub keeps.
pub(super) const HUGE: u64 = 60;
/// How often a transaction that outlasts others looks whether it has.
const OUTLASTS: Duration = Duration::from_millis(20);
/// How long nobody begins a transaction after commits that overtook one that is not visible.
const CROWDED: Duration = Duration::from_millis(250);
const INVISIBLE_US: &[u64] = &[0, 5_000, 60_000, 400_000, 1_500_000];

#[derive(Debug, Clone, Default)]
struct Writer {
    transaction: Option<TxId>,
    changes_left: u64,
    /// How many transactions it has begun.
    begun: u32,
    /// It commits only once there are so many commits.
    until: usize,
}

/// What the applications have done and will do.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    writers: Vec<Writer>,
    transactions_left: u32,
    values: u64,
    /// No transaction begins before.
    rest_until: Timestamp,
    /// Commits that are not visible yet, in commit order.
    invisible: Vec<TxId>,
}

impl Workload {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            writers: vec![Writer::default(); plan.size.writers() as usize],
            transactions_left: plan.transactions,
            values: 0,
            rest_until: Timestamp::ZERO,
            invisible: Vec::new(),
        }
    }

    /// How many transactions each writer has begun.
    pub(super) fn begun(&self) -> impl Iterator<Item = u32> {
        self.writers.iter().map(|writer| writer.begun)
    }

    /// Whether a commit is not visible yet.
    pub(super) const fn has_invisible(&self) -> bool {
        !self.invisible.is_empty()
    }

    /// Whether everything is written, and visible.
    pub(super) fn is_done(&self) -> bool {
        self.transactions_left == 0
            && self.invisible.is_empty()
            && self.writers.iter().all(|writer| writer.transaction.is_none())
    }
}

impl World {
    pub(super) fn begin_workload(&mut self) {
        for writer in 0..self.plan.size.writers() {
            let after = self.draw(writer, 400);
            self.plan_in(Duration::from_millis(after), Event::Writes { writer });
        }
    }

    fn draw(&mut self, writer: u8, bound: u64) -> u64 {
        self.chooser.draw(Kind::Work, Entity::Writer(writer), bound)
    }

    /// A writer takes its next step: begin, write, or commit.
    pub(super) fn writes(&mut self, writer: u8) {
        self.digest.word(16);
        let Writer { transaction, changes_left, .. } = self.workload.writers[writer as usize];
        let Some(tx) = transaction else { return self.begin_transaction(writer) };
        if self.postgres.open().all(|open| open != tx) {
            self.workload.writers[writer as usize].transaction = None; // Postgres restarted and rolled it back.
            return self.rest(writer);
        }
        if changes_left == 0 {
            if self.postgres.commits().len() < self.workload.writers[writer as usize].until
                && !self.others_are_done(writer)
            {
                return self.plan_in(OUTLASTS, Event::Writes { writer });
            }
            return self.end_transaction(writer, tx);
        }
        // A large transaction writes several changes in a row.
        let run = if changes_left > 6 { 4 } else { 1 };
        for _ in 0..run.min(changes_left) {
            self.write_something(writer, tx);
        }
        self.workload.writers[writer as usize].changes_left -= run.min(changes_left);
        let gap = if self.plan.has(Family::Overlap) { self.draw(writer, 120_000) } else { self.draw(writer, 2_000) };
        self.plan_in(Duration::from_micros(gap), Event::Writes { writer });
    }

    fn begin_transaction(&mut self, writer: u8) {
        if self.workload.transactions_left == 0 {
            return;
        }
        if self.window.is_some() {
            return self.plan_in(super::quiet::LOOK_EVERY, Event::Writes { writer });
        }
        if self.now < self.workload.rest_until {
            return self.queue.push(self.workload.rest_until, Event::Writes { writer });
        }
        self.workload.transactions_left -= 1;
        let huge = self.plan.has(Family::Huge) && self.draw(writer, 8) == 0;
        let large = self.plan.has(Family::Large) && self.draw(writer, 4) == 0;
        let changes = match large {
            _ if huge => HUGE + self.draw(writer, 2 * HUGE),
            true => u64::from(PAGE_CHANGES) + self.draw(writer, 3 * u64::from(PAGE_CHANGES)),
            false => 1 + self.draw(writer, 4),
        };
        let tx = self.postgres.begin();
        let begun = self.workload.writers[writer as usize].begun + 1;
        let script = self.script();
        let n = self.plan.transactions - self.workload.transactions_left - 1;
        let told = script.map_or(&[][..], |script| script.sizes);
        let told = if told.is_empty() { None } else { told.get(n as usize % told.len()) };
        let changes = told.copied().unwrap_or(changes);
        let outlasts = script.filter(|_| (writer, begun) == (0, 1)).map_or(0, |script| script.outlasts as usize);
        let until = if outlasts == 0 { 0 } else { self.postgres.commits().len() + outlasts };
        self.workload.writers[writer as usize] = Writer { transaction: Some(tx), changes_left: changes, begun, until };
        self.queue.push(self.now, Event::Writes { writer });
    }

    fn script(&self) -> Option<&'static Script> {
        self.plan.held().map(|held| &held.script)
    }

    /// Whether nobody else will commit anything.
    fn others_are_done(&self, writer: u8) -> bool {
        let mut others = self.workload.writers.iter().enumerate().filter(|(n, _)| *n != writer as usize);
        self.workload.transactions_left == 0 && others.all(|(_, other)| other.transaction.is_none())
    }

    fn end_transaction(&mut self, writer: u8, tx: TxId) {
        self.workload.writers[writer as usize].transaction = None;
        let rolled_back = (writer, self.workload.writers[writer as usize].begun - 1);
        let rolls_back = self.draw(writer, 16) == 0 && self.plan.scenario.is_none();
        if rolls_back || self.plan.rolled_back.contains(&rolled_back) {
            self.postgres.abort(tx);
            self.log.add(|_| words::rolled_back(writer));
        } else if let Some(committed) = self.postgres.commit(self.now, tx) {
            self.log.add(|_| words::committed(writer, &committed));
            self.saw_commit(tx, &committed);
            self.workload.invisible.push(tx);
            let weight = if self.plan.has(Family::Invisible) { per_mille(400) } else { 0 };
            let held = self.choose(Kind::HeldInvisible, Entity::Writer(writer), INVISIBLE_US.len() as u64, weight);
            if held == 0 {
                self.visible(tx);
            } else {
                self.hit(Probe::CommitInvisible);
                self.crowd(writer);
                let micros = INVISIBLE_US[usize::try_from(held).unwrap_or(0)];
                self.plan_in(Duration::from_micros(micros), Event::Visible { tx });
            }
        }
        self.rest(writer);
    }

    /// Around a commit that is not visible yet: others commit soon after it, and then nobody for a while, so that it is younger than
    /// all that has ended; and the stream may lag.
    fn crowd(&mut self, writer: u8) {
        if self.draw(writer, 2) == 0 {
            self.workload.rest_until = self.now + CROWDED;
            for other in &mut self.workload.writers {
                other.changes_left = other.changes_left.min(1);
            }
        }
        for node in 0..NODES {
            let lag = self.choose(Kind::StreamLag, Entity::Replication(node), LAG_US.len() as u64, per_mille(400));
            if lag != 0 {
                let until = self.now + Duration::from_micros(LAG_US[usize::try_from(lag).unwrap_or(0)]);
                self.replications[node as usize].lags_until = until;
            }
        }
    }

    pub(super) fn visible(&mut self, tx: TxId) {
        if self.workload.invisible.first().is_some_and(|first| *first != tx) {
            self.hit(Probe::VisibleOutOfOrder);
        }
        self.workload.invisible.retain(|other| *other != tx);
        let xid = self.log.wanted().then(|| self.postgres.assign_xid(tx)).flatten();
        if self.postgres.make_visible(tx) {
            self.log.add(|_| words::visible(xid));
        }
    }

    /// All that was invisible has become visible, by a restart of Postgres.
    pub(super) fn all_visible(&mut self) {
        self.workload.invisible.clear();
    }

    fn rest(&mut self, writer: u8) {
        let rests = self.plan.has(Family::Idle) && self.draw(writer, 5) == 0;
        let gap = if rests { 800 + self.draw(writer, 2_000) } else { 5 + self.draw(writer, 500) };
        let told = self.script().map_or(0, |script| script.gap_ms);
        let gap = if told == 0 { gap } else { told };
        self.plan_in(Duration::from_millis(gap), Event::Writes { writer });
    }

    fn write_something(&mut self, writer: u8, tx: TxId) {
        // Where the number of changes matters, each must take effect.
        let tries = if self.script().is_some_and(|script| !script.sizes.is_empty()) { 60 } else { 4 };
        for _ in 0..tries {
            let write = self.draw_write(writer);
            match self.postgres.write(tx, write) {
                Ok(()) => {
                    self.log.add(|_| words::written(writer, &write));
                    return self.truncate_with(writer, tx, write);
                }
                Err(WriteError::Ended | WriteError::NoSuchTable) => return,
                Err(WriteError::Locked | WriteError::NoSuchRow | WriteError::RowExists) => {}
            }
        }
    }

    /// One `TRUNCATE` names several tables: the stream tells them in one message.
    fn truncate_with(&mut self, writer: u8, tx: TxId, write: Write) {
        let Write::Truncate { table } = write else { return };
        if !self.plan.has(Family::Together) {
            return;
        }
        let write = Write::Truncate { table: 1 - table };
        if self.postgres.write(tx, write).is_ok() {
            self.hit(Probe::TruncatedTogether);
            self.log.add(|_| words::written(writer, &write));
        }
    }

    fn draw_write(&mut self, writer: u8) -> Write {
        #[expect(clippy::cast_possible_truncation, reason = "there are a few tables")]
        let table = self.draw(writer, TABLES) as usize;
        let key = self.draw(writer, KEYS);
        self.workload.values += 1;
        let value = self.workload.values;
        let verbs = self.script().map_or(&[][..], |script| script.verbs);
        let verb = self.draw(writer, 40);
        let told = verbs.get(usize::try_from(verb).unwrap_or(0) % verbs.len().max(1));
        let verb = match told {
            None => verb,
            Some(Verb::Insert) => 0,
            Some(Verb::Update) => 16,
            Some(Verb::Delete) => 26,
            Some(Verb::Move) => 33,
            Some(Verb::Truncate) => 39,
        };
        match verb {
            0..=15 => Write::Insert { table, key, value },
            16..=25 => Write::Update { table, key, value, large: value.is_multiple_of(2) },
            26..=32 => Write::Delete { table, key },
            33..=38 => Write::Move { table, key, to: self.draw(writer, KEYS), value },
            _ => Write::Truncate { table },
        }
    }
}
