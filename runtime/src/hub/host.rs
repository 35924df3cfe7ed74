//! What surrounds one hub's machine: its sockets, the database, Replication.

use super::event::Event;
use super::frames::Frames;
use super::look::Look;
use super::sockets::Sockets;
use super::tally::Tally;
use super::{SessionCounts, Surroundings};
use crate::db::Database;
use crate::drive::{self, Host, Settled, Step};
use crate::replication;
use crate::socket::{Due, Outbox, encode_close, encode_message};
use crate::trace;
use dormouse_core::ask::{Answer, Ask, Question};
use dormouse_core::fault::{Failure, FaultCode, PeerFault};
use dormouse_core::history::Announcement;
use dormouse_core::hub::{Config, Hub, Input, Output, Recipients};
use dormouse_core::position::Lsn;
use dormouse_core::session::SessionId;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ClientMessage, ServerMessage};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot};

/// The most events that are taken at once.
const BATCH_MAX: usize = 256;
/// To how many sockets is written before others have their turn.
const FLUSHES_MAX: usize = 64;

pub(super) struct HubHost {
    config: Config,
    surroundings: Surroundings,
    /// For the work on questions, which answers as an event.
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    /// `None` once Replication has ended.
    announced: Option<broadcast::Receiver<Arc<Announcement>>>,
    sockets: Sockets,
    frames: Frames,
    /// Sockets with frames that are to be written here.
    unwritten: VecDeque<Arc<Outbox>>,
    /// How many questions are being worked on.
    working: usize,
    counting: Vec<oneshot::Sender<SessionCounts>>,
    looking: Vec<Look>,
    tally: Tally,
    draining: bool,
}

impl HubHost {
    pub(super) fn new(
        config: Config,
        surroundings: Surroundings,
        events: mpsc::Sender<Event>,
        inbox: mpsc::Receiver<Event>,
    ) -> Self {
        let announced = Some(surroundings.announcements.subscribe());
        let tally = Tally::new(surroundings.metrics.hubs.clone());
        Self {
            config,
            surroundings,
            events,
            inbox,
            announced,
            sockets: Sockets::default(),
            frames: Frames::default(),
            unwritten: VecDeque::new(),
            working: 0,
            counting: Vec::new(),
            looking: Vec::new(),
            tally,
            draining: false,
        }
    }
}

impl Host for HubHost {
    type Machine = Hub;
    type Event = Event;

    async fn receive(&mut self, batch: &mut Vec<Event>) -> bool {
        self.flush_some();
        tokio::select! {
            received = self.inbox.recv_many(batch, BATCH_MAX) => received > 0,
            () = tokio::task::yield_now(), if !self.unwritten.is_empty() => true,
            announcement = next_of(&mut self.announced) => {
                match announcement {
                    Ok(announcement) => batch.push(Event::Announced(announcement)),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        // The next one does not follow what the hub knows, so it reads history.
                        self.surroundings.metrics.hubs.lagged.inc_by(missed);
                        tracing::debug!(missed, "a hub was too busy for some announcements");
                    }
                    Err(broadcast::error::RecvError::Closed) => self.announced = None,
                }
                true
            }
        }
    }

    fn wakes(&self, event: &Event) -> bool {
        match event {
            Event::Opened { .. } | Event::Received { .. } | Event::CredentialRenewed { .. } | Event::Closed { .. } => {
                true
            }
            Event::Announced(_) | Event::Drain => !self.sockets.is_empty(),
            Event::Answered(_) | Event::Evict | Event::Count(_) | Event::Look(_) => false,
        }
    }

    fn wake(&mut self, _: Timestamp) -> (Hub, Input) {
        let incarnation = self.surroundings.incarnations.next();
        let sessions = self.sockets.kept();
        self.tally.woke();
        tracing::debug!(incarnation = incarnation.0, sessions = sessions.len(), "a hub wakes");
        (Hub::new(self.config.clone()), Input::Woke { incarnation, sessions })
    }

    fn on_event(&mut self, event: Event, facts: &mut Vec<Input>) -> Step {
        match event {
            Event::Opened { outbox, hello, credential_until, reply } => {
                let session = self.sockets.insert(outbox);
                facts.push(Input::Opened { session, credential_until });
                facts.push(Input::Received { session, message: Ok(ClientMessage::Hello(*hello)) });
                let _ = reply.send(session); // A socket's task that is gone has its outbox closed below, by the hub's timeout.
            }
            Event::Received { session, message } => {
                self.tally.received(&message, self.surroundings.clock.now());
                if self.sockets.get_mut(session).is_some() {
                    facts.push(Input::Received { session, message });
                }
            }
            Event::CredentialRenewed { session, until } => {
                if self.sockets.get_mut(session).is_some() {
                    facts.push(Input::CredentialRenewed { session, until });
                }
            }
            Event::Closed { session, reason } => {
                if self.sockets.remove(session).is_some() {
                    facts.push(Input::Closed { session, reason });
                }
            }
            Event::Announced(announcement) => {
                self.tally.announced(&announcement);
                if let Some(page) = &announcement.page {
                    trace::announced(page, self.sockets.len());
                }
                facts.push(Input::Announced(announcement));
            }
            Event::Answered(input) => {
                self.working -= 1;
                facts.push(*input);
            }
            Event::Evict if self.sockets.is_empty() => {}
            Event::Evict => {
                self.tally.evicted();
                return Step::Evict;
            }
            Event::Drain => {
                self.draining = true;
                facts.push(Input::Draining);
            }
            Event::Count(reply) => self.counting.push(reply),
            Event::Look(look) => self.looking.push(look),
        }
        Step::On
    }

    fn carry_out(&mut self, _: Timestamp, output: Output) -> Step {
        match output {
            Output::Send { to, message } => self.send(&to, &message),
            Output::Close { session, fault } => self.close(session, fault),
            Output::Attach { session, attachment } => {
                if let Some(entry) = self.sockets.get_mut(session) {
                    entry.attachment = Some(attachment);
                }
            }
            Output::Hibernate { alarm } => return Step::Sleep(alarm),
            Output::WantCovered { lsn } => self.want_covered(lsn),
            Output::TakeEpoch(ask) => self.ask(ask, async |db, q| db.take_epoch(q).await, Input::EpochTaken),
            Output::JudgePosition(ask) => {
                self.ask(ask, async |db, q| db.judge_position(q).await, Input::PositionJudged);
            }
            Output::TakeSnapshot(ask) => {
                self.ask_for_long(ask, async |db, q| db.take_snapshot(q).await, Input::SnapshotTaken)
            }
            Output::ReadChunk(ask) => self.ask_for_long(ask, async |db, q| db.read_chunk(q).await, Input::ChunkRead),
            Output::ReadHistory(ask) => {
                self.surroundings.metrics.hubs.history_reads.inc();
                self.ask(ask, async |db, q| db.read_history(q).await, Input::HistoryRead);
            }
            Output::ReadHead(ask) => self.ask(ask, async |db, q| db.read_head(q).await, Input::HeadRead),
            Output::SavePositions(ask) => {
                self.ask(ask, async |db, q| db.save_positions(q).await, Input::PositionsSaved);
            }
            Output::RenewRegistrations(ask) => {
                self.ask(ask, async |db, q| db.renew_registrations(q).await, Input::RegistrationsRenewed);
            }
            Output::Unregister(ask) => self.ask(ask, async |db, q| db.unregister(q).await, Input::Unregistered),
            Output::DropSpool { spool } => self.surroundings.database.drop_spool(spool),
        }
        Step::On
    }

    fn settle(&mut self, machine: Option<&Hub>) -> Settled {
        if machine.is_none() {
            self.frames.clear();
        }
        let reused = self.frames.take_reused();
        if reused > 0 {
            self.surroundings.metrics.hubs.reused.inc_by(reused);
        }
        self.tally.settle(machine.is_some(), self.frames.take_encoded(), self.surroundings.clock.now());
        for look in self.looking.drain(..) {
            look.answer(machine, &self.sockets);
        }
        for reply in self.counting.drain(..) {
            let counts = match machine {
                Some(machine) => {
                    SessionCounts { awake: machine.sessions(), hibernated: 0, recent_bytes: machine.ring_bytes() }
                }
                None => SessionCounts { hibernated: self.sockets.len() as u64, ..SessionCounts::default() },
            };
            let _ = reply.send(counts); // Whoever asked may have gone.
        }
        if self.draining && self.sockets.is_empty() && self.working == 0 {
            Settled::Done
        } else if self.inbox.is_empty() && self.announced.as_ref().is_none_or(broadcast::Receiver::is_empty) {
            Settled::Quiet
        } else {
            Settled::Waiting
        }
    }

    fn give_up(&mut self, sentence: String) {
        tracing::error!("a hub {sentence}");
        self.surroundings.defect.cancel();
    }
}

impl HubHost {
    /// Writes to the next sockets that wait for it.
    fn flush_some(&mut self) {
        let some = self.unwritten.len().min(FLUSHES_MAX);
        self.unwritten.drain(..some).for_each(|outbox| outbox.flush());
        if self.unwritten.is_empty() {
            self.unwritten = VecDeque::new(); // After a storm nothing is left.
        }
    }

    fn send(&mut self, to: &Recipients, message: &Arc<ServerMessage>) {
        let Self { frames, sockets, unwritten, tally, surroundings, .. } = self;
        let sessions = match to {
            Recipients::One(session) => std::slice::from_ref(session),
            Recipients::Many(sessions) => sessions,
        };
        let mut bytes = 0;
        for session in sessions {
            let Some(entry) = sockets.get_mut(*session) else { continue }; // It closed while the hub worked for it.
            let frame = frames.of(message, entry.outbox.format(), sessions.len() > 1);
            bytes += frame.len();
            let pushed = entry.outbox.push(frame, sessions.len());
            if pushed == Ok(Due::Flush) {
                unwritten.push_back(Arc::clone(&entry.outbox));
            }
            if pushed.is_ok() && surroundings.budget.is_exceeded() {
                let gone = surroundings.budget.relieve(&entry.outbox);
                tracing::warn!(gone, "more waits for all clients than may: those for whom most waits are let go");
                (0..gone).for_each(|_| surroundings.metrics.refused(FaultCode::Unavailable));
            }
            if pushed.is_err() {
                tracing::warn!(%session, "a client that acknowledges without reading is closed");
                surroundings.metrics.refused(FaultCode::TooSlow);
                entry.outbox.close([encode_close(Some(FaultCode::TooSlow))]); // Its task tells us that it is gone.
            }
        }
        tally.sent(sessions.len(), message, bytes);
    }

    fn close(&mut self, session: SessionId, fault: Option<PeerFault>) {
        let Some(entry) = self.sockets.remove(session) else { return }; // It closed by itself at the same time.
        let code = fault.as_ref().map(|fault| fault.code);
        if let Some(code) = code {
            self.surroundings.metrics.refused(code);
        }
        tracing::debug!(%session, code = code.map(FaultCode::as_str), "a session is closed");
        let farewell = fault.map(|fault| encode_message(&ServerMessage::Fault(fault), entry.outbox.format()));
        entry.outbox.close(farewell.into_iter().chain([encode_close(code)]));
    }

    fn want_covered(&self, lsn: Lsn) {
        let event = replication::Event::CoveredWanted(lsn);
        if let Err(TrySendError::Full(event)) = self.surroundings.replication.try_send(event) {
            let replication = self.surroundings.replication.clone();
            tokio::spawn(async move { replication.send(event).await });
        }
    }

    /// A question of few statements: the answer comes in time, or as a failure.
    fn ask<Q, F>(
        &mut self,
        ask: Ask<Q>,
        work: impl FnOnce(Database, Q) -> F + Send + 'static,
        fact: fn(Answer<Q>) -> Input,
    ) where
        Q: Question<Reply: Send> + Send + 'static,
        F: Future<Output = Result<Q::Reply, Failure>> + Send + 'static,
    {
        let in_time =
            async move |database: Database, question| database.in_time(work(database.clone(), question)).await;
        self.ask_for_long(ask, in_time, fact);
    }

    /// One whose work takes as long as there is much to do.
    fn ask_for_long<Q, F>(
        &mut self,
        ask: Ask<Q>,
        work: impl FnOnce(Database, Q) -> F + Send + 'static,
        fact: fn(Answer<Q>) -> Input,
    ) where
        Q: Question<Reply: Send> + Send + 'static,
        F: Future<Output = Result<Q::Reply, Failure>> + Send + 'static,
    {
        self.working += 1;
        let (database, events) = (self.surroundings.database.clone(), self.events.clone());
        tokio::spawn(async move {
            let answer = drive::answer(ask, |question| work(database, question)).await;
            let _ = events.send(Event::Answered(Box::new(fact(answer)))).await; // A hub that has ended needs no answer.
        });
    }
}

/// What Replication announces next; nothing once it has ended.
async fn next_of(
    announced: &mut Option<broadcast::Receiver<Arc<Announcement>>>,
) -> Result<Arc<Announcement>, broadcast::error::RecvError> {
    match announced {
        Some(announced) => announced.recv().await,
        None => std::future::pending().await,
    }
}
