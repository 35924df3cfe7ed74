//! The hosts of the clients: a machine, a store that alone survives a crash, and a person who restarts what has stopped.

use super::owed::Owed;
use super::{CHECK_ALL_EVERY, Event, Spins, World, names};
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::log::{Draft, Link, What, words};
use crate::oracle::{Holding, Promise};
use crate::plan::{Family, token};
use crate::probe::Probe;
use dormouse_core::ask::{Answer, Ask, Incarnation};
use dormouse_core::client::{Client, ClientPhase, Config, Input, Notice, Output};
use dormouse_core::fault::{Failure, FaultCode};
use dormouse_core::machine::Machine;
use dormouse_core::session::ClientId;
use dormouse_core::store::{Held, MemoryStore, Store, StoreRequest};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ClientMessage, Secret, ServerMessage};
use std::time::Duration;

/// How long an application takes to provide another credential.
const CREDENTIAL_US: &[u64] = &[5_000, 100_000, 800_000, 2_500_000];
pub(super) const STORE_US: &[u64] = &[100, 2_000, 30_000, 250_000];
/// How long a client may wait before it dials again after an orderly restart: some first waits, and never longer and longer.
const AWAY_MAX: Duration = Duration::from_millis(100);
const DOWN_US: &[u64] = &[30_000, 2_000, 300_000, 1_500_000];

/// Where a client lives.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientHost {
    pub(super) machine: Option<Client>,
    pub(super) life: u64,
    /// Survives crashes. A thin client has one too, for its backfills only.
    pub(super) store: MemoryStore,
    /// As whom it greets, kept with the store, once a welcome has given it another id.
    own_id: Option<ClientId>,
    /// Where a thin client stands since it was started.
    thin: Held,
    pub(super) reads_again: Option<Timestamp>,
    /// How far its clock has jumped ahead.
    pub(super) ahead: Duration,
    due: Option<Timestamp>,
    generation: u64,
    spins: Spins,
    pub(super) live: bool,
    pub(super) was_live: bool,
    /// Which life greeted last, and its attempt.
    attempts: Option<(u64, u64)>,
    /// Whether the last message made it ask its application for another credential.
    wants_credential: bool,
    /// Whether its application gave it one since it dialled, or since the server found one good: then it may come back with that.
    credential_came: bool,
    /// It was given another credential after it had greeted, and has not shown it yet.
    owes_credential: bool,
    pub(super) owed: Owed,
    /// Until when the transactions of its store are slow.
    pub(super) slow_until: Timestamp,
    /// Whether the last message was a welcome, which tells of the credential with which it dialled.
    welcomed: bool,
}

impl World {
    pub(super) fn client_starts(&mut self, client: u8) {
        if self.clients[client as usize].machine.is_some() {
            return;
        }
        self.saw_start(client);
        self.chooser.passes(Kind::Started, Entity::Client(client));
        let life = self.new_life();
        let machine = Client::new(self.client_config(client));
        let thin = self.plan.is_thin(client);
        let host = &mut self.clients[client as usize];
        (host.machine, host.life, host.thin, host.live) = (Some(machine), life, Held::default(), false);
        host.owed = Owed::default();
        let held = if thin { Held::default() } else { host.store.held() };
        let input = Input::Started { incarnation: Incarnation(life), instance: life, held };
        self.feed_client(client, input);
    }

    fn client_config(&self, client: u8) -> Config {
        let config = self.plan.client(client);
        match &self.clients[client as usize].own_id {
            Some(own) => Config { client: own.clone(), ..config },
            None => config,
        }
    }

    /// As whom a client greets now.
    pub(super) fn client_id(&self, client: u8) -> ClientId {
        let own = self.clients[client as usize].own_id.clone();
        own.unwrap_or_else(|| self.plan.client_id(client))
    }

    pub(super) fn client_hears(&mut self, client: u8, life: u64, input: Input) {
        let host = &self.clients[client as usize];
        if host.machine.is_some() && host.life == life {
            if let Input::Connected { socket } | Input::Closed { socket, .. } = &input {
                self.log.arrives(|| Link::Dialled { client, life, socket: socket.0 });
            }
            self.feed_client(client, input);
        }
    }

    pub(super) fn client_timeout(&mut self, client: u8, generation: u64) {
        let now = self.client_now(client);
        let host = &mut self.clients[client as usize];
        if host.generation != generation {
            return;
        }
        host.due = None;
        let Some(machine) = &mut host.machine else { return };
        if machine.poll_timeout().is_none_or(|due| due > now) {
            return self.after_client(client); // It wants to be called later by now.
        }
        self.digest.word(13);
        self.log.add(|_| words::timer(Entity::Client(client)));
        machine.handle_timeout(now);
        let spins = self.clients[client as usize].spins.fired(now);
        self.check_spins(Entity::Client(client), spins);
        self.pump_client(client);
    }

    fn feed_client(&mut self, client: u8, input: Input) {
        self.digest.word(14);
        self.digest.add(&input);
        self.log.add(|_| words::client_input(client, &input));
        let now = self.client_now(client);
        let fault = match &input {
            Input::Received { message: Ok(ServerMessage::Fault(fault)), .. } => Some(fault.code),
            _ => None,
        };
        let came = self.clients[client as usize].credential_came;
        let provided = matches!(input, Input::CredentialProvided { .. });
        self.clients[client as usize].welcomed =
            matches!(input, Input::Received { message: Ok(ServerMessage::Welcome { .. }), .. });
        self.clients[client as usize].credential_came |= matches!(input, Input::CredentialProvided { .. });
        let host = &mut self.clients[client as usize];
        let Some(machine) = &mut host.machine else { return };
        let was = machine.phase();
        machine.handle(now, input);
        if host.welcomed && *machine.client() != self.plan.client_id(client) {
            host.own_id = Some(machine.client().clone());
        }
        let greeted = !matches!(was, ClientPhase::Offline | ClientPhase::Connecting);
        let late = machine.poll_timeout().is_none_or(|due| due.since(now) > AWAY_MAX);
        // One that had given that connection up does not hear what it says any more, and waits for another reason.
        let ended = was != ClientPhase::Offline && machine.phase() == ClientPhase::Offline;
        if fault == Some(FaultCode::GoingAway) && ended && late {
            let event = format!("a healthy server restarts, and its client waits for more than {AWAY_MAX:?}");
            self.violate(Promise::Converges, "going away", Entity::Client(client), event);
        }
        self.judge_wait(client, was);
        let host = &mut self.clients[client as usize];
        (host.wants_credential, host.owes_credential) = (false, provided && greeted);
        self.pump_client(client);
        if fault == Some(FaultCode::Replaced) && ended && self.plan.is_thin(client) {
            self.judge_replaced(client);
        }
        let host = &mut self.clients[client as usize];
        if std::mem::take(&mut host.owes_credential) && host.machine.is_some() {
            let event = "it was given another credential after it had greeted, and does not show it".into();
            self.violate(Promise::Converges, "renewal shown", Entity::Client(client), event);
        }
        let host = &self.clients[client as usize];
        let helpless = !host.wants_credential && !came;
        if fault == Some(FaultCode::Expired) && ended && host.machine.is_some() && helpless {
            let event = "its credential ran out, and it asks its application for no other".into();
            self.violate(Promise::Converges, "credential wanted", Entity::Client(client), event);
        }
    }

    fn pump_client(&mut self, client: u8) {
        loop {
            let Some(machine) = &mut self.clients[client as usize].machine else { return };
            let Some(output) = machine.poll_output() else { break };
            self.doing = names::of_client(&output);
            self.judge_idle(Entity::Client(client));
            let weight = if self.plan.has(Family::ClientCrash) { per_mille(4) } else { 0 };
            if self.happens(Kind::CrashAtOutput, Entity::Client(client), weight) {
                return self.crash_client(client);
            }
            self.digest.add(&output);
            self.log.add(|_| words::client_output(client, &output));
            self.carry_client(client, output);
        }
        self.after_client(client);
    }

    pub(super) fn after_client(&mut self, client: u8) {
        let Some(machine) = &self.clients[client as usize].machine else { return };
        let broken =
            if self.events.is_multiple_of(CHECK_ALL_EVERY) { machine.check_all() } else { machine.check() }.err();
        let due = machine.poll_timeout();
        if let Some(broken) = broken {
            self.broken(Entity::Client(client), &broken);
        }
        if self.log.keeps_states() {
            let state = self.client_state(client);
            self.log.state(Entity::Client(client), || state);
        }
        let host = &mut self.clients[client as usize];
        if let Some(due) = due.map(|due| (due - host.ahead).max(self.now))
            && host.due.is_none_or(|planned| due < planned)
        {
            host.due = Some(due); // A later deadline is noticed when the earlier one comes.
            host.generation += 1;
            let generation = host.generation;
            self.queue.push(due, Event::Timeout { whose: Entity::Client(client), generation });
        }
    }

    /// A client and what its store holds, as data.
    fn client_state(&self, client: u8) -> serde_json::Value {
        let host = &self.clients[client as usize];
        let holds = if self.plan.is_thin(client) { host.thin } else { host.store.held() };
        serde_json::json!({ "machine": host.machine.as_ref().map(crate::log::state), "store": crate::log::state(&holds) })
    }

    fn carry_client(&mut self, client: u8, output: Output) {
        let life = self.clients[client as usize].life;
        match output {
            Output::Dial { socket } => {
                self.clients[client as usize].credential_came = false;
                self.owes_nothing(client);
                self.dials(client, life, socket);
            }
            Output::Send { socket, message } => {
                let Some(id) = self.network.of_client(client, life, socket) else { return };
                self.client_says(client, &message);
                self.send_to_server(id, message);
            }
            Output::SendCredential { socket } => {
                self.clients[client as usize].owes_credential = false;
                if let Some(id) = self.network.of_client(client, life, socket) {
                    self.send_to_server(id, ClientMessage::Credential(Secret::new(&token(client))));
                }
            }
            Output::Ping { socket } => {
                if let Some(id) = self.network.of_client(client, life, socket) {
                    self.push_to_server(id, super::connection::ToServer::Ping);
                }
            }
            Output::Close { socket } => {
                if let Some(id) = self.network.of_client(client, life, socket) {
                    self.client_closes(id);
                }
            }
            Output::Store(ask) => self.store(client, life, ask),
            Output::Notify(notice) => self.notified(client, &notice),
        }
    }

    fn client_says(&mut self, client: u8, message: &ClientMessage) {
        let life = self.clients[client as usize].life;
        match message {
            ClientMessage::Hello(hello) => {
                self.saw_hello(hello);
                self.judge_hello(client, hello);
                let attempts = &mut self.clients[client as usize].attempts;
                let greeted = attempts.replace((life, hello.attempt));
                if greeted.is_some_and(|(before, attempt)| before == life && attempt >= hello.attempt) {
                    let event = "an instance greets again with no higher attempt".into();
                    self.violate(Promise::Durable, "attempt", Entity::Client(client), event);
                }
                self.clients[client as usize].live = false;
                self.oracle.greeted(client, hello, self.postgres.newest_visible());
            }
            ClientMessage::Ack { through } => {
                self.judge_owed(client, through);
                let holding = self.holding(client);
                let verdict = self.oracle.acknowledged(client, holding, through);
                self.verdict(Entity::Client(client), verdict);
            }
            ClientMessage::Staged { .. } | ClientMessage::Credential(_) | ClientMessage::Bye => {}
        }
    }

    fn holding(&self, client: u8) -> Holding {
        let host = &self.clients[client as usize];
        if self.plan.is_thin(client) { Holding::Thin } else { Holding::Replica(host.store.held()) }
    }

    fn notified(&mut self, client: u8, notice: &Notice) {
        match notice {
            Notice::Live { shown } => {
                let host = &mut self.clients[client as usize];
                (host.live, host.was_live) = (true, true);
                self.hit(if self.plan.is_thin(client) { Probe::ThinLive } else { Probe::ClientLive });
                let verdict = self.oracle.live(&self.postgres, client, shown.as_ref());
                self.verdict(Entity::Client(client), verdict);
            }
            Notice::Stopped { fault } => {
                if fault.as_ref().is_some_and(|fault| fault.code == FaultCode::Expired) {
                    let event = "its credential ran out, and it ends instead of asking for another".into();
                    self.violate(Promise::Converges, "credential wanted", Entity::Client(client), event);
                }
                let host = &mut self.clients[client as usize];
                (host.machine, host.live) = (None, false);
                host.generation += 1;
                host.due = None;
                if fault.is_some() {
                    // Somebody opens the application again.
                    self.plan_in(Duration::from_millis(700), Event::ClientStarts { client });
                }
            }
            Notice::Phase(phase) => {
                if *phase != ClientPhase::Live {
                    self.clients[client as usize].live = false;
                }
            }
            Notice::CredentialGood { .. } => {
                let host = &mut self.clients[client as usize];
                host.credential_came &= host.welcomed;
            }
            Notice::CredentialWanted => {
                self.clients[client as usize].wants_credential = true;
                let life = self.clients[client as usize].life;
                let after = self.delay(Kind::CredentialLatency, Entity::Client(client), CREDENTIAL_US, per_mille(300));
                let input = Box::new(Input::CredentialProvided { token: Some(Secret::new(&token(client))) });
                self.plan_in(after, Event::ClientHears { client, life, input });
            }
            Notice::Applied { .. } | Notice::Resync { .. } | Notice::Fault(_) | Notice::StoreFailed(_) => {}
        }
    }

    fn store(&mut self, client: u8, life: u64, ask: Ask<Store>) {
        let entity = Entity::Client(client);
        self.look_at_request(client, &ask.question.request);
        self.note_storing(client, &ask.question.request);
        self.doing = names::of_store(&ask.question.request);
        let weight = if self.plan.has(Family::Latency) { per_mille(100) } else { per_mille(10) };
        let after = self.delay(Kind::StoreLatency, entity, STORE_US, weight) + self.slowness(client);
        let fails = if self.plan.has(Family::ClientCrash) { per_mille(8) } else { 0 } * self.given_up(client);
        let fate = self.choose(Kind::StoreFails, entity, 3, fails);
        if fate != 0 {
            self.hit(Probe::StoreFailed);
        }
        self.plan_in(after, Event::StoreRuns { client, life, ask: Box::new(ask), fate });
    }

    pub(super) fn store_runs(&mut self, client: u8, life: u64, ask: Ask<Store>, fate: u64) {
        let host = &self.clients[client as usize];
        if host.life != life || host.machine.is_none() {
            return; // The process that asked is gone, and its transaction with it.
        }
        self.digest.word(15);
        self.doing = "Stored";
        self.chooser.passes(Kind::Stored, Entity::Client(client));
        let mut reply = Err(Failure::Unavailable("the disk is busy".into()));
        if fate != 1 {
            self.log.add(|_| words::stored(client, &ask));
            let held = if self.plan.is_thin(client) {
                self.hand_over(client, &ask.question.request)
            } else {
                self.apply(client, &ask.question.request)
            };
            if self.log.wanted() {
                self.log.remark(Entity::Client(client), &words::held(&held));
            }
            if fate == 0 {
                reply = Ok(held);
            }
        }
        let answer = Box::new(Answer { id: ask.id, reply });
        self.log.sends(Entity::Client(client), || Link::answer(ask.id));
        let after = self.delay(Kind::StoreLatency, Entity::Client(client), STORE_US, per_mille(10));
        self.plan_in(after, Event::StoreAnswers { client, life, answer });
    }

    /// One local transaction of a replica's store.
    fn apply(&mut self, client: u8, request: &StoreRequest) -> Held {
        let host = &mut self.clients[client as usize];
        let before = host.store.held();
        let held = host.store.apply(request);
        if held.staged != held.shown {
            self.probes.hit(Probe::PieceStaged);
        }
        if matches!(request, StoreRequest::StageSeam { complete: Some(_), .. }) {
            self.probes.hit(Probe::BackfillCompleted);
        }
        let verdict = self.oracle.stored(&self.postgres, client, request, &before, &held);
        self.verdict(Entity::Client(client), verdict);
        if held.shown != before.shown {
            self.look_again(client);
        }
        held
    }

    /// What a thin client does instead: it hands everything over, and remembers where it stands while it lives.
    fn hand_over(&mut self, client: u8, request: &StoreRequest) -> Held {
        let host = &mut self.clients[client as usize];
        match request {
            StoreRequest::ApplyPage { page } => {
                host.thin.staged = Some(page.through);
                if page.through.position.is_boundary() {
                    host.thin.shown = Some(page.through);
                }
                let verdict = self.oracle.handed_over(&self.postgres, client, page);
                self.verdict(Entity::Client(client), verdict);
                if let Some(naive) = self.naive.as_mut().filter(|_| !self.oracle.is_lost(&page.through)) {
                    naive.handed_over(client, page);
                }
            }
            StoreRequest::StageSeam { .. } | StoreRequest::StageChunk { .. } => {
                let scratch = host.store.apply(request);
                if let StoreRequest::StageSeam { complete: Some(at), .. } = request {
                    (host.thin.staged, host.thin.shown) = (Some(*at), Some(*at));
                    let verdict = self.oracle.thin_backfilled(&self.postgres, client, at, scratch.sum);
                    self.verdict(Entity::Client(client), verdict);
                    self.look_at_backfill(client, at);
                }
            }
            StoreRequest::ReadHeld => {}
        }
        self.clients[client as usize].thin
    }

    pub(super) fn store_answers(&mut self, client: u8, life: u64, answer: Answer<Store>) {
        let host = &self.clients[client as usize];
        if host.machine.is_none() {
            return;
        }
        if host.life != life {
            self.hit(Probe::StaleAnswer);
        } else {
            self.note_stored(client, answer.reply.as_ref().ok());
        }
        self.feed_client(client, Input::Stored(answer));
    }

    /// The process of a client ends. Its store stays, unless the platform takes that too.
    pub(super) fn crash_client(&mut self, client: u8) {
        let entity = Entity::Client(client);
        self.hit(Probe::ClientCrashed);
        self.log.add(|_| Draft::new(entity, What::Crash, "crashes".into()));
        self.log.state(entity, || serde_json::Value::Null);
        if self.has_stored(entity) {
            self.hit(Probe::ClientCrashedStored);
        }
        let host = &mut self.clients[client as usize];
        if host.store.staged() != (0, 0) {
            self.probes.hit(Probe::ClientCrashedStaged);
        }
        host.machine = None;
        host.live = false;
        host.due = None;
        host.generation += 1;
        let life = host.life;
        let silent = self.happens(Kind::SilentCrash, entity, per_mille(300));
        self.end_connections(client, life, silent);
        let loses = if self.plan.has(Family::StoreLoss) { per_mille(600) } else { 0 };
        if self.happens(Kind::LoseStore, entity, loses) {
            self.lose_store(client);
        }
        let after = self.delay(Kind::DownFor, entity, DOWN_US, per_mille(500));
        self.plan_in(after, Event::ClientStarts { client });
    }

    fn lose_store(&mut self, client: u8) {
        if !self.plan.is_thin(client) {
            self.hit(Probe::StoreLost);
            self.clients[client as usize].store = MemoryStore::new();
            self.clients[client as usize].own_id = None;
            self.oracle.store_lost(client);
        }
    }

    fn end_connections(&mut self, client: u8, life: u64, silent: bool) {
        let ours = self.network.connections.of(client).filter(|(_, c)| c.client_life == life && c.client_open);
        for id in ours.map(|(id, _)| id).collect::<Vec<_>>() {
            if silent {
                self.darken(id, true, true);
                if let Some(connection) = self.network.connections.get_mut(id) {
                    connection.client_open = false;
                }
                self.forget_if_gone(id);
            } else {
                self.client_closes(id);
            }
        }
    }

    /// A person closes the application, or leaves for good, and may come back.
    pub(super) fn client_leaves(&mut self, client: u8, forget: bool) {
        if self.clients[client as usize].machine.is_none() {
            return;
        }
        if forget {
            self.hit(Probe::Forgotten);
        }
        self.feed_client(client, Input::Stopping { forget });
        let after = self.delay(Kind::DownFor, Entity::Client(client), DOWN_US, per_mille(700));
        self.plan_in(after, Event::ClientStarts { client });
    }
}
