//! What a scenario can see of a world, to say when a situation has come.

use super::event::ANNOUNCED;
use super::{Event, World};
use crate::coverage::Phase;
use crate::entity::{Entity, HUBS};
use dormouse_core::ask::Answer;
use dormouse_core::hub::{Hub, Sessions};
use dormouse_core::position::Lsn;
use dormouse_core::replication::Replication;
use dormouse_core::{hub, replication};

impl World {
    /// Whether history ends inside a transaction.
    #[must_use]
    pub fn is_mid_transaction(&self) -> bool {
        self.postgres.last_appended().is_some_and(|at| !at.is_boundary())
    }

    /// How many published transactions have committed.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.postgres.commits().len()
    }

    /// Whether a committed transaction is not in history yet.
    #[must_use]
    pub fn lags(&self) -> bool {
        self.postgres.unrecorded_below(Lsn(u64::MAX)).is_some()
    }

    /// Whether a slot is being created, and waits for transactions.
    #[must_use]
    pub fn creates_slot(&self) -> bool {
        self.postgres.creates_slot()
    }

    /// Whether a commit is in the WAL that no snapshot sees.
    #[must_use]
    pub const fn has_invisible(&self) -> bool {
        self.workload.has_invisible()
    }

    /// Whether a snapshot is being copied.
    #[must_use]
    pub fn copies(&self) -> bool {
        self.postgres.is_copying()
    }

    /// Whether an announcement is on its way to a hub.
    #[must_use]
    pub fn is_announcing(&self) -> bool {
        (0..HUBS).any(|hub| self.queue.waiting((ANNOUNCED, hub.into())) > 0)
    }

    /// Whether servers would deliver something without asking again: it is announced, or was recorded or read and is on its way back.
    pub(super) fn would_deliver(&self) -> bool {
        self.is_announcing()
            || self.queue.any(|event| match event {
                Event::ReplicationHears { input, .. } => {
                    matches!(&**input, replication::Input::PageRecorded(Answer { reply: Ok(_), .. }))
                }
                Event::HubHears { input, .. } => {
                    matches!(&**input, hub::Input::HistoryRead(Answer { reply: Ok(_), .. }))
                }
                _ => false,
            })
    }

    /// Whether every server would notice that the database became the copy that is kept.
    #[must_use]
    pub fn would_notice_copy(&self) -> bool {
        self.copy.as_ref().is_some_and(|copy| self.would_notice(copy))
    }

    /// The hubs that are awake, and the replicators that run: values like all others, to be looked at.
    pub fn servers(&self) -> (impl Iterator<Item = &Hub>, impl Iterator<Item = &Replication>) {
        let hubs = self.hubs.iter().filter_map(|host| host.machine.as_ref());
        (hubs, self.replications.iter().filter_map(|host| host.machine.as_ref()))
    }

    /// The phase of a client, or of a replicator.
    #[must_use]
    pub fn phase_of(&self, entity: Entity) -> Option<Phase> {
        match entity {
            Entity::Client(client) => Some(self.client_phase(client)),
            Entity::Replication(node) | Entity::Node(node) => Some(self.replication_phase(node)),
            Entity::World | Entity::Postgres | Entity::Hub(_) | Entity::Writer(_) => None,
        }
    }

    /// Whether a client, or a replicator, is in a phase.
    #[must_use]
    pub fn is_in(&self, entity: Entity, phase: Phase) -> bool {
        self.phase_of(entity) == Some(phase)
    }

    /// How many sessions of a hub are in which phase; none while it sleeps.
    #[must_use]
    pub fn sessions_of(&self, entity: Entity) -> Sessions {
        let Entity::Hub(hub) = entity else { return Sessions::default() };
        self.hubs[hub as usize].machine.as_ref().map(dormouse_core::hub::Hub::sessions).unwrap_or_default()
    }

    /// How many sockets a hub's host holds.
    #[must_use]
    pub fn sockets_of(&self, entity: Entity) -> usize {
        let Entity::Hub(hub) = entity else { return 0 };
        self.network.at_hub(hub).count()
    }

    /// Whether a hub sleeps with open sockets.
    #[must_use]
    pub fn is_asleep(&self, entity: Entity) -> bool {
        let Entity::Hub(hub) = entity else { return false };
        self.hubs[hub as usize].machine.is_none() && self.sockets_of(entity) > 0
    }

    /// Whether a hub has a live session of which its attachment does not know that it was told so.
    #[must_use]
    pub fn has_untold(&self, entity: Entity) -> bool {
        let Entity::Hub(hub) = entity else { return false };
        let untold = |kept: &dormouse_core::session::Attachment| !kept.told_live && kept.position.is_some();
        self.sessions_of(entity).live > 0
            && self.network.at_hub(hub).any(|(_, c)| c.attachment.as_deref().is_some_and(untold))
    }

    /// Whether a hub reads history.
    #[must_use]
    pub fn is_reading(&self, hub: u8) -> bool {
        !self.hubs[hub as usize].reads.is_empty()
    }

    /// Whether a replicator streams, and reads nothing because it has enough.
    #[must_use]
    pub fn holds_back(&self, node: u8) -> bool {
        let host = &self.replications[node as usize];
        let under_way = |event: &Event| matches!(event, Event::ReplicationHears { input, .. } if matches!(**input, dormouse_core::replication::Input::SourceRead(_)));
        self.is_in(Entity::Replication(node), Phase::ReplicationRecording)
            && !host.reads()
            && !self.queue.any(under_way)
    }

    /// Whether something that the stream delivered is on its way to a replicator.
    #[must_use]
    pub fn delivers(&self, node: u8) -> bool {
        use dormouse_core::replication::Input;
        self.queue.any(|event| match event {
            Event::ReplicationHears { node: n, input, .. } if *n == node => {
                matches!(&**input, Input::SourceRead(answer) if answer.reply.as_ref().is_ok_and(|items| items.len() > 1))
            }
            _ => false,
        })
    }

    /// Whether the answer of an append is on its way to a replicator.
    #[must_use]
    pub fn answers_append(&self, node: u8) -> bool {
        use dormouse_core::replication::Input;
        self.queue.any(|event| matches!(event, Event::ReplicationHears { node: n, input, .. } if *n == node && matches!(**input, Input::PageRecorded(_))))
    }

    /// Whether a client has pieces of a transaction that it does not show yet.
    #[must_use]
    pub fn stages_piece(&self, entity: Entity) -> bool {
        let Entity::Client(client) = entity else { return false };
        self.clients[client as usize].store.staged().0 > 0
    }

    /// Whether a client has a part of a backfill that it does not show yet.
    #[must_use]
    pub fn stages_backfill(&self, entity: Entity) -> bool {
        let Entity::Client(client) = entity else { return false };
        self.clients[client as usize].store.staged().1 > 0
    }

    /// Whether a client's store has carried out what the client does not know of yet.
    #[must_use]
    pub fn has_stored(&self, entity: Entity) -> bool {
        let Entity::Client(client) = entity else { return false };
        let life = self.clients[client as usize].life;
        let is = |event: &Event| matches!(event, Event::StoreAnswers { client: c, life: l, .. } if (*c, *l) == (client, life));
        self.queue.any(is)
    }

    /// Whether a client holds more than it has acknowledged in its session.
    #[must_use]
    pub fn owes_ack(&self, entity: Entity) -> bool {
        let Entity::Client(client) = entity else { return false };
        let Some(machine) = &self.clients[client as usize].machine else { return false };
        match (machine.held().staged, machine.acked()) {
            (Some(held), Some(acked)) => held.era == acked.era && held.position > acked.position,
            _ => false,
        }
    }

    /// Whether an acknowledgement of a client is on its way.
    #[must_use]
    pub fn ack_under_way(&self, entity: Entity) -> bool {
        let Entity::Client(client) = entity else { return false };
        self.network.connections.of(client).any(|(_, c)| c.server_open && c.acks())
    }
}
