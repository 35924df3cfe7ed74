//! What surrounds Replication's machine: the database, the source's task, the hubs.

use super::reader::{Command, Reader};
use super::{Event, Inbox, Replicator, Report};
use crate::clock::Clock;
use crate::db::Database;
use crate::drive::{self, Host, Settled, Step};
use crate::hub::Incarnations;
use crate::metrics::Metrics;
use crate::trace;
use dormouse_core::ask::{Answer, Ask, Question};
use dormouse_core::fault::{Failure, Halt};
use dormouse_core::replication::{Config, Input, Output, PhaseName, RecordPage, Recorded, Replication, Status};
use dormouse_core::time::Timestamp;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most events that are taken at once.
const BATCH_MAX: usize = 256;
/// The most appends that may wait for the one before them.
const APPENDS_MAX: usize = 16;

pub(super) struct ReplicationHost {
    config: Config,
    incarnations: Incarnations,
    database: Database,
    reader: Reader,
    /// Appends are carried out in the order in which they were asked.
    appends: mpsc::Sender<Ask<RecordPage>>,
    replicator: Replicator,
    inbox: Inbox,
    stopped: bool,
}

impl ReplicationHost {
    pub(super) fn new(
        config: Config,
        incarnations: Incarnations,
        database: Database,
        reader: Reader,
        replicator: Replicator,
        inbox: Inbox,
    ) -> Self {
        let (appends, asked) = mpsc::channel(APPENDS_MAX);
        let counts = replicator.metrics.clone();
        tokio::spawn(append_in_order(database.clone(), asked, replicator.events.clone(), counts));
        Self { config, incarnations, database, reader, appends, replicator, inbox, stopped: false }
    }
}

impl Host for ReplicationHost {
    type Machine = Replication;
    type Event = Event;

    async fn receive(&mut self, batch: &mut Vec<Event>) -> bool {
        self.inbox.events.recv_many(batch, BATCH_MAX).await > 0
    }

    fn wakes(&self, event: &Event) -> bool {
        match event {
            Event::Start => true,
            Event::Stop | Event::CoveredWanted(_) | Event::Answered(_) => false,
        }
    }

    fn wake(&mut self, _: Timestamp) -> (Replication, Input) {
        let _ = self.reader.tell(Command::Stop); // An earlier life may have left the stream open; full or not, starting it ends it.
        let incarnation = self.incarnations.next();
        (Replication::new(self.config.clone()), Input::Started { incarnation })
    }

    fn on_event(&mut self, event: Event, facts: &mut Vec<Input>) -> Step {
        match event {
            Event::Start => {}
            Event::Stop => facts.push(Input::Stopping),
            Event::CoveredWanted(lsn) => facts.push(Input::CoveredWanted { lsn }),
            Event::Answered(input) => facts.push(*input),
        }
        Step::On
    }

    fn carry_out(&mut self, _: Timestamp, output: Output) -> Step {
        match output {
            Output::TakeLease(ask) => self.ask(ask, async |db, q| db.take_lease(q).await, Input::LeaseTaken),
            Output::RenewLease(ask) => self.ask(ask, async |db, q| db.renew_lease(q).await, Input::LeaseRenewed),
            Output::ReleaseLease(ask) => self.ask(ask, async |db, q| db.release_lease(q).await, Input::LeaseReleased),
            Output::InspectSource(ask) => {
                self.ask_for_long(ask, async |db, q| db.inspect_source(q).await, Input::SourceInspected);
            }
            Output::LoadProgress(ask) => self.ask(ask, async |db, q| db.load_progress(q).await, Input::ProgressLoaded),
            Output::CreateSlot(ask) => {
                self.ask_for_long(ask, async |db, q| db.create_slot(q).await, Input::SlotCreated)
            }
            Output::SettleSlot(ask) => {
                self.ask_for_long(ask, async |db, q| db.settle_slot(q).await, Input::SlotSettled)
            }
            Output::BeginEra(ask) => self.ask(ask, async |db, q| db.begin_era(q).await, Input::EraBegun),
            Output::NoteAttempt(ask) => self.ask(ask, async |db, q| db.note_attempt(q).await, Input::AttemptNoted),
            Output::SaveCovered(ask) => self.ask(ask, async |db, q| db.save_covered(q).await, Input::CoveredSaved),
            Output::InspectTables(ask) => {
                self.ask_for_long(ask, async |db, q| db.inspect_tables(q).await, Input::TablesInspected);
            }
            Output::RaiseSchema(ask) => self.ask(ask, async |db, q| db.raise_schema(q).await, Input::SchemaRaised),
            Output::Prune(ask) => self.ask_for_long(ask, async |db, q| db.prune(q).await, Input::Pruned),
            Output::ReadHead(ask) => self.ask(ask, async |db, q| db.read_head(q).await, Input::HeadRead),
            Output::RecordPage(ask) => {
                if let Err(full) = self.appends.try_send(ask) {
                    self.refuse(full.into_inner(), Input::PageRecorded);
                }
            }
            Output::StartStream(ask) => {
                if let Err(Command::Start(ask)) = self.reader.tell(Command::Start(ask)) {
                    self.refuse(ask, Input::StreamStarted);
                }
            }
            Output::ReadSource(ask) => {
                if let Err(Command::Read(ask)) = self.reader.tell(Command::Read(ask)) {
                    self.refuse(ask, Input::SourceRead);
                }
            }
            Output::Confirm { lsn } => {
                if self.reader.tell(Command::Confirm(lsn)).is_err() {
                    tracing::debug!("a confirmation is left to the next one");
                }
            }
            Output::StopStream => {
                if self.reader.tell(Command::Stop).is_err() {
                    tracing::debug!("the stream is left to be closed by its next start");
                }
            }
            Output::NudgeSource => {
                let (database, reader) = (self.database.clone(), self.reader.clone());
                tokio::spawn(async move {
                    match database.in_time(database.nudge_source()).await {
                        Ok(_) => drop(reader.tell(Command::Nudged)), // Only a hint: without it, the source looks a little later.
                        Err(why) => {
                            tracing::debug!(%why, "the source could not be nudged; it is tried again while somebody waits");
                        }
                    }
                });
            }
            Output::Announce(announcement) => {
                let _ = self.replicator.announcements.send(announcement); // Without hubs nobody needs it.
            }
            Output::Halt(halt) => self.halt(halt),
            Output::Stopped => self.stopped = true,
        }
        Step::On
    }

    fn settle(&mut self, machine: Option<&Replication>) -> Settled {
        if let Some(machine) = machine {
            let (status, trouble) = (machine.status(), machine.trouble().map(Into::into));
            self.inbox.report.send_if_modified(|last| {
                let covered = |status: &Status| status.head.map(|head| (head.era().counter, head.covered));
                // What a stream starts from is no progress.
                let streams = |status: &Status| status.phase == PhaseName::Streaming;
                let moved = streams(&last.status) && streams(&status) && covered(&status) > covered(&last.status);
                let moved_at = if moved { Some(Instant::now()) } else { last.moved_at };
                let report = Report { status, ended: self.stopped, trouble, moved_at };
                let changed = *last != report;
                if last.status.phase != report.status.phase {
                    tracing::info!(phase = ?report.status.phase, "replication");
                }
                *last = report;
                changed
            });
        }
        match (self.stopped, self.inbox.events.is_empty()) {
            (true, _) => Settled::Done,
            (false, true) => Settled::Quiet,
            (false, false) => Settled::Waiting,
        }
    }

    fn give_up(&mut self, sentence: String) {
        let halt = Halt { code: "broken_invariant".into(), message: format!("replication {sentence}") };
        self.halt(halt.clone());
        self.inbox.report.send_modify(|report| {
            report.status.phase = PhaseName::Halted;
            report.status.halt = Some(halt);
            report.ended = true;
        });
    }
}

impl ReplicationHost {
    fn halt(&self, halt: Halt) {
        let Halt { code, message } = halt;
        tracing::error!(code, "replication has halted until somebody acts: {message}");
    }

    /// A question of few statements: the answer comes in time, or as a failure.
    fn ask<Q, F>(&self, ask: Ask<Q>, work: impl FnOnce(Database, Q) -> F + Send + 'static, fact: fn(Answer<Q>) -> Input)
    where
        Q: Question<Reply: Send> + Send + 'static,
        F: Future<Output = Result<Q::Reply, Failure>> + Send + 'static,
    {
        let in_time =
            async move |database: Database, question| database.in_time(work(database.clone(), question)).await;
        self.ask_for_long(ask, in_time, fact);
    }

    /// One whose work takes as long as there is much to do.
    fn ask_for_long<Q, F>(
        &self,
        ask: Ask<Q>,
        work: impl FnOnce(Database, Q) -> F + Send + 'static,
        fact: fn(Answer<Q>) -> Input,
    ) where
        Q: Question<Reply: Send> + Send + 'static,
        F: Future<Output = Result<Q::Reply, Failure>> + Send + 'static,
    {
        let (database, events) = (self.database.clone(), self.replicator.events.clone());
        tokio::spawn(async move {
            let answer = drive::answer(ask, |question| work(database, question)).await;
            let _ = events.send(Event::Answered(Box::new(fact(answer)))).await; // A machine that ended needs no answer.
        });
    }

    fn refuse<Q>(&self, ask: Ask<Q>, fact: fn(Answer<Q>) -> Input)
    where
        Q: Question<Reply: Send> + Send + 'static,
    {
        let full = async |_, _| Err(Failure::Unavailable("too many questions of this kind are open".into()));
        self.ask(ask, full, fact);
    }
}

async fn append_in_order(
    database: Database,
    mut asked: mpsc::Receiver<Ask<RecordPage>>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
) {
    while let Some(ask) = asked.recv().await {
        let (page, began) = (Arc::clone(&ask.question.page), Instant::now());
        let record = async |question| {
            let recorded = database.in_time(database.record_page(question)).await;
            if matches!(recorded, Ok(Recorded::Recorded { .. })) {
                let took = began.elapsed();
                metrics.history.appended(&page, took, Clock::wall());
                trace::recorded(&page, took);
            }
            recorded
        };
        let answer = drive::answer(ask, record).await;
        if events.send(Event::Answered(Box::new(Input::PageRecorded(answer)))).await.is_err() {
            return;
        }
    }
}
