//! The hosts of the hubs: they keep the sockets and attachments while a hub sleeps, and rebuild it when something happens.

use super::attached::spooled;
use super::judge::Read;
use super::kept::Placed;
use super::recent::Recent;
use super::{CHECK_ALL_EVERY, Event, Spins, World, names};
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::log::{Draft, Link, What, words};
use crate::oracle::Promise;
use crate::plan::Family;
use crate::probe::Probe;
use crate::sorted::Sorted;
use dormouse_core::ask::Incarnation;
use dormouse_core::fault::{FaultCode, ResyncReason};
use dormouse_core::history::Announcement;
use dormouse_core::hub::{Hub, Input, Output, Recipients, SpoolId};
use dormouse_core::machine::{BrokenInvariant, Machine};
use dormouse_core::position::{Position, Waypoint};
use dormouse_core::safeguard::Safeguard;
use dormouse_core::session::{ClientId, Epoch, SessionId};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::ServerMessage;
use std::sync::Arc;
use std::time::Duration;

const WAKE_US: &[u64] = &[1_000, 50_000, 400_000, 1_500_000];

/// How long a life counts as young.
const YOUNG: Duration = Duration::from_millis(60);

/// Where a hub lives.
#[derive(Debug, Clone, Default)]
pub(super) struct HubHost {
    pub(super) machine: Option<Hub>,
    pub(super) life: u64,
    pub(super) born: Timestamp,
    /// Reads of history under way, by number, and when each was asked for.
    pub(super) reads: Sorted<u64, Timestamp>,
    /// When it last told a session that everything comes again.
    pub(super) resynced: Timestamp,
    /// Where history ended when it was dropped.
    pub(super) slept_at: Position,
    /// Copies of snapshots that this life has on disk.
    pub(super) spools: Vec<SpoolId>,
    /// Those of which it heard, and since when no session uses the oldest of them.
    pub(super) heard: Vec<SpoolId>,
    pub(super) unused: Option<(SpoolId, Timestamp)>,
    /// What it read last, how often in a row, and since when.
    pub(super) repeats: Option<(Read, u32, Timestamp)>,
    /// When it last asked for registrations to be renewed, or was answered.
    pub(super) renewed: Timestamp,
    /// The life that waits for that to be answered.
    pub(super) renewing: Option<u64>,
    /// How many questions of this life are not answered, those for the head left out: a woken hub reads that again.
    pub(super) open: u64,
    /// How many registrations it asked to be removed.
    pub(super) unregistered: u64,
    /// How many removals have failed in this life and were not asked for again.
    pub(super) unremoved: u64,
    /// The life that was told that its host shuts down.
    pub(super) drains: Option<u64>,
    /// What this life heard its clients to have stored, under which epoch, whether or not they are still there.
    pub(super) acked: Sorted<ClientId, (Epoch, Waypoint)>,
    /// The furthest that each session is known to hold, by what it acknowledged and by what was kept with its socket.
    pub(super) placed: Placed,
    /// The furthest that was announced to this life.
    pub(super) told: Option<Waypoint>,
    /// What it was announced and must remember.
    pub(super) recent: Recent,
    /// The copy of a snapshot that it dropped last.
    pub(super) dropped: Option<SpoolId>,
    /// Until when the registry refuses what it writes.
    pub(super) refused_until: Timestamp,
    /// How far its node's clock has jumped ahead.
    pub(super) ahead: Duration,
    /// Its host comes to itself after a jump: what arrives is handled before the timers that are due.
    pub(super) stalled_until: Timestamp,
    alarm_generation: u64,
    due: Option<Timestamp>,
    generation: u64,
    spins: Spins,
}

impl World {
    /// Gives a hub a fact, waking it first when it sleeps.
    pub(super) fn feed_hub(&mut self, hub: u8, input: Input, woken_by: Probe) {
        if self.replications[0].machine.is_none() {
            return; // The process is down.
        }
        if self.hubs[hub as usize].machine.is_none() && !self.wake_hub(hub, woken_by) {
            return; // It was evicted again while it woke.
        }
        self.digest.word(10);
        self.digest.add(&input);
        self.log.add(|names| words::hub_input(hub, &input, names));
        let now = self.hub_now(hub);
        self.note_heard(hub, &input);
        let Some(machine) = &mut self.hubs[hub as usize].machine else { return };
        machine.handle(now, input);
        self.pump_hub(hub);
    }

    fn wake_hub(&mut self, hub: u8, woken_by: Probe) -> bool {
        let life = self.new_life();
        self.saw_waking(hub);
        self.chooser.passes(Kind::Woke, Entity::Hub(hub));
        let sessions: Vec<_> = self.network.at_hub(hub).map(|(_, c)| (c.session, c.attachment.clone())).collect();
        if !sessions.is_empty() {
            self.hit(Probe::HubWokeWithSessions);
            self.hit(woken_by);
        }
        if sessions.iter().any(|(_, attachment)| attachment.is_none()) {
            self.hit(Probe::HubWokeWithoutAttachment);
        }
        let sessions = sessions.into_iter().map(|(id, attachment)| (id, attachment.map(|a| (*a).clone()))).collect();
        let mut machine = Hub::new(self.plan.hub(hub, life));
        let input = Input::Woke { incarnation: Incarnation(life), sessions };
        self.digest.word(11);
        self.digest.add(&input);
        self.log.add(|names| words::hub_input(hub, &input, names));
        machine.handle(self.hub_now(hub), input);
        let host = &mut self.hubs[hub as usize];
        (host.machine, host.life, host.born) = (Some(machine), life, self.now);
        host.alarm_generation += 1;
        host.due = None;
        self.pump_hub(hub);
        self.hubs[hub as usize].machine.is_some()
    }

    pub(super) fn hub_hears(&mut self, hub: u8, life: u64, input: Input) {
        let host = &self.hubs[hub as usize];
        if host.machine.is_none() {
            return; // An answer wakes nobody.
        }
        let stale = life != host.life;
        if stale {
            self.hit(Probe::StaleAnswer);
        } else if !matches!(input, Input::HeadRead(_)) {
            let host = &mut self.hubs[hub as usize];
            host.open = host.open.saturating_sub(1);
            if matches!(input, Input::RegistrationsRenewed(_)) {
                (host.renewed, host.renewing) = (self.now, None);
            }
        }
        let spool = spooled(&input);
        if !stale {
            self.note_answer(hub, &input);
            self.hubs[hub as usize].heard.extend(spool);
            self.note_removal(hub, &input);
        }
        self.saw_answer(hub, life, &input);
        let before = host_counts(&self.hubs[hub as usize]);
        self.feed_hub(hub, input, Probe::HubWokeByMessage);
        let after = host_counts(&self.hubs[hub as usize]);
        if let Some(spool) = spool.filter(|_| stale) {
            self.judge_orphan(hub, before.0, spool);
        }
        if stale
            && self.plan.safeguards.holds(Safeguard::AnswerIncarnation)
            && before.0 == after.0
            && after.1 <= before.1
        {
            let event = "an answer to an earlier life was not counted as stale".into();
            self.violate(Promise::Bounded, "stale answers", Entity::Hub(hub), event);
        }
    }

    pub(super) fn announced(&mut self, hub: u8, announcement: Arc<Announcement>, restores: u64) {
        if restores != self.replications[0].known.restores {
            return; // What a process of before had to say stays with that.
        }
        if self.hubs[hub as usize].machine.is_none() && self.network.at_hub(hub).next().is_none() {
            return; // Nobody to tell: it learns the head when it wakes.
        }
        let head = announcement.head;
        self.log.arrives(|| Link::Announcement(hub, head.position(), head.covered));
        self.chooser.passes(Kind::Announced, Entity::Hub(hub));
        if self.is_reading(hub) {
            self.hit(Probe::AnnouncedWhileReading);
        }
        self.note_announced(hub, &announcement);
        self.feed_hub(hub, Input::Announced(announcement), Probe::HubWokeByAnnouncement);
        self.note_followed(hub);
        self.note_told(hub, head.waypoint);
    }

    pub(super) fn hub_wakes(&mut self, hub: u8) {
        if self.hubs[hub as usize].machine.is_some() && self.hubs[hub as usize].born == self.now {
            self.hit(Probe::WokenTwice);
        }
        if self.hubs[hub as usize].machine.is_none()
            && self.replications[0].machine.is_some()
            && self.network.at_hub(hub).next().is_some()
        {
            self.wake_hub(hub, Probe::HubWokeByAlarm);
        }
    }

    pub(super) fn alarm(&mut self, hub: u8, generation: u64) {
        if self.hubs[hub as usize].alarm_generation == generation {
            self.hub_wakes(hub);
        }
    }

    pub(super) fn hub_timeout(&mut self, hub: u8, generation: u64) {
        let now = self.hub_now(hub);
        let host = &mut self.hubs[hub as usize];
        if host.generation != generation {
            return;
        }
        host.due = None;
        let Some(machine) = &mut host.machine else { return };
        if machine.poll_timeout().is_none_or(|due| due > now) {
            return self.after_hub(hub); // It wants to be called later by now.
        }
        self.digest.word(12);
        self.log.add(|_| words::timer(Entity::Hub(hub)));
        machine.handle_timeout(now);
        let spins = self.hubs[hub as usize].spins.fired(now);
        self.check_spins(Entity::Hub(hub), spins);
        self.pump_hub(hub);
    }

    fn pump_hub(&mut self, hub: u8) {
        loop {
            let Some(machine) = &mut self.hubs[hub as usize].machine else { return };
            let Some(output) = machine.poll_output() else { break };
            self.doing = names::of_hub(&output);
            self.judge_idle(Entity::Hub(hub));
            if self.ends_before(hub, &output) {
                return;
            }
            self.digest.add(&output);
            self.log.add(|names| words::hub_output(hub, &output, names));
            self.carry_hub(hub, output);
        }
        self.after_hub(hub);
    }

    pub(super) fn after_hub(&mut self, hub: u8) {
        let Some(machine) = &self.hubs[hub as usize].machine else { return };
        self.log.state(Entity::Hub(hub), || crate::log::state(machine));
        let broken =
            if self.events.is_multiple_of(CHECK_ALL_EVERY) { machine.check_all() } else { machine.check() }.err();
        let (due, kept) = (machine.poll_timeout(), machine.ring_bytes());
        if let Some(broken) = broken {
            self.broken(Entity::Hub(hub), &broken);
        }
        let verdict = self.oracle.keeps(kept);
        self.verdict(Entity::Hub(hub), verdict);
        let host = &mut self.hubs[hub as usize];
        if let Some(due) = due.map(|due| (due - host.ahead).max(self.now).max(host.stalled_until))
            && host.due.is_none_or(|planned| due < planned)
        {
            host.due = Some(due); // A later deadline is noticed when the earlier one comes.
            host.generation += 1;
            let generation = host.generation;
            self.queue.push(due, Event::Timeout { whose: Entity::Hub(hub), generation });
        }
    }

    pub(super) fn check_spins(&mut self, entity: Entity, spins: u32) {
        const SPINS_MAX: u32 = 100;
        if spins > SPINS_MAX {
            let event = "a machine's timer fires without end".into();
            self.violate(Promise::Converges, "timers", entity, event);
        }
    }

    pub(super) fn broken(&mut self, entity: Entity, broken: &BrokenInvariant) {
        self.violate(Promise::Invariant, "invariant", entity, broken.what.clone());
    }

    /// Whether the hub, or its whole process, ends just before this output.
    fn ends_before(&mut self, hub: u8, output: &Output) -> bool {
        let dangerous = matches!(
            output,
            Output::Attach { .. } | Output::SavePositions(_) | Output::Send { .. } | Output::TakeEpoch(_)
        );
        if self.plan.has(Family::NodeCrash) {
            let weight = if dangerous { per_mille(2) } else { per_mille(1) };
            if self.happens(Kind::CrashAtOutput, Entity::Hub(hub), weight) {
                self.crash_node(0);
                return true;
            }
        }
        if self.plan.has(Family::Evict) {
            let weight = if dangerous { per_mille(15) } else { per_mille(5) };
            // Answers to a life that was short are the likeliest to be taken for answers to the next.
            let young = self.now.since(self.hubs[hub as usize].born) < YOUNG;
            let weight = if young { weight * 4 } else { weight };
            if self.happens(Kind::EvictAtOutput, Entity::Hub(hub), weight) {
                self.evict(hub);
                return true;
            }
        }
        false
    }

    /// The host drops a hub: sockets and attachments stay, and it wakes by itself after a while if nothing else wakes it.
    pub(super) fn evict(&mut self, hub: u8) {
        let Some(machine) = &self.hubs[hub as usize].machine else { return };
        let sessions = machine.sessions();
        self.hit(Probe::HubEvicted);
        self.log.add(|_| Draft::new(Entity::Hub(hub), What::Evict, "is dropped by its host".into()));
        self.saw_eviction(hub);
        for (count, probe) in [
            (sessions.greeted, Probe::HubEvictedGreeting),
            (sessions.backfill, Probe::HubEvictedBackfilling),
            (sessions.catch_up, Probe::HubEvictedCatchingUp),
        ] {
            if count > 0 {
                self.hit(probe);
            }
        }
        self.drop_hub(hub);
        self.delay_answers(Entity::Hub(hub));
        let after = self.delay(Kind::WakeLatency, Entity::Hub(hub), WAKE_US, per_mille(600));
        self.plan_in(after, Event::HubWakes { hub });
    }

    /// The memory of a hub is gone, with the copies of snapshots that only it knew.
    pub(super) fn drop_hub(&mut self, hub: u8) {
        let host = &mut self.hubs[hub as usize];
        host.machine = None;
        host.due = None;
        host.generation += 1;
        self.log.state(Entity::Hub(hub), || serde_json::Value::Null);
        self.chooser.passes(Kind::Slept, Entity::Hub(hub));
        host.reads.clear();
        host.heard.clear();
        (host.open, host.repeats, host.unremoved) = (0, None, 0);
        (host.acked, host.told, host.recent) = (Sorted::default(), None, Recent::default());
        self.network.forget_acked(hub);
        let host = &mut self.hubs[hub as usize];
        host.slept_at = self.postgres.head().map(|head| head.position()).unwrap_or_default();
        for spool in std::mem::take(&mut host.spools) {
            self.postgres.drop_spool(spool);
        }
    }

    fn carry_hub(&mut self, hub: u8, output: Output) {
        match output {
            Output::Send { to, message } => {
                self.note_message(&message);
                if let ServerMessage::Resync { reason } = &*message {
                    self.hubs[hub as usize].resynced = self.now;
                    if let Recipients::One(session) = &to {
                        self.judge_resync(hub, *session, *reason);
                    }
                }
                match to {
                    Recipients::One(session) => self.send_to_session(hub, session, &message),
                    Recipients::Many(sessions) => {
                        for session in sessions.iter() {
                            self.send_to_session(hub, *session, &message);
                        }
                    }
                }
            }
            Output::Close { session, fault } => {
                if let Some(id) = self.network.of_session(hub, session) {
                    if let Some(fault) = fault {
                        if fault.code == FaultCode::Expired {
                            self.judge_expiry(hub, id);
                            self.hit(Probe::CredentialExpired);
                            if self.hubs[hub as usize].born == self.now {
                                self.hit(Probe::CredentialExpiredAsleep);
                            }
                        }
                        self.judge_fault(hub, id, fault.code);
                        self.note_fault(fault.code, id);
                        self.send_to_client(id, &Arc::new(ServerMessage::Fault(fault)));
                    }
                    self.closed_by_hub(hub, id);
                    self.server_closes(id, "the server closed the session");
                }
            }
            Output::Attach { session, attachment } => self.attached(hub, session, attachment),
            Output::Hibernate { alarm } => self.hibernate(hub, alarm),
            Output::WantCovered { lsn } => self.covered_wanted(hub, lsn),
            Output::DropSpool { spool } => {
                let host = &mut self.hubs[hub as usize];
                host.spools.retain(|kept| *kept != spool);
                host.heard.retain(|kept| *kept != spool);
                host.dropped = Some(spool);
                self.postgres.drop_spool(spool);
            }
            question @ Output::Unregister(_) => {
                let host = &mut self.hubs[hub as usize];
                (host.unregistered, host.unremoved) = (host.unregistered + 1, host.unremoved.saturating_sub(1));
                self.ask_as_hub(hub, question);
            }
            question @ (Output::TakeEpoch(_)
            | Output::JudgePosition(_)
            | Output::TakeSnapshot(_)
            | Output::ReadChunk(_)
            | Output::ReadHistory(_)
            | Output::ReadHead(_)
            | Output::SavePositions(_)
            | Output::RenewRegistrations(_)) => self.ask_as_hub(hub, question),
        }
    }

    fn send_to_session(&mut self, hub: u8, session: SessionId, message: &Arc<ServerMessage>) {
        if let ServerMessage::Page(page) = &**message
            && let Some(machine) = &self.hubs[hub as usize].machine
            && machine.bytes_in_flight(session) < page.weight() as u64
        {
            let event = "a page is sent and not counted as under way".into();
            self.violate(Promise::Bounded, "counted", Entity::Hub(hub), event);
        }
        self.saw_sent(message);
        if let Some(id) = self.network.of_session(hub, session) {
            self.judge_made(hub, id, message);
            self.send_to_client(id, message);
        }
    }

    fn note_message(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Resync { reason } => {
                self.hit(Probe::Resynced);
                match reason {
                    ResyncReason::OtherEra => self.hit(Probe::ResyncOtherEra),
                    ResyncReason::SchemaChanged => self.hit(Probe::ResyncSchema),
                    ResyncReason::Pruned => self.hit(Probe::ResyncPruned),
                    ResyncReason::UnknownPosition => self.hit(Probe::ResyncUnknown),
                    ResyncReason::NoPosition | ResyncReason::ScopeChanged => {}
                }
            }
            ServerMessage::Seam { page: Some(page), .. } if !page.transactions.is_empty() => {
                self.hit(Probe::SeamNotEmpty);
            }
            _ => {}
        }
    }

    fn note_fault(&mut self, code: FaultCode, connection: u64) {
        match code {
            FaultCode::Replaced => self.hit(Probe::Replaced),
            FaultCode::Stale => self.hit(Probe::StaleGreeting),
            _ => {}
        }
        let client = self.network.connections.get(connection).map(|connection| connection.client);
        if client.is_some_and(|client| self.plan.is_attacker(client)) {
            self.hit(Probe::ForgedRefused);
        }
    }

    fn hibernate(&mut self, hub: u8, alarm: Option<Timestamp>) {
        self.hit(Probe::HubHibernated);
        let restless = self.network.at_hub(hub).find(|(_, connection)| {
            let told = connection.attachment.as_ref().is_some_and(|attachment| attachment.told_live);
            !told || (connection.in_flight_of == self.hubs[hub as usize].life && !connection.ledger.is_settled())
        });
        if let Some(client) = restless.map(|(_, connection)| connection.client) {
            let event = format!("sleeps while client/{client} is not live or has not acknowledged all");
            self.violate(Promise::Converges, "hibernates", Entity::Hub(hub), event);
        }
        self.judge_alarm(hub, alarm);
        self.judge_offer(hub);
        self.judge_asleep(hub);
        self.judge_kept(hub);
        self.judge_told(hub);
        self.judge_removals(hub);
        self.note_sleep(hub);
        self.drop_hub(hub);
        let host = &mut self.hubs[hub as usize];
        host.alarm_generation += 1;
        let generation = host.alarm_generation;
        let Some(mut alarm) = alarm.map(|alarm| alarm - host.ahead) else { return };
        let odd = if self.plan.has(Family::Hibernate) { per_mille(100) } else { 0 };
        match self.choose(Kind::OddAlarm, Entity::Hub(hub), 3, odd) {
            1 => alarm = alarm + Duration::from_secs(3),
            2 => self.queue.push(alarm.max(self.now), Event::HubWakes { hub }),
            _ => {}
        }
        self.queue.push(alarm.max(self.now), Event::Alarm { hub, generation });
    }
}

/// Which life of a hub this is, and how many answers it found stale.
fn host_counts(host: &HubHost) -> (u64, u64) {
    (host.life, host.machine.as_ref().map_or(u64::MAX, Hub::stale_answers))
}
