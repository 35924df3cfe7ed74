//! What is kept with a socket agrees with what is true and with what the hub does, and what a hub hears of others is acted upon.

use super::World;
use super::connection::Connection;
use crate::entity::Entity;
use crate::oracle::Promise;
use crate::probe::Probe;
use dormouse_core::ask::Answer;
use dormouse_core::change::Chunk;
use dormouse_core::fault::Failure;
use dormouse_core::hub::{Input, SnapshotTaken, SpoolId};
use dormouse_core::position::Waypoint;
use dormouse_core::session::{Attachment, BackfillId, SessionId};
use dormouse_core::wire::{ClientMessage, Hello, Resume, ServerMessage};
use std::sync::Arc;

impl World {
    /// A hub keeps something with a socket.
    pub(super) fn attached(&mut self, hub: u8, session: SessionId, attachment: Arc<Attachment>) {
        let ahead = self.hubs[hub as usize].ahead;
        let verdict = self.oracle.attached(&self.postgres, &attachment, ahead);
        self.verdict(Entity::Hub(hub), verdict);
        self.forget_place(hub, &attachment);
        if let Some(id) = self.network.of_session(hub, session)
            && let Some(connection) = self.network.connections.get_mut(id)
        {
            let untold = attachment.told_live && !connection.told_live;
            connection.acked = connection.acked.filter(|_| attachment.position.is_some());
            connection.attachment = Some(attachment);
            if untold {
                let event = format!("keeps that client/{} was told that it is live, and it was not", connection.client);
                self.violate(Promise::Fresh, "told kept", Entity::Hub(hub), event);
            }
        }
    }

    /// A hub sends a message: a woken hub would go on in the same way.
    pub(super) fn judge_phase(&mut self, id: u64, message: &ServerMessage) {
        let goes_on = match message {
            ServerMessage::Page(_) => true,
            ServerMessage::Chunk { backfill, chunk, .. } => {
                self.judge_copy(id, *backfill, chunk);
                false
            }
            ServerMessage::Seam { .. } => false,
            ServerMessage::Welcome { from, .. } => return self.judge_welcome(id, from.as_ref()),
            _ => return,
        };
        let Some(connection) = self.network.connections.get(id) else { return };
        let kept = connection.attachment.as_ref().is_some_and(|attachment| attachment.position.is_some());
        if kept != goes_on {
            let does = if goes_on { "a page" } else { "a part of a backfill" };
            let (hub, client) = (connection.hub, connection.client);
            let event = format!("sends client/{client} {does}, and what is kept with its socket says otherwise");
            self.violate(Promise::Durable, "phase kept", Entity::Hub(hub), event);
        }
    }

    /// A hub sends a chunk: all of a backfill are of one copy of a snapshot, which the hub has not dropped.
    fn judge_copy(&mut self, id: u64, backfill: BackfillId, chunk: &Arc<Chunk>) {
        if self.chooser.is_exhaustive() {
            return; // What is remembered here would only keep equal states apart.
        }
        let spool = self.postgres.spool_of(chunk);
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        let before = spool.and_then(|spool| connection.copied.replace((backfill, spool)));
        let another = before.is_some_and(|(of, copy)| of == backfill && Some(copy) != spool);
        let gone = spool.is_none() && self.probes.count(Probe::SpoolLost) == 0;
        if another || gone {
            let (hub, client) = (connection.hub, connection.client);
            let event = format!("sends client/{client} a chunk of another copy than its backfill is of");
            self.violate(Promise::Complete, "one copy", Entity::Hub(hub), event);
        }
    }

    /// A hub welcomes a session: at a place that history has, and not when its host shuts down.
    fn judge_welcome(&mut self, id: u64, from: Option<&Waypoint>) {
        let Some(connection) = self.network.connections.get(id) else { return };
        let (hub, client) = (connection.hub, connection.client);
        let verdict = from.map_or(Ok(()), |from| self.oracle.welcomed(&self.postgres, from));
        self.verdict(Entity::Hub(hub), verdict);
        let host = &self.hubs[hub as usize];
        if host.drains == Some(host.life) {
            let event = format!("welcomes client/{client}, and its host shuts down");
            self.violate(Promise::Converges, "drains", Entity::Hub(hub), event);
        }
    }

    /// A client greets: it says what its store holds, of a transaction in pieces too.
    pub(super) fn judge_hello(&mut self, client: u8, hello: &Hello) {
        if self.plan.is_thin(client) {
            return;
        }
        let staged = self.clients[client as usize].store.held().staged;
        if hello.resume != staged.map_or(Resume::Nothing, Resume::At) {
            let event = format!("greets with {:?}, and its store holds {staged:?}", hello.resume);
            self.violate(Promise::Durable, "resumes", Entity::Client(client), event);
        }
    }

    /// Whether a message acknowledges what was never sent to this session, which no earlier life of its hub can have done.
    pub(super) fn is_never_sent(&self, id: u64, message: &ClientMessage) -> bool {
        let (ClientMessage::Ack { through }, Some(connection)) = (message, self.network.connections.get(id)) else {
            return false;
        };
        let kept = connection.attachment.as_ref().is_some_and(|attachment| attachment.position.is_some());
        let ours = self.is_of_present_life(connection) && connection.ledger.is_welcomed() && kept;
        let beyond = connection.sent.is_some_and(|sent| sent.era == through.era && sent.position < through.position);
        let stands = connection.attachment.as_ref().map(|attachment| (attachment.era, attachment.schema));
        ours && (beyond || stands != Some((through.era, through.schema)))
    }

    fn is_of_present_life(&self, connection: &Connection) -> bool {
        let host = &self.hubs[connection.hub as usize];
        host.machine.is_some() && connection.in_flight_of == host.life
    }

    /// A hub has heard an acknowledgement of what it never sent: it must have closed that session.
    pub(super) fn judge_never_sent(&mut self, id: u64) {
        let Some(connection) = self.network.connections.get(id) else { return };
        if connection.server_open && self.is_of_present_life(connection) {
            let (hub, client) = (connection.hub, connection.client);
            let event = format!("client/{client} acknowledges what was never sent to it, and its session goes on");
            self.violate(Promise::Durable, "never sent", Entity::Hub(hub), event);
        }
    }

    /// A hub has heard a client: what that has acknowledged is under way no more.
    pub(super) fn judge_freed(&mut self, id: u64) {
        let Some(connection) = self.network.connections.get(id) else { return };
        let settled = self.is_of_present_life(connection) && connection.ledger.is_settled();
        let machine = self.hubs[connection.hub as usize].machine.as_ref().filter(|_| settled);
        let bytes = machine.map_or(0, |machine| machine.bytes_in_flight(connection.session));
        if bytes > 0 {
            let (hub, client) = (connection.hub, connection.client);
            let event = format!("client/{client} has acknowledged all, and {bytes} bytes count as under way to it");
            self.violate(Promise::Bounded, "freed", Entity::Hub(hub), event);
        }
    }

    /// A hub is answered: a removal that failed is still to be done.
    pub(super) fn note_removal(&mut self, hub: u8, input: &Input) {
        if let Input::Unregistered(Answer { reply: Err(Failure::Unavailable(_)), .. }) = input {
            self.hubs[hub as usize].unremoved += 1;
        }
    }

    /// A hub hibernates: it has tried again what failed.
    pub(super) fn judge_removals(&mut self, hub: u8) {
        if self.hubs[hub as usize].unremoved > 0 {
            let event = "sleeps, and does not try again to remove a registration".into();
            self.violate(Promise::Durable, "removed", Entity::Hub(hub), event);
        }
    }

    /// A hub was told of a copy of a snapshot for which an earlier life asked: nobody else can drop it.
    pub(super) fn judge_orphan(&mut self, hub: u8, life: u64, spool: SpoolId) {
        let host = &self.hubs[hub as usize];
        if host.machine.is_some() && host.life == life && host.dropped != Some(spool) {
            let event = "a copy of a snapshot for which an earlier life asked is left on the disk".into();
            self.violate(Promise::Bounded, "orphan", Entity::Hub(hub), event);
        }
    }
}

/// The copy of a snapshot that an answer tells of.
pub(super) fn spooled(input: &Input) -> Option<SpoolId> {
    match input {
        Input::SnapshotTaken(Answer { reply: Ok(SnapshotTaken::Spooled(spool)), .. }) => Some(spool.id),
        _ => None,
    }
}
