//! The hosts of the replicators: what they hear, and how their outputs are carried out, one at a time.

use super::lineage::{Known, node_of};
use super::pace::Pace;
use super::{CHECK_ALL_EVERY, Event, Spins, World, names};
use crate::chooser::{Kind, per_mille};
use crate::entity::{Entity, HUBS, NODES};
use crate::log::{Link, words};
use crate::oracle::Promise;
use crate::plan::Family;
use crate::postgres::StreamId;
use crate::probe::Probe;
use dormouse_core::ask::{Answer, Ask, AskId, Incarnation};
use dormouse_core::fault::Failure;
use dormouse_core::history::Announcement;
use dormouse_core::machine::Machine;
use dormouse_core::replication::{Input, Output, PhaseName, ReadSource, Replication};
use dormouse_core::source::SourceItem;
use dormouse_core::time::Timestamp;
use dormouse_core::xid::Xid;
use std::sync::Arc;
use std::time::Duration;

/// How long an announcement travels inside the server, in µs.
pub(super) const ANNOUNCEMENT_US: &[u64] = &[20, 400, 6_000, 60_000, 300_000];

/// How long the stream rests before a keepalive tells of WAL without published changes.
pub(super) const KEEPALIVE_AFTER: Duration = Duration::from_millis(30);

/// Of what a replicator says when its stream contradicts itself, which the model's never does.
const INCOHERENT: [&str; 4] =
    ["began inside another", "came outside a transaction", "came before its relation", "came without its transaction"];

/// How long a life counts as young.
const YOUNG: Duration = Duration::from_millis(300);

/// Where a replicator lives.
#[derive(Debug, Clone, Default)]
pub(super) struct ReplicationHost {
    pub(super) machine: Option<Replication>,
    pub(super) life: u64,
    born: Timestamp,
    pub(super) stream: Option<StreamId>,
    /// A read of the stream that waits for something.
    reading: Option<Ask<ReadSource>>,
    /// The last keepalive sent on this stream, as the end of WAL it told.
    pub(super) kept_alive: u64,
    pub(super) stream_event: bool,
    /// The commit that the last read of a stream left.
    pub(super) apart: Option<(StreamId, SourceItem)>,
    /// How far its node's clock has jumped ahead.
    pub(super) ahead: Duration,
    /// The connection is dead, and nobody knows.
    pub(super) dark: bool,
    pub(super) stopping: bool,
    /// Streams asked for and not yet open: one that opens after a later stop is closed again.
    pub(super) starting: u32,
    /// One was opened late, in place of another that was being read.
    pub(super) reopened: bool,
    /// How often it has announced something.
    pub(super) announced: u64,
    /// The walsender lags until then.
    pub(super) lags_until: Timestamp,
    pub(super) paused_until: Option<Timestamp>,
    /// Until when its whole process stands still.
    pub(super) suspended_until: Timestamp,
    due: Option<Timestamp>,
    generation: u64,
    spins: Spins,
    /// Appends on their way to the database.
    pub(super) recording: u32,
    /// The last creation or settling of a slot that waited for those who ran, and until which id.
    pub(super) slot_wait: Option<(AskId, Xid)>,
    pub(super) last_announced: [Timestamp; HUBS as usize],
    /// What its process knows of the database.
    pub(super) known: Known,
    pub(super) pace: Pace,
}

impl ReplicationHost {
    /// Whether a read of the stream waits.
    pub(super) const fn reads(&self) -> bool {
        self.reading.is_some()
    }

    /// The process is gone. Its walsender stays until somebody ends it.
    pub(super) fn end(&mut self) {
        self.machine = None;
        self.stream = None;
        self.reading = None;
        self.apart = None;
        self.paused_until = None;
        self.suspended_until = Timestamp::ZERO;
        self.dark = false;
        self.stopping = false;
        self.starting = 0;
        self.known = Known::default();
        self.due = None;
        self.generation += 1;
    }
}

impl World {
    pub(super) fn node_starts(&mut self, node: u8) {
        self.digest.word(1);
        if self.replications[node as usize].machine.is_some() {
            return;
        }
        let life = self.new_life();
        self.chooser.passes(Kind::Started, Entity::Node(node));
        let machine = Replication::new(self.plan.replication(node));
        let host = &mut self.replications[node as usize];
        (host.machine, host.life, host.born) = (Some(machine), life, self.now);
        self.first_look(node);
        self.feed_replication(node, Input::Started { incarnation: Incarnation(life) });
    }

    /// Puts an event off when the replicator that it concerns is paused. True when it was.
    fn put_off(&mut self, node: u8, event: impl FnOnce() -> Event) -> bool {
        match self.replications[node as usize].paused_until {
            Some(until) if until > self.now => {
                self.queue.push(until, event());
                true
            }
            _ => false,
        }
    }

    pub(super) fn replication_hears(&mut self, node: u8, life: u64, input: Input) {
        if self.put_off(node, || Event::ReplicationHears { node, life, input: Box::new(input.clone()) }) {
            return;
        }
        let host = &mut self.replications[node as usize];
        if host.machine.is_none() {
            return;
        }
        if life != 0 && life != host.life {
            if input == Input::Stopping {
                return; // It was meant for the process that has ended.
            }
            self.hit(Probe::StaleAnswer);
        }
        self.hears_renewals(node, life, &input);
        let superseded = self.superseded(node, life, &input);
        let wanted = self.wanted_and_covered(node, &input);
        self.feed_replication(node, input);
        self.judge_superseded(node, superseded);
        self.judge_wanted(node, wanted);
    }

    pub(super) fn replication_timeout(&mut self, node: u8, generation: u64) {
        let host = &mut self.replications[node as usize];
        if host.generation != generation || host.machine.is_none() {
            return;
        }
        if self.put_off(node, || Event::Timeout { whose: Entity::Replication(node), generation }) {
            return;
        }
        let now = self.replication_now(node);
        let host = &mut self.replications[node as usize];
        host.due = None;
        let Some(machine) = &mut host.machine else { return };
        if machine.poll_timeout().is_none_or(|due| due > now) {
            return self.after_replication(node); // It wants to be called later by now.
        }
        self.digest.word(2);
        self.log.add(|_| words::timer(Entity::Replication(node)));
        machine.handle_timeout(now);
        let spins = self.replications[node as usize].spins.fired(now);
        self.check_spins(Entity::Replication(node), spins);
        self.pump_replication(node);
    }

    /// The host wants a node to end in an orderly way.
    pub(super) fn stop_node(&mut self, node: u8) {
        let host = &mut self.replications[node as usize];
        if host.machine.is_none() || std::mem::replace(&mut host.stopping, true) {
            return;
        }
        self.hit(Probe::NodeDrained);
        if node == 0 {
            for hub in 0..HUBS {
                if self.hubs[hub as usize].machine.is_some() || self.network.at_hub(hub).next().is_some() {
                    self.feed_hub(hub, dormouse_core::hub::Input::Draining, Probe::HubWokeByMessage);
                    self.hubs[hub as usize].drains = Some(self.hubs[hub as usize].life);
                }
            }
        }
        let (life, input) = (self.replications[node as usize].life, Box::new(Input::Stopping));
        self.plan_in(Duration::from_millis(1), Event::ReplicationHears { node, life, input });
    }

    /// All is done: the process ends, and somebody starts it again.
    pub(super) fn node_ends(&mut self, node: u8) {
        let host = &mut self.replications[node as usize];
        if host.stopping {
            host.end();
            if node == 0 {
                for hub in 0..HUBS {
                    self.drop_hub(hub);
                    self.end_server_sides(hub, false);
                }
            }
            self.plan_in(Duration::from_millis(60), Event::NodeStarts { node });
        }
    }

    fn feed_replication(&mut self, node: u8, input: Input) {
        self.digest.word(3);
        self.digest.add(&input);
        self.log.add(|_| words::replication_input(node, &input));
        let now = self.replication_now(node);
        self.note_pace(node, &input);
        let Some(machine) = &mut self.replications[node as usize].machine else { return };
        machine.handle(now, input);
        self.pump_replication(node);
    }

    fn pump_replication(&mut self, node: u8) {
        loop {
            let host = &mut self.replications[node as usize];
            let Some(machine) = &mut host.machine else { return };
            let Some(output) = machine.poll_output() else { break };
            self.doing = names::of_replication(&output);
            self.judge_idle(Entity::Replication(node));
            if self.crashes_before(node, &output) {
                return;
            }
            self.digest.add(&output);
            self.log.add(|_| words::replication_output(node, &output));
            self.carry_replication(node, output);
        }
        self.after_replication(node);
    }

    pub(super) fn after_replication(&mut self, node: u8) {
        let Some(machine) = &self.replications[node as usize].machine else { return };
        self.log.state(Entity::Replication(node), || crate::log::state(machine));
        let broken =
            if self.events.is_multiple_of(CHECK_ALL_EVERY) { machine.check_all() } else { machine.check() }.err();
        let (due, queued) = (machine.poll_timeout(), machine.queued_bytes());
        let incoherent = machine.trouble().is_some_and(|why| INCOHERENT.iter().any(|word| why.contains(word)));
        if let Some(broken) = broken {
            self.broken(Entity::Replication(node), &broken);
        }
        if incoherent && !self.replications[node as usize].reopened {
            let event = "gives up a stream that follows the protocol as one that does not".into();
            self.violate(Promise::Converges, "coherent", Entity::Replication(node), event);
        }
        self.judge_queue(node, queued);
        let host = &mut self.replications[node as usize];
        if let Some(due) = due.map(|due| (due - host.ahead).max(self.now))
            && host.due.is_none_or(|planned| due < planned)
        {
            host.due = Some(due); // A later deadline is noticed when the earlier one comes.
            host.generation += 1;
            let generation = host.generation;
            self.queue.push(due, Event::Timeout { whose: Entity::Replication(node), generation });
        }
    }

    fn crashes_before(&mut self, node: u8, output: &Output) -> bool {
        if self.is_poisoned(node, output) {
            return true;
        }
        if !self.plan.has(Family::NodeCrash) {
            return false;
        }
        let weight = match output {
            Output::RecordPage(_) | Output::Announce(_) | Output::Confirm { .. } => per_mille(10),
            Output::SaveCovered(_)
            | Output::RaiseSchema(_)
            | Output::BeginEra(_)
            | Output::CreateSlot(_)
            | Output::SettleSlot(_) => per_mille(10),
            _ => per_mille(1),
        };
        // Answers to a life that was short are the likeliest to be taken for answers to the next.
        let young = self.now.since(self.replications[node as usize].born) < YOUNG;
        let weight = if young { weight * 4 } else { weight } * self.danger(node);
        let crashes = self.happens(Kind::CrashAtOutput, Entity::Replication(node), weight);
        if crashes {
            self.crash_node(node);
        }
        crashes
    }

    fn carry_replication(&mut self, node: u8, output: Output) {
        self.judge_pace(node, &output);
        match output {
            Output::Announce(announcement) => {
                // What is counted here would only keep equal states apart in an exhaustive search.
                self.replications[node as usize].announced += u64::from(!self.chooser.is_exhaustive());
                self.announce(node, &announcement);
            }
            Output::Confirm { lsn } => {
                if let Some(stream) = self.replications[node as usize].stream {
                    let after = self.question_latency(Entity::Replication(node));
                    self.plan_in(after, Event::Confirmed { node, stream, lsn });
                }
            }
            Output::NudgeSource => {
                if !self.may_ask(node) {
                    return;
                }
                let after = self.question_latency(Entity::Replication(node));
                self.plan_in(after, Event::Nudged);
            }
            Output::StopStream => {
                let host = &mut self.replications[node as usize];
                host.dark = false;
                host.starting = 0;
                host.reading = None;
                if let Some(stream) = host.stream.take() {
                    self.postgres.stop_stream(stream);
                }
            }
            Output::Halt(halt) => {
                self.halted(node, &halt);
            }
            Output::Stopped => self.node_ends(node),
            Output::ReadSource(ask) => self.read_source(node, ask),
            Output::StartStream(ask) => {
                self.replications[node as usize].starting += 1;
                self.ask_as_replication(node, Output::StartStream(ask));
            }
            question @ (Output::TakeLease(_)
            | Output::RenewLease(_)
            | Output::ReleaseLease(_)
            | Output::InspectSource(_)
            | Output::LoadProgress(_)
            | Output::CreateSlot(_)
            | Output::SettleSlot(_)
            | Output::BeginEra(_)
            | Output::NoteAttempt(_)
            | Output::RecordPage(_)
            | Output::SaveCovered(_)
            | Output::InspectTables(_)
            | Output::RaiseSchema(_)
            | Output::Prune(_)
            | Output::ReadHead(_)) => self.ask_as_replication(node, question),
        }
    }

    fn announce(&mut self, node: u8, announcement: &Arc<Announcement>) {
        // What is not in the restored database was in the one before.
        if !self.is_behind(node) {
            let verdict = self.oracle.announced(&self.postgres, announcement);
            self.verdict(Entity::Replication(node), verdict);
        }
        let host = &self.replications[node as usize];
        if host.machine.as_ref().is_some_and(|machine| machine.phase() == PhaseName::Standby) {
            self.hit(Probe::StandbyFollowed);
        }
        let restores = self.replications[node as usize].known.restores;
        for hub in (0..HUBS).filter(|hub| node_of(Entity::Hub(*hub)) == node) {
            let loses = if self.plan.has(Family::LostAnnouncements) { per_mille(60) } else { 0 };
            if self.happens(Kind::LoseAnnouncement, Entity::Hub(hub), loses) {
                self.hit(Probe::AnnouncementLost);
                continue;
            }
            let head = announcement.head;
            self.log.sends(Entity::Replication(node), || Link::Announcement(hub, head.position(), head.covered));
            let weight = if self.plan.has(Family::Latency) { per_mille(150) } else { per_mille(10) };
            let after = self.delay(Kind::AnnouncementLatency, Entity::Hub(hub), ANNOUNCEMENT_US, weight);
            let host = &mut self.replications[node as usize];
            let at = host.last_announced[hub as usize].max(self.now + after);
            host.last_announced[hub as usize] = at;
            self.queue.push(at, Event::Announced { hub, announcement: Arc::clone(announcement), restores });
        }
    }

    fn read_source(&mut self, node: u8, ask: Ask<ReadSource>) {
        let host = &mut self.replications[node as usize];
        let Some(stream) = host.stream else {
            return self.source_read(node, ask, Err(Failure::Unavailable("there is no stream".into())));
        };
        host.reading = Some(ask);
        if host.dark {
            return;
        }
        if self.has_to_read(node, stream) || self.keepalive_due(node, stream) {
            self.plan_stream_event(node);
        }
    }

    fn plan_stream_event(&mut self, node: u8) {
        let host = &mut self.replications[node as usize];
        if !host.stream_event {
            host.stream_event = true;
            let stream = host.stream;
            let ready = stream.is_some_and(|stream| self.has_to_read(node, stream));
            let after = self.question_latency(Entity::Replication(node));
            let at = self.now + if ready { after } else { after + KEEPALIVE_AFTER };
            let at = at.max(self.replications[node as usize].lags_until);
            self.queue.push(at, Event::StreamGrew { node });
        }
    }

    /// After every event: a read that waits may have something to return.
    pub(super) fn wake_streams(&mut self) {
        for node in 0..NODES {
            let host = &self.replications[node as usize];
            if let (Some(_), Some(stream), false) = (&host.reading, host.stream, host.stream_event || host.dark)
                && (self.has_to_read(node, stream) || self.keepalive_due(node, stream))
            {
                self.plan_stream_event(node);
            }
        }
    }

    fn keepalive_due(&self, node: u8, stream: StreamId) -> bool {
        let told = self.replications[node as usize].kept_alive;
        self.postgres.open_stream() != Some(stream) || self.postgres.flushed_lsn().0 > told
    }

    pub(super) fn stream_grew(&mut self, node: u8) {
        if self.put_off(node, || Event::StreamGrew { node }) {
            return;
        }
        let host = &mut self.replications[node as usize];
        host.stream_event = false;
        if host.dark {
            return;
        }
        let (Some(mut ask), Some(stream)) = (host.reading.take(), host.stream) else { return };
        self.doing = "ReadSource";
        if let Some(commit) = self.take_apart(node, stream) {
            return self.source_read(node, ask, Ok(vec![commit]));
        }
        let weight = if self.plan.has(Family::Latency) { per_mille(300) } else { per_mille(50) };
        let cut = self.choose(Kind::ReadCut, Entity::Replication(node), 4, weight);
        if cut != 0 {
            ask.question.changes_max = ask.question.changes_max.min(u32::try_from(cut).unwrap_or(1));
        }
        let items = self.postgres.ask_read_source(stream, &ask.question);
        match items {
            Ok(items) if items.is_empty() => {
                let told = self.postgres.flushed_lsn().0;
                let host = &mut self.replications[node as usize];
                if told > host.kept_alive {
                    host.kept_alive = told;
                    let items = self.postgres.keepalive(stream).map(|item| vec![item]);
                    self.source_read(node, ask, items);
                } else {
                    host.reading = Some(ask);
                }
            }
            Ok(mut items) => {
                self.part_commit(node, stream, &mut items);
                let apart = self.replications[node as usize].apart.is_some();
                if !apart
                    && self.happens(Kind::Keepalive, Entity::Postgres, per_mille(100))
                    && let Ok(keepalive) = self.postgres.keepalive(stream)
                {
                    items.push(keepalive);
                }
                self.source_read(node, ask, Ok(items));
            }
            Err(failure) => self.source_read(node, ask, Err(failure)),
        }
    }

    fn source_read(&mut self, node: u8, ask: Ask<ReadSource>, reply: Result<Vec<SourceItem>, Failure>) {
        let life = self.replications[node as usize].life;
        self.log.add(|_| words::streamed(node, ask.id, &reply));
        self.doing = "ReadSource";
        self.saw_stream(&reply);
        let after = self.answer_latency(Entity::Replication(node));
        let input = Box::new(Input::SourceRead(Answer { id: ask.id, reply }));
        self.plan_in(after, Event::ReplicationHears { node, life, input });
    }

    /// The stream's connection is dead, and nobody is told.
    pub(super) fn stream_goes_dark(&mut self, node: u8) {
        let host = &mut self.replications[node as usize];
        host.dark = host.stream.is_some();
    }

    /// The stream's connection is lost: a read that waits fails.
    pub(super) fn lose_stream(&mut self, node: u8) {
        let host = &mut self.replications[node as usize];
        if let Some(stream) = host.stream.take() {
            self.postgres.stop_stream(stream);
        }
        if let Some(ask) = self.replications[node as usize].reading.take() {
            self.source_read(node, ask, Err(Failure::Unavailable("the replication connection was lost".into())));
        }
    }

    pub(super) fn confirmed(&mut self, node: u8, stream: StreamId, lsn: dormouse_core::position::Lsn) {
        self.digest.word(4);
        if self.postgres.open_stream() == Some(stream) && !self.replications[node as usize].dark {
            self.log.add(|_| words::confirmed(node, lsn));
            let verdict = self.oracle.confirmed(&self.postgres, lsn);
            self.verdict(Entity::Replication(node), verdict);
            self.postgres.confirm(stream, lsn);
        }
    }
}
