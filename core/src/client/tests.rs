//! Transcripts: what goes in is marked `>`, what comes out is indented.

mod backfill;
mod chain;
mod coming_and_going;
mod honest_server;
mod pages;
mod robust;

use super::{Client, Config, Input, Notice, Output, SocketId};
use crate::ask::{Answer, Ask, Incarnation};
use crate::change::{Change, Chunk, Column, Page, Relation, Transaction};
use crate::fault::{Failure, FaultCode, Malformed, PeerFault};
use crate::machine::Machine;
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use crate::row::{Row, Value};
use crate::session::{BackfillId, ClientId};
use crate::store::{MemoryStore, Store, StoreRequest};
use crate::time::Timestamp;
use crate::wire::{ClientMessage, Resume, ServerMessage};
use crate::xid::Xid;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

pub(super) const ERA: Era = Era { counter: 1, id: 7 };

/// A client, its store, and what happened to them.
struct Run {
    client: Client,
    store: MemoryStore,
    now: Timestamp,
    socket: SocketId,
    /// Whether the store answers at once.
    prompt: bool,
    asked: Vec<Ask<Store>>,
    life: u64,
    /// Questions of earlier lives, which took no effect and whose answers may still come.
    late: Vec<Ask<Store>>,
    log: String,
}

impl Run {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        Self {
            client: Client::new(config),
            store: MemoryStore::new(),
            now: Timestamp::from_millis(1_000_000),
            socket: SocketId(0),
            prompt: true,
            asked: Vec::new(),
            life: 0,
            late: Vec::new(),
            log: String::new(),
        }
    }

    /// A client whose store holds everything through `at`, greeted and welcome.
    fn resumed(config: Config, at: u64) -> Self {
        let mut run = Self::with(config);
        let seam = StoreRequest::StageSeam { backfill: BackfillId(1), n: 0, page: None, complete: Some(boundary(at)) };
        run.store.apply(&seam);
        run.start();
        run.connect();
        run.welcome(Some(boundary(at)));
        run.log.clear();
        run
    }

    fn input(&mut self, what: &str, input: Input) {
        writeln!(self.log, "> {what}").expect("a string");
        self.client.handle(self.now, input);
        self.client.check_all().expect("an invariant");
        self.outputs();
    }

    fn outputs(&mut self) {
        while let Some(output) = self.client.poll_output() {
            writeln!(self.log, "  {}", words(&output)).expect("a string");
            match output {
                Output::Dial { socket } => self.socket = socket,
                Output::Send { message: ClientMessage::Ack { through }, .. } => self.check_acknowledged(through),
                Output::Store(ask) => {
                    assert!(self.asked.is_empty(), "one transaction at a time");
                    self.asked.push(ask);
                    if self.prompt {
                        self.answer();
                    }
                }
                _ => {}
            }
        }
    }

    /// Nothing is acknowledged ahead of what is durable.
    fn check_acknowledged(&self, through: Waypoint) {
        if self.client.config.mode == crate::client::Mode::Replica {
            let held = self.store.held().staged.map(|held| held.position);
            assert!(held >= Some(through.position), "acknowledged {} but holds {held:?}", through.position);
        }
    }

    /// The store carries out what it was asked and says so.
    fn answer(&mut self) {
        let (question, ticket) = self.asked.remove(0).split();
        let held = self.store.apply(&question.request);
        self.client.handle(self.now, Input::Stored(ticket.answer(Ok(held))));
        self.client.check_all().expect("an invariant");
    }

    fn stored(&mut self) {
        self.log.push_str("> stored\n");
        self.answer();
        self.outputs();
    }

    fn start(&mut self) {
        let held = self.store.held();
        self.late.append(&mut self.asked);
        self.life += 1;
        let (incarnation, instance) = (Incarnation(self.life), self.life);
        self.input("started", Input::Started { incarnation, instance, held });
    }

    fn connect(&mut self) {
        let socket = self.socket;
        self.input("connected", Input::Connected { socket });
    }

    fn closed(&mut self) {
        let socket = self.socket;
        self.input("closed", Input::Closed { socket, why: "gone".into() });
    }

    fn receive(&mut self, message: ServerMessage) {
        let (socket, what) = (self.socket, server_words(&message));
        self.input(&what, Input::Received { socket, message: Ok(message) });
    }

    fn welcome(&mut self, from: Option<Waypoint>) {
        let client = client_id();
        let head = Position::after(Lsn(0x100));
        self.receive(ServerMessage::Welcome {
            client,
            era: ERA,
            schema: SchemaVersion(1),
            head,
            from,
            credential_expires_in_ms: None,
        });
    }

    fn page(&mut self, page: Page) {
        self.receive(ServerMessage::Page(Arc::new(page)));
    }

    fn fault(&mut self, code: FaultCode) {
        self.receive(ServerMessage::Fault(PeerFault::new(code, "…")));
    }

    /// Lets time pass, with each timer at its time.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now);
            self.client.check_all().expect("an invariant");
            if !self.client.outputs.is_empty() {
                writeln!(self.log, "> a timer").expect("a string");
            }
            self.outputs();
        }
        self.now = until;
    }

    fn check(&self, expected: &expect_test::Expect) {
        expected.assert_eq(&self.log);
    }
}

fn client_id() -> ClientId {
    ClientId::new("c").expect("valid")
}

fn config() -> Config {
    Config {
        ping_every: Duration::from_secs(100),
        silence_timeout: Duration::from_secs(300),
        ..Config::new(client_id())
    }
}

pub(super) fn boundary(at: u64) -> Waypoint {
    at_index(at, Position::WHOLE)
}

pub(super) fn at_index(at: u64, index: u32) -> Waypoint {
    Waypoint {
        era: ERA,
        schema: SchemaVersion(1),
        position: Position { commit_lsn: Lsn(at), index },
        xid: Xid(at),
        committed_at: CommitTime(0),
    }
}

pub(super) fn relation() -> Arc<Relation> {
    let column = |name: &str, key| Column { name: name.into(), type_oid: 25, type_name: "text".into(), key };
    Arc::new(Relation::new("public", "t", vec![column("id", true), column("v", false)]))
}

fn row(id: u64, value: &str) -> Row {
    Row::of([Value::Text(&id.to_string()), Value::Text(value)])
}

/// A transaction at `at` that inserts these rows.
pub(super) fn transaction(at: u64, ids: impl IntoIterator<Item = u64>) -> Transaction {
    let relation = relation().id;
    Transaction {
        commit_lsn: Lsn(at),
        end_lsn: Lsn(at + 8),
        xid: Xid(at),
        committed_at: CommitTime(0),
        first: 0,
        complete: true,
        changes: ids.into_iter().map(|id| Change::Insert { relation, row: row(id, "x") }).collect(),
    }
}

/// A page of whole transactions, each of which inserts the row that is its LSN.
pub(super) fn whole(after: u64, commits: &[u64]) -> Page {
    let transactions = commits.iter().map(|at| transaction(*at, [*at])).collect();
    let through = boundary(commits.last().copied().unwrap_or(after));
    Page { after: Position::after(Lsn(after)), through, relations: [relation()].into(), transactions }
}

/// Changes `first` to `last` of the transaction at `at`, each the insert of the row that is its index.
pub(super) fn piece(after: Position, at: u64, first: u32, last: u32, complete: bool) -> Page {
    let rows = (first..=last).map(u64::from);
    let end_lsn = if complete { Lsn(at + 8) } else { Lsn::ZERO };
    let transactions = vec![Transaction { first, complete, end_lsn, ..transaction(at, rows) }];
    let through = if complete { boundary(at) } else { at_index(at, last) };
    Page { after, through, relations: [relation()].into(), transactions }
}

fn chunk(backfill: u64, n: u32, ids: &[u64]) -> ServerMessage {
    let rows = ids.iter().map(|id| row(*id, "x")).collect();
    ServerMessage::Chunk {
        backfill: BackfillId(backfill),
        n,
        of: 0,
        chunk: Arc::new(Chunk { relation: relation(), rows }),
    }
}

fn seam(backfill: u64, n: u32, page: Option<Page>, complete: Option<u64>) -> ServerMessage {
    let (page, complete) = (page.map(Arc::new), complete.map(boundary));
    ServerMessage::Seam { backfill: BackfillId(backfill), n, page, complete }
}

fn words(output: &Output) -> String {
    match output {
        Output::Dial { socket } => format!("dial {}", socket.0),
        Output::Send { socket, message } => format!("send {} {}", socket.0, client_words(message)),
        Output::Ping { socket } => format!("ping {}", socket.0),
        Output::SendCredential { socket } => format!("send {} the credential", socket.0),
        Output::Close { socket } => format!("close {}", socket.0),
        Output::Store(ask) => format!("store {}", store_words(&ask.question.request)),
        Output::Notify(notice) => format!("tell {}", notice_words(notice)),
    }
}

fn client_words(message: &ClientMessage) -> String {
    match message {
        ClientMessage::Hello(hello) => {
            let resume = match hello.resume {
                Resume::Nothing => "with nothing".into(),
                Resume::Stored => "from what is stored".into(),
                Resume::At(at) => format!("from {}", at.position),
            };
            format!("hello {} {resume}", hello.client)
        }
        ClientMessage::Ack { through } => format!("ack {}", through.position),
        ClientMessage::Staged { backfill, n } => format!("staged {}.{n}", backfill.0),
        ClientMessage::Credential(_) => "a credential".into(),
        ClientMessage::Bye => "bye".into(),
    }
}

fn page_words(page: &Page) -> String {
    format!("{}..{} with {}", page.after, page.through.position, page.changes())
}

fn store_words(request: &StoreRequest) -> String {
    match request {
        StoreRequest::ApplyPage { page } => format!("page {}", page_words(page)),
        StoreRequest::StageChunk { backfill, n, chunk } => {
            format!("chunk {}.{n} with {}", backfill.0, chunk.rows.len())
        }
        StoreRequest::StageSeam { backfill, n, page, complete } => seam_words(*backfill, *n, page.as_ref(), *complete),
        StoreRequest::ReadHeld => "nothing, and say what is held".into(),
    }
}

fn seam_words(backfill: BackfillId, n: u32, page: Option<&Arc<Page>>, complete: Option<Waypoint>) -> String {
    let complete = complete.map_or(String::new(), |at| format!(", complete at {}", at.position));
    format!("seam {}.{n} with {}{complete}", backfill.0, page.map_or(0, |page| page.changes()))
}

fn server_words(message: &ServerMessage) -> String {
    match message {
        ServerMessage::Welcome { from: Some(from), .. } => format!("welcome from {}", from.position),
        ServerMessage::Welcome { from: None, .. } => "welcome to a backfill".into(),
        ServerMessage::Credential { .. } => "the credential is good".into(),
        ServerMessage::Schema(relation) => format!("schema {}", relation.full_name()),
        ServerMessage::Chunk { backfill, n, chunk, .. } => {
            format!("chunk {}.{n} with {}", backfill.0, chunk.rows.len())
        }
        ServerMessage::Seam { backfill, n, page, complete } => seam_words(*backfill, *n, page.as_ref(), *complete),
        ServerMessage::Page(page) => format!("page {}", page_words(page)),
        ServerMessage::Live => "live".into(),
        ServerMessage::Resync { reason } => format!("resync {reason:?}"),
        ServerMessage::Fault(fault) => format!("fault {}", fault.code.as_str()),
    }
}

fn notice_words(notice: &Notice) -> String {
    let place = |at: &Waypoint| at.position.to_string();
    match notice {
        Notice::CredentialGood { expires_in_ms: Some(ms) } => format!("the credential is good for {ms} ms"),
        Notice::CredentialGood { expires_in_ms: None } => "the credential is good".into(),
        Notice::CredentialWanted => "a credential is wanted".into(),
        Notice::Phase(phase) => format!("phase {phase:?}"),
        Notice::Applied { shown } => format!("applied {}", place(shown)),
        Notice::Live { shown } => format!("live {}", shown.as_ref().map_or("nowhere".into(), place)),
        Notice::Resync { reason } => format!("resync {reason:?}"),
        Notice::Fault(fault) => format!("fault {}", fault.code.as_str()),
        Notice::StoreFailed(failure) => format!("store failed: {failure}"),
        Notice::Stopped { fault } => {
            format!("stopped {}", fault.as_ref().map_or("as wished", |fault| fault.code.as_str()))
        }
    }
}
