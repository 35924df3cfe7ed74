//! Random walks: a small database that fails, loses answers, answers late and is taken over; nothing may be lost or promised early.

use super::rig::{begin, changes, commit, evidence, keepalive, shape, tables};
use crate::ask::{Ask, Incarnation, Question};
use crate::fault::Failure;
use crate::history::Head;
use crate::machine::Machine;
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use crate::replication::*;
use crate::rng::Rng;
use crate::source::{Fingerprints, SlotState, SourceItem};
use crate::time::Timestamp;
use crate::xid::Xid;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const REFERENCE: Xid = Xid(5_000);

/// What is durable.
#[derive(Debug)]
struct World {
    rng: Rng,
    /// Whether anything goes wrong.
    calm: bool,
    /// Commit LSN to the number of changes.
    source: BTreeMap<u64, usize>,
    wal_end: u64,
    slot: Option<u64>,
    token: u64,
    progress: Option<Progress>,
    /// Commit LSN to the changes recorded, complete transactions of this era only.
    history: BTreeMap<u64, usize>,
    appended: Position,
    pieces: usize,
    tables: Fingerprints,
    /// What the open stream has still to deliver, and where it has read to.
    stream: Option<(VecDeque<SourceItem>, u64)>,
    eras: u32,
    /// Commits above belong to the era.
    era_start: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            calm: false,
            source: BTreeMap::new(),
            wal_end: 100,
            slot: None,
            token: 0,
            progress: None,
            history: BTreeMap::new(),
            appended: Position::ZERO,
            pieces: 0,
            tables: tables(&["id"]),
            stream: None,
            eras: 0,
            era_start: 0,
        }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        !self.calm && self.rng.below(one_in) == 0
    }

    fn fenced<T>(&self, token: Token, value: impl FnOnce() -> T) -> Fenced<T> {
        if token.0 == self.token { Fenced::Done(value()) } else { Fenced::Superseded }
    }

    /// Somebody commits: at times right where the last record ended, at times after other WAL.
    fn commit(&mut self) {
        let at = self.wal_end + 8 * self.rng.below(3);
        let size = [0, 1, 1, 2, 3, 4, 5, 9, 14][usize::try_from(self.rng.below(9)).expect("small")];
        self.source.insert(at, size);
        self.wal_end = at + 8;
    }

    /// The transactions that commit from here on, and the mark that they were sent.
    fn items(&self, from: u64) -> VecDeque<SourceItem> {
        let transactions = self.source.range(from..);
        let transactions = transactions
            .flat_map(|(&at, &size)| [vec![begin(at, 4_000)], changes(size), vec![commit(at + 8)]].concat());
        transactions.chain([keepalive(self.wal_end)]).collect()
    }

    fn start_stream(&mut self, question: &StartStream) -> Reply<StartStream> {
        let Some(slot) = self.slot else { return Err(Failure::Unavailable("no slot".into())) };
        let mut items = self.items(slot.max(question.from.0));
        items.push_front(SourceItem::Relation(shape(1)));
        self.stream = Some((items, self.wal_end));
        Ok(())
    }

    fn state(&self) -> SourceState {
        let slot = self.slot.map(|lsn| SlotState { confirmed: Lsn(lsn), usable: true });
        SourceState { evidence: evidence(), slot, fingerprints: self.tables.clone() }
    }

    fn begin_era(&mut self, question: &BeginEra) -> Head {
        self.eras += 1;
        let position = Position::after(Lsn(question.start.0 - 1));
        let schema = SchemaVersion(self.progress.as_ref().map_or(1, |progress| progress.head.schema().0));
        let era = Era { counter: self.eras, id: 1 };
        let waypoint = Waypoint { era, schema, position, ..Waypoint::default() };
        let head = Head { waypoint, covered: question.start };
        self.era_start = question.start.0 - 1;
        let fingerprints = question.fingerprints.clone();
        self.progress = Some(Progress { head, evidence: question.evidence.clone(), fingerprints });
        (self.history, self.appended, self.pieces) = (BTreeMap::new(), position, 0);
        head
    }

    fn record(&mut self, question: &RecordPage) -> Recorded {
        if question.token.0 != self.token {
            return Recorded::Superseded;
        }
        let Some(progress) = &mut self.progress else { panic!("a page is recorded in an era") };
        if question.era != progress.head.era() || question.expect != self.appended {
            return Recorded::AlreadyAt { position: self.appended, reference: REFERENCE };
        }
        for transaction in &question.page.transactions {
            assert_eq!(transaction.first as usize, self.pieces, "pieces follow each other");
            self.pieces += transaction.changes.len();
            if transaction.complete {
                assert!(self.history.insert(transaction.commit_lsn.0, self.pieces).is_none(), "recorded twice");
                self.pieces = 0;
                let (position, xid) = (Position::after(transaction.commit_lsn), Xid(4_000));
                let (era, schema) = (progress.head.era(), progress.head.schema());
                progress.head.waypoint = Waypoint { era, schema, position, xid, committed_at: CommitTime(5) };
                progress.head.covered = progress.head.covered.max(transaction.end_lsn);
            }
        }
        self.appended = question.page.through.position;
        Recorded::Recorded { reference: REFERENCE }
    }

    fn raise(&mut self, question: &RaiseSchema) -> Fenced<SchemaVersion> {
        let progress = self.progress.as_mut().expect("there is an era");
        let became = SchemaVersion(question.from.0 + u32::from(question.reason.is_some()));
        let here = progress.head.schema();
        let again = here == became && progress.fingerprints == question.fingerprints;
        let follows = here == question.from && progress.fingerprints == question.noted;
        if progress.head.era() != question.era || (!follows && !again) {
            return Fenced::Superseded;
        }
        progress.fingerprints.clone_from(&question.fingerprints);
        progress.head.waypoint.schema = became;
        Fenced::Done(became)
    }

    fn read(&mut self, question: &ReadSource) -> Reply<ReadSource> {
        let more = self.stream.as_ref().map(|(_, read)| self.items(*read));
        let most = 1 + self.rng.below(u64::from(question.changes_max));
        let most = usize::try_from(most).expect("small");
        let Some((items, read)) = &mut self.stream else { return Err(Failure::Unavailable("no stream".into())) };
        if items.is_empty() {
            *items = more.expect("the stream is open");
            *read = self.wal_end;
        }
        Ok(items.drain(..most.min(items.len())).collect())
    }

    /// What history must hold below an LSN.
    fn committed_below(&self, lsn: u64) -> BTreeMap<u64, usize> {
        let era = self.source.range(self.era_start + 1..lsn.max(self.era_start + 1));
        era.filter(|(_, size)| **size > 0).map(|(at, size)| (*at, *size)).collect()
    }
}

type Reply<Q> = Result<<Q as Question>::Reply, Failure>;

/// The machine in its world.
struct Walk {
    world: World,
    machine: Replication,
    now: Timestamp,
    lives: u64,
    open: Vec<Output>,
    /// The greatest covered that was announced since somebody asked.
    told: Option<Head>,
    wanted: u64,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let (world, now) = (World::new(seed), Timestamp::from_millis(1));
        let machine = Replication::new(Config::default());
        let mut walk = Self { world, machine, now, lives: 0, open: Vec::new(), told: None, wanted: 0 };
        walk.begin_life();
        walk
    }

    /// The process ended, and another begins. What it had asked for may still take effect.
    fn begin_life(&mut self) {
        self.stop_stream();
        self.lives += 1;
        let config = Config {
            page_changes_max: 4,
            attempts_max: u32::MAX,
            seed: self.lives,
            idle_save_bytes: 64,
            inspect_every: Duration::from_millis(500),
            ..Config::default()
        };
        self.machine = Replication::new(config);
        self.tell(Input::Started { incarnation: Incarnation(self.lives) });
    }

    fn stop_stream(&mut self) {
        self.world.stream = None;
        self.open.retain(|ask| !matches!(ask, Output::StartStream(_) | Output::ReadSource(_)));
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        self.machine.check_all().expect("the invariants hold");
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Announce(news) => {
                    let progress = self.world.progress.as_ref().expect("there is an era");
                    assert_eq!(news.head.era(), progress.head.era());
                    assert!(news.head.position() <= progress.head.position(), "announced before it was recorded");
                    assert!(news.after <= news.head.position());
                    self.check_covered(news.head.covered.0);
                    self.told = Some(news.head);
                }
                Output::Confirm { lsn } => {
                    let head = self.world.progress.as_ref().expect("there is an era").head;
                    let durable = head.covered.0.max(head.position().commit_lsn.0 + 1);
                    assert!(lsn.0 <= durable, "confirmed {lsn} beyond {durable}");
                    self.check_covered(lsn.0);
                    if let (Some(slot), Some(_)) = (&mut self.world.slot, &self.world.stream) {
                        *slot = lsn.0.max(*slot);
                    }
                }
                Output::NudgeSource => self.world.wal_end += 8,
                Output::StopStream => self.stop_stream(),
                Output::Halt(halt) => panic!("{halt:?}"),
                Output::Stopped => {}
                ask => self.open.push(ask),
            }
        }
    }

    fn check_covered(&self, lsn: u64) {
        let below: BTreeMap<_, _> = self.world.history.range(..lsn).map(|(at, size)| (*at, *size)).collect();
        assert_eq!(self.world.committed_below(lsn), below, "not all below {} is in history", Lsn(lsn));
    }

    /// Carries out an ask: perhaps not, and perhaps without telling.
    fn ask<Q: Question>(
        &mut self,
        ask: Ask<Q>,
        input: impl Fn(crate::ask::Answer<Q>) -> Input,
        effect: impl FnOnce(&mut World, &Q) -> Reply<Q>,
    ) {
        let (question, ticket) = ask.split();
        let reply = if self.world.chance(12) {
            Err(Failure::Unavailable("before".into()))
        } else {
            effect(&mut self.world, &question)
        };
        let reply = if self.world.chance(12) { Err(Failure::Unavailable("after".into())) } else { reply };
        self.tell(input(ticket.answer(reply)));
    }

    fn answer(&mut self, output: Output) {
        match output {
            Output::TakeLease(ask) => self.ask(ask, Input::LeaseTaken, |world, _| {
                world.token += 1;
                Ok(LeaseTaken::Taken { token: Token(world.token), clean: false })
            }),
            Output::RenewLease(ask) => self.ask(ask, Input::LeaseRenewed, |world, q| Ok(world.fenced(q.token, || ()))),
            Output::ReleaseLease(ask) => {
                self.ask(ask, Input::LeaseReleased, |world, q| Ok(world.fenced(q.token, || ())))
            }
            Output::InspectSource(ask) => {
                self.ask(ask, Input::SourceInspected, |world, q| Ok(world.fenced(q.token, || world.state())))
            }
            Output::LoadProgress(ask) => self.ask(ask, Input::ProgressLoaded, |world, q| {
                if q.token.0 == world.token
                    && let Some(progress) = &world.progress
                {
                    (world.appended, world.pieces) = (progress.head.position(), 0);
                }
                Ok(world.fenced(q.token, || world.progress.clone()))
            }),
            Output::CreateSlot(ask) => self.ask(ask, Input::SlotCreated, |world, q| {
                if q.token.0 == world.token {
                    (world.slot, world.stream) = (Some(world.wal_end), None);
                }
                Ok(world.fenced(q.token, || Lsn(world.wal_end)))
            }),
            Output::SettleSlot(ask) => self.ask(ask, Input::SlotSettled, |world, q| {
                if q.token.0 == world.token && world.slot.is_some() {
                    world.slot = Some(world.wal_end);
                }
                Ok(world.fenced(q.token, || Lsn(world.wal_end)))
            }),
            Output::BeginEra(ask) => self.ask(ask, Input::EraBegun, |world, q| {
                if q.token.0 != world.token {
                    return Ok(Fenced::Superseded);
                }
                Ok(Fenced::Done(world.begin_era(q)))
            }),
            Output::StartStream(ask) => self.ask(ask, Input::StreamStarted, World::start_stream),
            Output::ReadSource(ask) => self.ask(ask, Input::SourceRead, World::read),
            Output::NoteAttempt(ask) => self.ask(ask, Input::AttemptNoted, |world, q| Ok(world.fenced(q.token, || 1))),
            Output::RecordPage(ask) => self.ask(ask, Input::PageRecorded, |world, q| Ok(world.record(q))),
            Output::SaveCovered(ask) => self.ask(ask, Input::CoveredSaved, |world, q| {
                if q.token.0 != world.token {
                    return Ok(Fenced::Superseded);
                }
                if let Some(progress) = &mut world.progress
                    && progress.head.era() == q.era
                {
                    progress.head.covered = progress.head.covered.max(q.covered);
                }
                Ok(Fenced::Done(()))
            }),
            Output::InspectTables(ask) => {
                self.ask(ask, Input::TablesInspected, |world, q| Ok(world.fenced(q.token, || world.tables.clone())))
            }
            Output::RaiseSchema(ask) => self.ask(ask, Input::SchemaRaised, |world, q| {
                if q.token.0 != world.token {
                    return Ok(Fenced::Superseded);
                }
                Ok(world.raise(q))
            }),
            Output::ReadHead(ask) => self.ask(ask, Input::HeadRead, |world, _| {
                let head = world.progress.as_ref().map(|progress| progress.head);
                head.ok_or_else(|| Failure::Unavailable("there is no era yet".into()))
            }),
            Output::Prune(ask) => self.ask(ask, Input::Pruned, |world, q| Ok(world.fenced(q.token, || Position::ZERO))),
            other => panic!("no question: {other:?}"),
        }
    }

    fn answer_one(&mut self) -> bool {
        let idle =
            self.world.stream.as_ref().is_some_and(|(items, read)| items.is_empty() && *read == self.world.wal_end);
        let ready = |ask: &Output| !(idle && matches!(ask, Output::ReadSource(_)));
        let ready: Vec<_> = (0..self.open.len()).filter(|at| ready(&self.open[*at])).collect();
        let Some(at) = ready.get(usize::try_from(self.world.rng.below(ready.len() as u64)).expect("small")) else {
            return false;
        };
        let ask = self.open.swap_remove(*at);
        self.answer(ask);
        true
    }

    fn wait(&mut self) {
        if let Some(at) = self.machine.poll_timeout() {
            self.now = at.max(self.now);
            self.machine.handle_timeout(self.now);
            self.settle();
        }
    }

    fn step(&mut self) {
        match self.world.rng.below(100) {
            0..15 => self.world.commit(),
            15..25 => self.wait(),
            25..28 => self.want(),
            28 => self.begin_life(),
            29 => self.world.token += 1,
            30 => {
                let columns = ["id", "b", "c", "d"];
                let many = 1 + usize::try_from(self.world.rng.below(4)).expect("small");
                self.world.tables = tables(&columns[..many]);
            }
            31 if self.world.rng.below(4) == 0 => (self.world.slot, self.world.stream) = (None, None),
            32 => self.world.stream = None,
            _ => _ = self.answer_one(),
        }
    }

    fn want(&mut self) {
        self.wanted = self.world.wal_end;
        self.told = None;
        self.tell(Input::CoveredWanted { lsn: Lsn(self.wanted) });
    }

    fn is_done(&self) -> bool {
        let told = self.told.is_some_and(|told| told.covered.0 >= self.wanted);
        told && self.world.history == self.world.committed_below(u64::MAX)
    }
}

#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    for seed in 0..1_000 {
        let mut walk = Walk::new(seed);
        for _ in 0..600 {
            walk.step();
        }
        walk.world.calm = true;
        walk.want();
        let mut steps = 0;
        while !walk.is_done() {
            if !walk.answer_one() {
                walk.wait();
            }
            steps += 1;
            assert!(steps < 5_000, "seed {seed} does not converge: {:?}", walk.machine);
        }
    }
}
