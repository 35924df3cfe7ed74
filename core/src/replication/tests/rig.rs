//! A driver for transcripts: answers the oldest open question of a kind, and writes down what the machine commands.

use crate::ask::{Answer, Ask, AskId, Incarnation, Question};
use crate::change::{Change, Column, Page, Relation};
use crate::fault::Failure;
use crate::history::{Head, ReadHead};
use crate::machine::Machine;
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use crate::replication::*;
use crate::row::{Row, Value};
use crate::source::{Evidence, Fingerprints, SlotState, SourceItem, TableFingerprint};
use crate::time::Timestamp;
use crate::xid::Xid;
use expect_test::Expect;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

type Reply<Q> = Result<<Q as Question>::Reply, Failure>;

/// What happens to the machine, without the ids of questions.
#[derive(Debug, Clone)]
pub enum Fact {
    Started,
    Stopping,
    Wanted(u64),
    Later(Duration),
    Taken(Reply<TakeLease>),
    Renewed(Reply<RenewLease>),
    Released(Reply<ReleaseLease>),
    Inspected(Reply<InspectSource>),
    Loaded(Reply<LoadProgress>),
    Created(Reply<CreateSlot>),
    Settled(Reply<SettleSlot>),
    Begun(Reply<BeginEra>),
    StreamStarted(Reply<StartStream>),
    Read(Reply<ReadSource>),
    Noted(Reply<NoteAttempt>),
    Recorded(Reply<RecordPage>),
    Saved(Reply<SaveCovered>),
    Tables(Reply<InspectTables>),
    Raised(Reply<RaiseSchema>),
    Pruned(Reply<Prune>),
    Head(Reply<ReadHead>),
}

pub struct Rig {
    pub machine: Replication,
    pub now: Timestamp,
    open: BTreeMap<&'static str, VecDeque<AskId>>,
    log: String,
}

pub const ERA: Era = Era { counter: 1, id: 0xe };

impl Rig {
    pub fn new(config: Config) -> Self {
        let (machine, now) = (Replication::new(config), Timestamp::from_millis(1_000));
        Self { machine, now, open: BTreeMap::new(), log: String::new() }
    }

    /// A machine whose stream runs in an era that stands at 0/10, with what led there forgotten.
    pub fn streaming(config: Config) -> Self {
        let mut rig = Self::new(config);
        rig.run(&start(true));
        rig.log.clear();
        rig
    }

    /// What was written down.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The answer to the oldest open question of its kind.
    fn answer<Q: Question>(&mut self, kind: &'static str, reply: Reply<Q>) -> Answer<Q> {
        let id = self.open.get_mut(kind).and_then(VecDeque::pop_front);
        Answer { id: id.unwrap_or_else(|| panic!("nobody asked: {kind}\n{}", self.log)), reply }
    }

    pub fn run(&mut self, facts: &[Fact]) {
        for fact in facts {
            self.log += &format!("{}\n", told(fact));
            let input = match fact.clone() {
                Fact::Started => Input::Started { incarnation: Incarnation(7) },
                Fact::Stopping => Input::Stopping,
                Fact::Wanted(lsn) => Input::CoveredWanted { lsn: Lsn(lsn) },
                Fact::Later(wait) => {
                    self.now = self.now + wait;
                    self.machine.handle_timeout(self.now);
                    self.settle();
                    continue;
                }
                Fact::Taken(reply) => Input::LeaseTaken(self.answer("TakeLease", reply)),
                Fact::Renewed(reply) => Input::LeaseRenewed(self.answer("RenewLease", reply)),
                Fact::Released(reply) => Input::LeaseReleased(self.answer("ReleaseLease", reply)),
                Fact::Inspected(reply) => Input::SourceInspected(self.answer("InspectSource", reply)),
                Fact::Loaded(reply) => Input::ProgressLoaded(self.answer("LoadProgress", reply)),
                Fact::Created(reply) => Input::SlotCreated(self.answer("CreateSlot", reply)),
                Fact::Settled(reply) => Input::SlotSettled(self.answer("SettleSlot", reply)),
                Fact::Begun(reply) => Input::EraBegun(self.answer("BeginEra", reply)),
                Fact::StreamStarted(reply) => Input::StreamStarted(self.answer("StartStream", reply)),
                Fact::Read(reply) => Input::SourceRead(self.answer("ReadSource", reply)),
                Fact::Noted(reply) => Input::AttemptNoted(self.answer("NoteAttempt", reply)),
                Fact::Recorded(reply) => Input::PageRecorded(self.answer("RecordPage", reply)),
                Fact::Saved(reply) => Input::CoveredSaved(self.answer("SaveCovered", reply)),
                Fact::Tables(reply) => Input::TablesInspected(self.answer("InspectTables", reply)),
                Fact::Raised(reply) => Input::SchemaRaised(self.answer("RaiseSchema", reply)),
                Fact::Pruned(reply) => Input::Pruned(self.answer("Prune", reply)),
                Fact::Head(reply) => Input::HeadRead(self.answer("ReadHead", reply)),
            };
            self.handle(input);
        }
    }

    pub fn handle(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let line = self.command(output);
            self.log += &format!("  {line}\n");
        }
        self.machine.check_all().expect("the invariants hold after every fact");
        assert!(self.machine.poll_timeout().is_none_or(|at| at > self.now), "a timer that fired moved on");
        let text = serde_json::to_string(&self.machine).expect("a machine is plain data");
        let again: Replication = serde_json::from_str(&text).expect("a machine is plain data");
        assert_eq!(again, self.machine, "a machine survives being written down");
    }

    fn asked<Q>(&mut self, kind: &'static str, ask: Ask<Q>) -> Q {
        self.open.entry(kind).or_default().push_back(ask.id);
        ask.question
    }

    fn command(&mut self, output: Output) -> String {
        match output {
            Output::TakeLease(ask) => format!("take lease as {}", self.asked("TakeLease", ask).holder),
            Output::RenewLease(ask) => format!("renew lease {}", self.asked("RenewLease", ask).token.0),
            Output::ReleaseLease(ask) => format!("release lease {}", self.asked("ReleaseLease", ask).token.0),
            Output::InspectSource(ask) => format!("inspect source under {}", self.asked("InspectSource", ask).token.0),
            Output::LoadProgress(ask) => format!("load progress under {}", self.asked("LoadProgress", ask).token.0),
            Output::CreateSlot(ask) => format!("create slot under {}", self.asked("CreateSlot", ask).token.0),
            Output::SettleSlot(ask) => format!("settle slot under {}", self.asked("SettleSlot", ask).token.0),
            Output::BeginEra(ask) => {
                let BeginEra { start, reason, .. } = self.asked("BeginEra", ask);
                format!("begin era at {start}: {reason}")
            }
            Output::StartStream(ask) => format!("start stream from {}", self.asked("StartStream", ask).from),
            Output::ReadSource(ask) => {
                self.asked("ReadSource", ask);
                "read source".into()
            }
            Output::NoteAttempt(ask) => format!("note attempt at {}", self.asked("NoteAttempt", ask).commit_lsn),
            Output::RecordPage(ask) => {
                let RecordPage { expect, page, .. } = self.asked("RecordPage", ask);
                assert_eq!(expect, page.after, "a page follows what was appended last");
                format!("record {}", page_text(&page))
            }
            Output::SaveCovered(ask) => format!("save covered {}", self.asked("SaveCovered", ask).covered),
            Output::InspectTables(ask) => {
                self.asked("InspectTables", ask);
                "inspect tables".into()
            }
            Output::RaiseSchema(ask) => match self.asked("RaiseSchema", ask).reason {
                Some(reason) => format!("raise schema: {reason}"),
                None => "note tables".into(),
            },
            Output::Prune(ask) => {
                self.asked("Prune", ask);
                "prune".into()
            }
            Output::ReadHead(ask) => {
                self.asked("ReadHead", ask);
                "read head".into()
            }
            Output::Announce(news) => {
                let head = news.head;
                let (at, xid, schema) = (head.position(), head.waypoint.xid, head.schema().0);
                let body = news.page.as_ref().map_or(String::new(), |page| format!(" with {}", page_text(page)));
                let after = if news.after == at { String::new() } else { format!("{}..", news.after) };
                format!("announce {after}{at} xid {xid} schema {schema} covered {}{body}", head.covered)
            }
            Output::Confirm { lsn } => format!("confirm {lsn}"),
            Output::NudgeSource => "nudge source".into(),
            Output::StopStream => "stop stream".into(),
            Output::Halt(halt) => format!("halt {}: {}", halt.code, halt.message),
            Output::Stopped => "stopped".into(),
        }
    }

    pub fn expect(&mut self, expected: &Expect) {
        expected.assert_eq(&std::mem::take(&mut self.log));
    }

    pub fn forget(&mut self) {
        self.log.clear();
    }

    /// An answer as an earlier life would have got it.
    pub fn stale_recorded(&mut self) -> Input {
        let n = self.open["RecordPage"].front().expect("a page is being recorded").n;
        let id = AskId { incarnation: Incarnation(6), n };
        Input::PageRecorded(Answer { id, reply: Ok(Recorded::Recorded { reference: Xid(100) }) })
    }
}

/// Runs facts on a machine whose stream runs.
pub fn check(facts: &[Fact], expected: &Expect) {
    let mut rig = Rig::streaming(small());
    rig.run(facts);
    rig.expect(expected);
}

/// Pages of four changes, so that pieces are easily had.
pub fn small() -> Config {
    Config { holder: "a".into(), page_changes_max: 4, follow_every: Duration::from_millis(100), ..Config::default() }
}

fn page_text(page: &Page) -> String {
    let transactions = page.transactions.iter().map(|transaction| {
        let count = transaction.changes.len();
        let changes = match (transaction.first, transaction.complete) {
            (0, true) => format!("{count}"),
            (first, complete) => {
                let end = if complete { "" } else { ".." };
                format!("{first}..{}{end}", first as usize + count)
            }
        };
        format!("{}({changes})", transaction.commit_lsn)
    });
    let shapes = page.relations.len();
    let shapes = if shapes == 1 { String::new() } else { format!(" in {shapes} shapes") };
    let transactions: Vec<_> = transactions.collect();
    format!("[{}..{}: {}{shapes}]", page.after, page.through.position, transactions.join(" "))
}

fn told(fact: &Fact) -> String {
    match fact {
        Fact::Read(Ok(items)) => {
            let words = items.iter().map(|item| match item {
                SourceItem::Begin { commit_lsn, .. } => format!("begin {commit_lsn}"),
                SourceItem::Relation(relation) => format!("shape {}/{}", relation.name, relation.columns.len()),
                SourceItem::Change(_) => "change".into(),
                SourceItem::Commit { end_lsn } => format!("commit {end_lsn}"),
                SourceItem::Keepalive { wal_end } => format!("keepalive {wal_end}"),
            });
            format!("Read: {}", words.collect::<Vec<_>>().join(", "))
        }
        Fact::Inspected(Ok(Fenced::Done(state))) => match &state.slot {
            Some(slot) => format!("Inspected: slot at {} usable {}", slot.confirmed, slot.usable),
            None => "Inspected: no slot".into(),
        },
        Fact::Loaded(Ok(Fenced::Done(Some(progress)))) => {
            format!("Loaded: {} covered {}", progress.head.position(), progress.head.covered)
        }
        Fact::Begun(Ok(Fenced::Done(head))) => format!("Begun: {} at {}", head.era(), head.position()),
        Fact::Tables(Ok(Fenced::Done(_))) => "Tables".into(),
        Fact::Head(Ok(head)) => format!("Head: {} covered {}", head.position(), head.covered),
        other => format!("{other:?}"),
    }
}

pub fn done<T>(value: T) -> Result<Fenced<T>, Failure> {
    Ok(Fenced::Done(value))
}

pub fn unavailable<T>() -> Result<T, Failure> {
    Err(Failure::Unavailable("gone".into()))
}

pub fn ms(ms: u64) -> Fact {
    Fact::Later(Duration::from_millis(ms))
}

pub fn tables(columns: &[&str]) -> Fingerprints {
    let columns = columns.iter().map(|&column| column.into()).collect();
    let table = TableFingerprint {
        oid: 1,
        relfilenode: 1,
        definitions: 1,
        shape: 1,
        membership: 1,
        columns,
        key: vec!["id".into()],
        defaults: vec![],
    };
    BTreeMap::from([("public.t".into(), table)])
}

pub fn evidence() -> Evidence {
    Evidence { system_identifier: 77, database_oid: 5, timeline: 1 }
}

pub fn inspected(slot: Option<u64>) -> Fact {
    let slot = slot.map(|lsn| SlotState { confirmed: Lsn(lsn), usable: true });
    Fact::Inspected(done(SourceState { evidence: evidence(), slot, fingerprints: tables(&["id"]) }))
}

pub fn head(commit: u64, xid: u64, covered: u64) -> Head {
    let position = Position::after(Lsn(commit));
    let committed_at = CommitTime(if xid == 0 { 0 } else { 9 });
    let waypoint = Waypoint { era: ERA, schema: SchemaVersion(1), position, xid: Xid(xid), committed_at };
    Head { waypoint, covered: Lsn(covered) }
}

pub fn loaded(head: Head) -> Fact {
    Fact::Loaded(done(Some(Progress { head, evidence: evidence(), fingerprints: tables(&["id"]) })))
}

/// What leads to a running stream at 0/10.
pub fn start(clean: bool) -> Vec<Fact> {
    vec![
        Fact::Started,
        taken(1, clean),
        inspected(Some(0x10)),
        loaded(head(8, 90, 0x10)),
        stream_started(),
        inspected(Some(0x10)),
    ]
}

pub fn taken(token: u64, clean: bool) -> Fact {
    Fact::Taken(Ok(LeaseTaken::Taken { token: Token(token), clean }))
}

pub fn stream_started() -> Fact {
    Fact::StreamStarted(Ok(()))
}

pub fn recorded() -> Fact {
    Fact::Recorded(Ok(Recorded::Recorded { reference: Xid((3 << 32) + 100) }))
}

pub fn same_tables() -> Fact {
    Fact::Tables(done(tables(&["id"])))
}

/// A shape of table t with so many columns.
pub fn shape(columns: usize) -> Arc<Relation> {
    let column = |n: usize| Column { name: format!("c{n}"), type_oid: 25, type_name: "text".into(), key: n == 0 };
    Arc::new(Relation::new("public", "t", (0..columns).map(column).collect()))
}

pub fn begin(commit: u64, xid: u32) -> SourceItem {
    SourceItem::Begin { commit_lsn: Lsn(commit), committed_at: CommitTime(5), xid }
}

pub fn changes(count: usize) -> Vec<SourceItem> {
    let row = Row::of([Value::Text("x")]);
    vec![SourceItem::Change(Change::Insert { relation: shape(1).id, row }); count]
}

pub fn commit(end: u64) -> SourceItem {
    SourceItem::Commit { end_lsn: Lsn(end) }
}

pub fn keepalive(wal_end: u64) -> SourceItem {
    SourceItem::Keepalive { wal_end: Lsn(wal_end) }
}

/// A transaction of inserts that commits at `at`, eight bytes long there.
pub fn transaction(at: u64, count: usize) -> Vec<SourceItem> {
    [vec![begin(at, 100)], changes(count), vec![commit(at + 8)]].concat()
}

pub fn read(items: &[Vec<SourceItem>]) -> Fact {
    Fact::Read(Ok(items.concat()))
}

/// The first read of a stream, which tells the shape that all changes have, and the look at the tables that follows.
pub fn shape_told() -> Vec<Fact> {
    vec![read(&[vec![SourceItem::Relation(shape(1))]]), same_tables()]
}

/// The shape told, then these.
pub fn with_shape(facts: Vec<Fact>) -> Vec<Fact> {
    [shape_told(), facts].concat()
}
