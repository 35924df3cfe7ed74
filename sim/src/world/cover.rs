//! Into which phases a fault falls.

use super::World;
use crate::chooser::Kind;
use crate::coverage::{Class, Phase, Reached, concerns};
use crate::entity::{Entity, HUBS};
use dormouse_core::client::ClientPhase;
use dormouse_core::replication::PhaseName;

impl World {
    /// Notes what everybody whom a fault concerns is doing.
    pub(super) fn cover(&mut self, kind: Kind, entity: Entity) {
        let mut reached = std::mem::take(&mut self.reached);
        for class in concerns(kind) {
            match (class, entity) {
                (Class::Hub, Entity::Hub(hub)) => self.cover_hub(kind, hub, &mut reached),
                // A process ends with its hubs.
                (Class::Hub, Entity::Node(0)) => (0..HUBS).for_each(|hub| self.cover_hub(kind, hub, &mut reached)),
                (Class::Replication, Entity::Replication(node) | Entity::Node(node)) => {
                    reached.note(kind, self.replication_phase(node));
                }
                (Class::Client, Entity::Client(client)) => reached.note(kind, self.client_phase(client)),
                (Class::Database, _) => reached.note(kind, self.database_phase()),
                _ => {}
            }
        }
        self.reached = reached;
    }

    fn cover_hub(&self, kind: Kind, hub: u8, reached: &mut Reached) {
        let Some(machine) = &self.hubs[hub as usize].machine else { return reached.note(kind, Phase::HubAsleep) };
        let sessions = machine.sessions();
        let phases = [
            (Phase::HubGreeting, sessions.greeted),
            (Phase::HubBackfill, sessions.backfill),
            (Phase::HubCatchUp, sessions.catch_up),
            (Phase::HubLive, sessions.live),
        ];
        if phases.iter().all(|(_, count)| *count == 0) {
            reached.note(kind, Phase::HubEmpty);
        }
        phases.iter().filter(|(_, count)| *count > 0).for_each(|(phase, _)| reached.note(kind, *phase));
    }

    pub(super) fn client_phase(&self, client: u8) -> Phase {
        match self.clients[client as usize].machine.as_ref().map(dormouse_core::client::Client::phase) {
            None => Phase::ClientDown,
            Some(ClientPhase::Offline) => Phase::ClientOffline,
            Some(ClientPhase::Connecting) => Phase::ClientConnecting,
            Some(ClientPhase::Greeting) => Phase::ClientGreeting,
            Some(ClientPhase::Backfill) => Phase::ClientBackfill,
            Some(ClientPhase::CatchUp) => Phase::ClientCatchUp,
            Some(ClientPhase::Live) => Phase::ClientLive,
        }
    }

    pub(super) fn replication_phase(&self, node: u8) -> Phase {
        let host = &self.replications[node as usize];
        match host.machine.as_ref().map(dormouse_core::replication::Replication::phase) {
            None | Some(PhaseName::Stopped | PhaseName::Halted) => Phase::ReplicationDown,
            Some(PhaseName::Idle | PhaseName::Standby) => Phase::ReplicationStandby,
            Some(PhaseName::Preparing) => Phase::ReplicationPreparing,
            Some(PhaseName::Streaming) if host.recording > 0 => Phase::ReplicationRecording,
            Some(PhaseName::Streaming) => Phase::ReplicationStreaming,
            Some(PhaseName::Stopping) => Phase::ReplicationStopping,
        }
    }

    fn database_phase(&self) -> Phase {
        if self.workload.has_invisible() {
            Phase::DatabaseInvisible
        } else if self.postgres.open().next().is_some() {
            Phase::DatabaseWriting
        } else {
            Phase::DatabaseAtRest
        }
    }
}
