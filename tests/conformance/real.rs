//! A real Postgres as a subject, asked through the very functions that `serve` uses.

mod application;
mod lab;
mod spy;

pub use lab::Lab;

use super::op::{Act, Fault};
use super::reply::{Anchors, Answered, Did};
use super::subject::{Question, Subject};
use application::Application;
use dormouse_core::fault::Failure;
use dormouse_core::hub::{ReadChunk, SnapshotTaken, TakeSnapshot};
use dormouse_core::position::Lsn;
use dormouse_core::replication::{ReadSource, StartStream};
use dormouse_core::source::SourceItem;
use dormouse_runtime::db::{Config, Database};
use dormouse_runtime::source::{Kind, PollSource, Source, StreamSource, poll};
use lab::{Bench, PATIENCE};
use std::time::Duration;

/// A slot that is not created by then waits for a transaction. (`serve` waits longer; a script would for ever.)
const SLOT_MAX: Duration = Duration::from_secs(2);

/// A database on the cluster of a [`Lab`], for one run.
pub struct Real<'a> {
    bench: Bench<'a>,
    application: Application,
    database: Database,
    /// The same database over the wire that loses answers.
    lossy: Option<Database>,
    stream: Stream,
    /// Read while something else was waited for.
    early: Vec<SourceItem>,
}

impl<'a> Real<'a> {
    pub async fn new(lab: &'a mut Lab, kind: Kind) -> Real<'a> {
        let bench = lab.bench().await;
        let database = connect(&bench.url()).await;
        let stream = Stream::of(&database, kind);
        let application = Application::new(bench.url());
        Real { bench, application, database, lossy: None, stream, early: Vec::new() }
    }

    async fn answer(&self, db: &Database, question: Question) -> Result<Answered, Failure> {
        Ok(match question {
            Question::TakeLease(q) => Answered::Lease(db.take_lease(q).await?),
            Question::RenewLease(q) => Answered::Fenced(db.renew_lease(q).await?),
            Question::ReleaseLease(q) => Answered::Fenced(db.release_lease(q).await?),
            Question::InspectSource(q) => Answered::Source(db.inspect_source(q).await?),
            Question::LoadProgress(q) => Answered::Progress(db.load_progress(q).await?),
            Question::CreateSlot(q) => match tokio::time::timeout(SLOT_MAX, db.create_slot(q)).await {
                Ok(slot) => Answered::Slot(slot?),
                Err(_) => return Err(Failure::Unavailable("it waits for a transaction that runs".into())),
            },
            Question::SettleSlot(q) => match tokio::time::timeout(SLOT_MAX, db.settle_slot(q)).await {
                Ok(slot) => Answered::Slot(slot?),
                Err(_) => return Err(Failure::Unavailable("it waits for a transaction that runs".into())),
            },
            Question::BeginEra(q) => Answered::Era(db.begin_era(q).await?),
            Question::StartStream(q) => {
                self.stream.start(q).await?;
                Answered::Unit
            }
            Question::NoteAttempt(q) => Answered::Attempts(db.note_attempt(q).await?),
            Question::RecordPage(q) => Answered::Recorded(db.record_page(q).await?),
            Question::SaveCovered(q) => Answered::Fenced(db.save_covered(q).await?),
            Question::InspectTables(q) => Answered::Tables(db.inspect_tables(q).await?),
            Question::RaiseSchema(q) => Answered::Schema(db.raise_schema(q).await?),
            Question::Prune(q) => Answered::Horizon(db.prune(q).await?),
            Question::ReadHead(q) => Answered::Head(db.read_head(q).await?),
            Question::ReadHistory(q) => Answered::History(db.read_history(q).await?),
            Question::JudgePosition(q) => Answered::Judged(db.judge_position(q).await?),
            Question::TakeSnapshot(q) => snapshot(db, q).await?,
            Question::TakeEpoch(q) => Answered::Epoch(db.take_epoch(q).await?),
            Question::SavePositions(q) => {
                db.save_positions(q).await?;
                Answered::Unit
            }
            Question::RenewRegistrations(q) => Answered::Clients(db.renew_registrations(q).await?),
            Question::Unregister(q) => {
                db.unregister(q).await?;
                Answered::Unit
            }
            Question::Renewals => Answered::Renewals(self.bench.renewals().await),
            Question::Registrations => {
                let all = db.registrations("", 100).await?;
                Answered::Registrations(all.into_iter().map(|row| (row.client, row.epoch, row.position)).collect())
            }
        })
    }

    /// The question over the wire, whose answer is lost as soon as it says that something was committed.
    async fn answer_lost(&mut self, question: Question) -> Result<Answered, Failure> {
        if self.lossy.is_none() {
            self.lossy = Some(connect(&self.bench.lossy_url()).await);
        }
        let lossy = self.lossy.clone().expect("it was just made");
        self.bench.wire().lose_next(true);
        let answer = self.answer(&lossy, question).await;
        self.bench.wire().lose_next(false);
        // What committed nothing was answered all the same: then we lose the answer here.
        answer.and_then(|_| Err(Failure::Unavailable("the answer was lost".into())))
    }

    /// After a restart: the pool finds its dead connections one by one.
    async fn find_the_way_back(&self) {
        lab::eventually("the database is had again", async || self.database.nudge_source().await.is_ok()).await;
        for _ in 0..20 {
            let _ = self.database.read_head(dormouse_core::history::ReadHead).await;
        }
    }

    async fn read_some(&mut self, at_most: Duration) -> Option<Result<Vec<SourceItem>, Failure>> {
        let q = ReadSource { changes_max: 3, bytes_max: 1 << 20 };
        tokio::time::timeout(at_most, self.stream.read(q)).await.ok()
    }
}

impl Subject for Real<'_> {
    const NAME: &'static str = "Postgres";

    async fn act(&mut self, act: &Act) -> Did {
        self.application.act(act, &self.bench).await
    }

    async fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Checkpoint => self.bench.sql("checkpoint").await,
            Fault::Restart | Fault::Crash => {
                self.stream.stop().await;
                self.bench.restart(fault == Fault::Crash).await;
                self.application.lose_all().await;
                self.find_the_way_back().await;
            }
            Fault::DropSlot => {
                self.stream.stop().await;
                self.bench.drop_slot(&self.database.slot_name()).await;
            }
            Fault::InvalidateSlot => {
                self.stream.stop().await;
                self.bench.invalidate_slots(&self.database.slot_name()).await;
            }
            Fault::AdvanceSlot => {
                self.stream.stop().await;
                self.bench.advance_slot(&self.database.slot_name()).await;
            }
            Fault::Hours(hours) => self.bench.pass(hours).await,
        }
        if !matches!(fault, Fault::Checkpoint | Fault::Hours(_)) {
            self.early.clear(); // The stream has ended.
        }
    }

    async fn ask(&mut self, question: Question, answer_lost: bool) -> Result<Answered, Failure> {
        if matches!(question, Question::StartStream(_) | Question::CreateSlot(_) | Question::SettleSlot(_)) {
            self.early.clear();
        }
        match answer_lost {
            true => self.answer_lost(question).await,
            false => self.answer(&self.database, question).await,
        }
    }

    async fn read(&mut self) -> Result<Vec<SourceItem>, Failure> {
        let mark = self.database.nudge_source().await?;
        self.stream.nudged();
        let mut items = std::mem::take(&mut self.early);
        let mut open = false;
        loop {
            let some = self.read_some(PATIENCE).await.expect("the stream reaches what was written")?;
            let mut reached = false;
            for item in &some {
                match item {
                    SourceItem::Begin { .. } => open = true,
                    SourceItem::Commit { end_lsn } => {
                        open = false;
                        reached |= *end_lsn >= mark;
                    }
                    SourceItem::Keepalive { wal_end } => reached |= *wal_end > mark,
                    SourceItem::Relation(_) | SourceItem::Change(_) => {}
                }
            }
            items.extend(some);
            if reached && !open {
                return Ok(items);
            }
        }
    }

    async fn confirm(&mut self, lsn: Lsn) {
        self.stream.confirm(lsn);
        let slot = self.database.slot_name();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // The server is told while somebody reads.
        while self.bench.confirmed(&slot).await.is_some_and(|confirmed| confirmed < lsn) {
            assert!(tokio::time::Instant::now() < deadline, "{lsn} was never confirmed");
            match self.read_some(Duration::from_millis(20)).await {
                Some(Ok(items)) => self.early.extend(items),
                Some(Err(_)) => return,
                None => {}
            }
        }
    }

    async fn anchors(&mut self) -> Anchors {
        self.stream.stop().await;
        self.application.end_all().await;
        let commits = self.bench.spied().await;
        let mut xids = self.application.xids();
        xids.extend(commits.iter().map(|commit| commit.xid));
        self.bench.drop_slot(&self.database.slot_name()).await;
        self.bench.end().await;
        Anchors {
            commits: commits.iter().map(|commit| (commit.commit_lsn, commit.end_lsn)).collect(),
            xids: xids.into_iter().collect(),
        }
    }
}

async fn connect(url: &str) -> Database {
    let config = Config { snapshot_share_max: Duration::ZERO, ..Config::new(url) };
    Database::connect(config).await.expect("the database is new")
}

async fn snapshot(db: &Database, q: TakeSnapshot) -> Result<Answered, Failure> {
    let taken = db.take_snapshot(q).await?;
    let mut chunks = Vec::new();
    if let SnapshotTaken::Spooled(spool) = &taken {
        for n in 0..spool.chunks {
            chunks.extend(db.read_chunk(ReadChunk { spool: spool.id, n }).await?);
        }
    }
    Ok(Answered::Snapshot(taken, chunks))
}

/// Either source: the machine cannot tell one from the other, and neither can this suite.
enum Stream {
    Streamed(StreamSource),
    Polled(PollSource),
}

impl Stream {
    fn of(database: &Database, kind: Kind) -> Self {
        match kind {
            Kind::Stream => Self::Streamed(StreamSource::new(database.clone())),
            Kind::Poll => Self::Polled(PollSource::new(database.clone(), poll::Config::default())),
        }
    }

    async fn start(&self, q: StartStream) -> Result<(), Failure> {
        match self {
            Self::Streamed(source) => source.start(q).await,
            Self::Polled(source) => source.start(q).await,
        }
    }

    async fn read(&self, q: ReadSource) -> Result<Vec<SourceItem>, Failure> {
        match self {
            Self::Streamed(source) => source.read(q).await,
            Self::Polled(source) => source.read(q).await,
        }
    }

    fn confirm(&self, lsn: Lsn) {
        match self {
            Self::Streamed(source) => source.confirm(lsn),
            Self::Polled(source) => source.confirm(lsn),
        }
    }

    fn nudged(&self) {
        match self {
            Self::Streamed(source) => source.nudged(),
            Self::Polled(source) => source.nudged(),
        }
    }

    async fn stop(&self) {
        match self {
            Self::Streamed(source) => source.stop().await,
            Self::Polled(source) => source.stop().await,
        }
    }
}
