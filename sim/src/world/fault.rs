//! Faults that come at any time. Those that fall between two outputs are drawn where the outputs are carried out.

use super::event::STORE_ANSWERS;
use super::jump::JUMP_US;
use super::lineage::node_of;
use super::{Event, World};
use crate::chooser::{Kind, per_mille};
use crate::coverage::Phase;
use crate::entity::{Entity, HUBS, NODES};
use crate::log::{Draft, What};
use crate::oracle::Promise;
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::fault::Halt;
use std::time::Duration;

/// How often faults are drawn.
pub(super) const EVERY: Duration = Duration::from_millis(50);
/// How much more often tables change while a slot is being created.
const CREATING: u32 = 20;
/// How much more often clients that lose their stores crash while a commit is in the WAL that no snapshot sees.
const UNSEEN: u32 = 6;
/// In a tight world faults last so long at most.
const TIGHT_MOST: Duration = Duration::from_secs(5);
const DOWN_US: &[u64] = &[2_000, 40_000, 300_000, 1_500_000, 4_000_000];
const PAUSE_US: &[u64] = &[0, 1_000_000, 3_500_000, 6_000_000];
const SLOW_US: &[u64] = &[0, 200_000, 1_000_000, 3_000_000];

impl World {
    pub(super) fn faults(&mut self) {
        if self.quiet.is_some() {
            return;
        }
        self.plan_in(EVERY, Event::Faults);
        self.doing = "";
        self.judge_spools();
        self.judge_renewals();
        self.server_faults();
        self.database_faults();
        self.connection_faults();
        for client in 0..self.plan.size.clients() {
            self.client_faults(client);
        }
        if self.workload.is_done() && (!self.plan.tight || self.everybody_was_live()) {
            self.queue.push(self.now, Event::Quiet);
        }
    }

    /// Whether nothing is left for faults to meet: in a tight world they go on until every client has been live once.
    fn everybody_was_live(&self) -> bool {
        let clients = &self.clients[..self.plan.size.clients() as usize];
        self.now.since(super::DAWN) > TIGHT_MOST || clients.iter().all(|client| client.was_live)
    }

    fn weight(&self, family: Family, weight: u32) -> u32 {
        if self.plan.has(family) { weight } else { 0 }
    }

    /// The weight of a fault of a node, greater while its replicator is in a short window.
    pub(super) fn weight_at(&self, node: u8, family: Family, weight: u32) -> u32 {
        if self.plan.has(family) { weight * self.danger(node) } else { 0 }
    }

    /// How much more often faults come while a replicator is in a short window that they must hit too.
    pub(super) fn danger(&self, node: u8) -> u32 {
        if self.plan.even {
            return 1;
        }
        match self.replication_phase(node) {
            Phase::ReplicationStopping => 24,
            Phase::ReplicationRecording => 4,
            _ => 1,
        }
    }

    /// The same for what befalls all of them together.
    pub(super) fn danger_anywhere(&self) -> u32 {
        (0..NODES).map(|node| self.danger(node)).max().unwrap_or(1)
    }

    /// The same for a connection whose client has given it up already.
    pub(super) fn given_up(&self, client: u8) -> u32 {
        if self.plan.even {
            return 1;
        }
        match self.client_phase(client) {
            Phase::ClientOffline | Phase::ClientConnecting => 12,
            _ => 1,
        }
    }

    /// The same for a client whose store has done something that the client does not know yet.
    fn storing(&self, client: u8) -> u32 {
        if self.plan.even {
            return 1;
        }
        if self.queue.waiting((STORE_ANSWERS, client.into())) > 0 { 16 } else { 1 }
    }

    /// How much more often tables change: what changes while a slot is created may be unknown to it.
    fn altering(&self) -> u32 {
        if !self.plan.even && self.postgres.creates_slot() { CREATING } else { 1 }
    }

    /// How much more often a client crashes that loses its store: whoever comes without one while a commit is not visible gets a snapshot
    /// with a seam.
    fn unseen(&self) -> u32 {
        if !self.plan.even && self.plan.has(Family::StoreLoss) && self.has_invisible() { UNSEEN } else { 1 }
    }

    fn server_faults(&mut self) {
        for node in 0..NODES {
            let weight = self.weight_at(node, Family::NodeCrash, per_mille(5));
            if self.happens(Kind::CrashAnytime, Entity::Node(node), weight) {
                self.crash_node(node);
            }
        }
        for node in 0..NODES {
            let weight = self.weight_at(node, Family::Drain, per_mille(6));
            if self.happens(Kind::Drain, Entity::Node(node), weight) {
                self.stop_node(node);
            }
            let weight = self.weight_at(node, Family::HalfOpen, per_mille(6));
            if self.happens(Kind::DarkStream, Entity::Replication(node), weight) {
                self.hit(Probe::StreamDark);
                self.stream_goes_dark(node);
            }
        }
        let jumps = self.plan.has(Family::Jumps);
        for node in (0..NODES).filter(|_| jumps) {
            let weight = per_mille(6) * self.danger(node);
            let jump = self.choose(Kind::ClockJump, Entity::Node(node), JUMP_US.len() as u64, weight);
            self.clock_jumps(Entity::Node(node), jump);
        }
        for hub in 0..HUBS {
            let weight = self.weight(Family::Evict, per_mille(12));
            if self.happens(Kind::EvictAnytime, Entity::Hub(hub), weight) && !self.is_suspended() {
                self.evict(hub);
            }
        }
        let weight = self.weight_at(0, Family::Pause, per_mille(8));
        let pause = self.choose(Kind::Pause, Entity::Replication(0), PAUSE_US.len() as u64, weight);
        if pause != 0 {
            self.pause(Duration::from_micros(PAUSE_US[usize::try_from(pause).unwrap_or(0)]));
        }
        self.suspend_faults();
    }

    fn database_faults(&mut self) {
        let weight = self.weight(Family::ConnectionDrop, per_mille(8));
        for entity in [Entity::Replication(0), Entity::Replication(1), Entity::Hub(0), Entity::Hub(1)] {
            let danger = if let Entity::Replication(node) = entity { self.danger(node) } else { 1 };
            let weight = weight * danger;
            if self.happens(Kind::DropConnection, entity, weight) {
                self.hit(Probe::ConnectionDropped);
                if let Entity::Replication(node) = entity
                    && self.holds_back(node)
                {
                    self.hit(Probe::DroppedHeldBack);
                }
                self.disconnect(node_of(entity), false);
                self.lose_connections(entity);
                if let Entity::Replication(node) = entity {
                    self.lose_stream(node);
                }
            }
        }
        // A second start hides from whoever has not looked since the first what the first would have told.
        let behind = (0..NODES).any(|node| self.is_behind(node));
        let weight = if behind { 0 } else { self.weight(Family::PostgresRestart, per_mille(6)) };
        match self.choose(Kind::RestartPostgres, Entity::Postgres, 3, weight) {
            0 => {}
            pick => self.restart_postgres(pick == 2),
        }
        let weight = self.weight(Family::SlotLoss, per_mille(8));
        match self.choose(Kind::LoseSlot, Entity::Postgres, 3, weight) {
            0 => {}
            pick => {
                self.hit(Probe::SlotLost);
                if pick == 1 { self.postgres.drop_slot() } else { self.postgres.invalidate_slot() }
            }
        }
        if self.plan.has(Family::MovedSlot) {
            match self.choose(Kind::MoveSlot, Entity::Postgres, 3, per_mille(8)) {
                0 => {}
                pick => self.move_slot(pick == 2),
            }
        }
        self.disk_faults();
        self.restore_faults();
        let weight = self.weight(Family::SilentAlter, per_mille(10)) * self.altering();
        let alter = self.choose(Kind::SilentAlter, Entity::Postgres, 5, weight);
        if alter != 0 {
            match self.postgres.alter_table((alter % 2) as usize, alter > 2) {
                Ok(()) => self.hit(Probe::SilentAlter),
                Err(_) if self.copies() => self.hit(Probe::AlterBlocked),
                Err(_) => {}
            }
        }
        let weight = self.weight(Family::Rewrites, per_mille(10)) * self.altering();
        let rewrite = self.choose(Kind::SilentRewrite, Entity::Postgres, 3, weight);
        if rewrite != 0 && self.postgres.rewrite_table((rewrite % 2) as usize).is_ok() {
            self.hit(Probe::SilentRewrite);
        }
        self.replace_faults();
        if self.happens(Kind::ForeignWal, Entity::Postgres, per_mille(30)) {
            self.postgres.advance_wal(4_000);
        }
        if self.happens(Kind::ForeignWal, Entity::World, per_mille(100)) {
            self.postgres.checkpoint();
        }
    }

    fn restart_postgres(&mut self, crash: bool) {
        if crash {
            self.hit(Probe::PostgresCrashed);
            self.postgres.crash();
        } else {
            self.hit(Probe::PostgresRestarted);
            self.postgres.restart();
        }
        self.lose_all_connections(false);
    }

    /// The server has ended: what is committed is visible when it is back, and everybody connects again. When it ends in silence,
    /// nobody is told that the streams have ended.
    pub(super) fn lose_all_connections(&mut self, silent: bool) {
        self.all_visible();
        for node in 0..NODES {
            self.disconnect(node, silent);
            self.lose_connections(Entity::Replication(node));
            if silent {
                self.stream_goes_dark(node);
            } else {
                self.lose_stream(node);
            }
        }
        for hub in 0..HUBS {
            self.lose_connections(Entity::Hub(hub));
        }
    }

    fn connection_faults(&mut self) {
        let open = self.network.connections.values().filter(|c| c.server_open && !self.is_suspended());
        let late = open.map(|c| (Entity::Hub(c.hub), self.oracle.closed_in_time(self.now, c.credential_until)));
        let broken = late.into_iter().find(|(_, verdict)| verdict.is_err());
        if let Some((hub, verdict)) = broken {
            self.verdict(hub, verdict);
        }
        let all: Vec<_> = self.network.connections.iter().map(|(id, c)| (id, c.client)).collect();
        for (id, client) in all {
            let entity = Entity::Client(client);
            let weight = self.weight(Family::Cuts, per_mille(12)) * self.given_up(client);
            let cut = self.choose(Kind::Cut, entity, 3, weight);
            if cut != 0 {
                self.hit(Probe::ConnectionCut);
                self.saw_cut(client);
                self.cut(id, cut == 1);
                continue;
            }
            let weight = self.weight(Family::HalfOpen, per_mille(8)) * self.given_up(client) * 2;
            let dark = self.choose(Kind::HalfOpen, entity, 4, weight);
            if dark != 0 {
                if dark != 2 {
                    self.hit(Probe::HalfOpenServer);
                }
                if dark != 1 {
                    self.hit(Probe::HalfOpenClient);
                }
                self.darken(id, dark != 2, dark != 1);
            }
        }
    }

    fn client_faults(&mut self, client: u8) {
        let entity = Entity::Client(client);
        let weight = self.weight(Family::ClientCrash, per_mille(8)) * self.storing(client).max(self.unseen());
        if self.clients[client as usize].machine.is_some() && self.happens(Kind::CrashAnytime, entity, weight) {
            self.crash_client(client);
        }
        if self.plan.has(Family::Jumps) {
            let weight = per_mille(6) * self.given_up(client);
            let jump = self.choose(Kind::ClockJump, entity, JUMP_US.len() as u64, weight);
            self.clock_jumps(entity, jump);
        }
        let weight = self.weight(Family::SlowReader, per_mille(10));
        let slow = self.choose(Kind::SlowReader, entity, SLOW_US.len() as u64, weight);
        if slow != 0 {
            self.hit(Probe::SlowReader);
            let until = self.now + Duration::from_micros(SLOW_US[usize::try_from(slow).unwrap_or(0)]);
            self.clients[client as usize].reads_again = Some(until);
        }
        let weight = self.weight(Family::Renewals, per_mille(40));
        if self.clients[client as usize].machine.is_some() && self.happens(Kind::ProvideCredential, entity, weight) {
            self.provide_credential(client);
        }
        let weight = self.weight(Family::Leave, per_mille(8));
        let leaves = self.choose(Kind::Leave, entity, 3, weight);
        if leaves != 0 {
            self.client_leaves(client, leaves == 2);
        }
    }

    /// The process of a node ends, with its replicator and its hubs; somebody starts it again.
    pub(super) fn crash_node(&mut self, node: u8) {
        if self.replications[node as usize].machine.is_none() {
            return;
        }
        self.hit(Probe::NodeCrashed);
        self.saw_crash();
        if self.replications[node as usize].recording > 0 {
            self.hit(Probe::NodeCrashedWhileRecording);
        }
        self.log_end(node);
        self.replications[node as usize].end();
        self.delay_answers(Entity::Replication(node));
        if node == 0 {
            let silent = self.happens(Kind::SilentCrash, Entity::Node(node), per_mille(300));
            if silent {
                self.hit(Probe::NodeCrashedSilently);
            }
            for hub in 0..HUBS {
                self.drop_hub(hub);
                self.delay_answers(Entity::Hub(hub));
                self.end_server_sides(hub, silent);
            }
        }
        let after = self.delay(Kind::DownFor, Entity::Node(node), DOWN_US, per_mille(500));
        self.plan_in(after, Event::NodeStarts { node });
    }

    /// The process of a node ends in the midst of it.
    fn log_end(&mut self, node: u8) {
        let crashes = |lane| Draft::new(lane, What::Crash, "crashes with its process".into());
        self.log.add(|_| crashes(Entity::Replication(node)));
        self.log.state(Entity::Replication(node), || serde_json::Value::Null);
        for hub in (0..HUBS).filter(|_| node == 0) {
            self.log.add(|_| crashes(Entity::Hub(hub)));
        }
    }

    pub(super) fn end_server_sides(&mut self, hub: u8, silent: bool) {
        for id in self.network.at_hub(hub).map(|(id, _)| id).collect::<Vec<_>>() {
            if silent {
                self.darken(id, true, true);
                if let Some(connection) = self.network.connections.get_mut(id) {
                    connection.server_open = false;
                }
                self.forget_if_gone(id);
            } else {
                self.server_closes(id, "the server is gone");
            }
        }
    }

    fn pause(&mut self, pause: Duration) {
        let until = self.now + pause;
        let host = &mut self.replications[0];
        if host.machine.is_none() || host.paused_until.is_some_and(|until| until > self.now) {
            return;
        }
        host.paused_until = Some(until);
        self.hit(Probe::ReplicatorPaused);
        self.plan_in(Duration::from_millis(50), Event::NodeStarts { node: 1 });
    }

    pub(super) fn violate_halt(&mut self, node: u8, halt: &Halt) {
        let event = format!("halted: {} ({})", halt.message, halt.code);
        self.violate(Promise::Converges, "halt", Entity::Replication(node), event);
    }
}
