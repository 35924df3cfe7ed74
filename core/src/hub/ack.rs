//! Acknowledgements: cumulative, and never ahead of what was sent.

use super::Hub;
use super::desk::Desk;
use super::session::{Phase, Serve, Served};
use crate::fault::{FaultCode, Malformed, PeerFault};
use crate::position::Waypoint;
use crate::safeguard::Safeguard;
use crate::session::SessionId;
use crate::time::Timestamp;
use crate::wire::ClientMessage;

impl Hub {
    /// A frame came.
    pub(super) fn on_received(&mut self, id: SessionId, message: Result<ClientMessage, Malformed>, now: Timestamp) {
        let Some(session) = self.slab.get_mut(id) else { return }; // It may cross our own close on the wire.
        match message {
            Err(Malformed { why }) => self.close(id, Some(PeerFault::new(FaultCode::Malformed, why)), now),
            Ok(ClientMessage::Hello(hello)) => self.on_hello(id, hello, now),
            Ok(ClientMessage::Bye) => self.on_bye(id, now),
            Ok(message) => match &mut session.phase {
                Phase::Opened { .. } | Phase::Greeted(_) => self.close(id, Some(greet_first()), now),
                Phase::Served(_) if self.desk.head.is_none() => self.note_early_ack(id, &message),
                Phase::Served(_) => self.try_serve(id, now, |served, desk| match message {
                    ClientMessage::Ack { through } => served.on_ack(&through, desk, now),
                    ClientMessage::Staged { backfill, n } => served.on_staged(backfill, n, desk, now),
                    ClientMessage::Hello(_) | ClientMessage::Bye => Ok(()),
                    ClientMessage::Credential(_) => Ok(()), // The host judges it, and tells the outcome.
                }),
            },
        }
    }

    /// The client wants to be forgotten.
    fn on_bye(&mut self, id: SessionId, now: Timestamp) {
        match self.slab.get(id).map(|session| &session.phase) {
            Some(Phase::Opened { .. }) => self.close(id, Some(greet_first()), now),
            Some(Phase::Greeted(_) | Phase::Served(_)) => {
                self.forget(id);
                self.close(id, None, now);
            }
            None => {}
        }
    }

    /// Removes the registration of a session's client, if the session has taken its epoch.
    pub(super) fn forget(&mut self, id: SessionId) {
        let Some(session) = self.slab.get_mut(id) else { return };
        if let Some(served) = session.served_mut() {
            self.desk.saves.drop_acked(&mut served.peer);
        }
        if let (Some(epoch), Some(client)) = (session.epoch(), session.client()) {
            self.desk.saves.forget_through(client, epoch);
            self.desk.unregister(client, epoch);
        }
    }

    /// What a woken session acknowledges is judged against the head, once that is read.
    fn note_early_ack(&mut self, id: SessionId, message: &ClientMessage) {
        if let ClientMessage::Ack { through } = message {
            self.early_acks.insert(id, *through);
        }
    }

    /// A woken session acknowledged something before the head was known: now it can be judged.
    pub(super) fn settle_early_ack(&mut self, id: SessionId, now: Timestamp) {
        let Some(through) = self.early_acks.remove(&id) else { return };
        self.try_serve(id, now, |served, desk| served.on_ack(&through, desk, now));
    }
}

impl Served {
    /// The client has stored all through here.
    ///
    /// # Errors
    /// When that was never sent.
    fn on_ack(&mut self, through: &Waypoint, desk: &mut Desk, now: Timestamp) -> Result<(), PeerFault> {
        if let Serve::Backfill(_) = self.serve {
            self.on_backfill_acked(through, desk, now);
            return Ok(());
        }
        let (peer, head) = (&self.peer, desk.head);
        let (woken, stands) = (peer.woken, (peer.era, peer.schema));
        let Some(flow) = self.flow_mut() else { return Ok(()) };
        if (through.era, through.schema) != stands {
            return Err(never_sent(through, "its era or schema is not that of this session"));
        }
        if through.position > flow.sent {
            // An earlier life may have sent it: what is in history may be held.
            if !woken {
                return Err(never_sent(through, "that place was not sent to this session"));
            }
            if head.is_none_or(|head| through.position > head.position()) {
                let message = format!("`ack` names {}, but history ends before; connect again", through.position);
                return Err(PeerFault::new(FaultCode::FromTheFuture, message));
            }
            flow.sent = through.position;
        }
        if desk.holds(Safeguard::MonotonicPosition) && through.position <= flow.acked.position {
            return Ok(());
        }
        flow.acked = *through;
        flow.window.ack(through.position, now);
        desk.saves.note_acked(&mut self.peer);
        desk.arm_save(now);
        self.drive(desk, now);
        Ok(())
    }
}

fn never_sent(through: &Waypoint, why: &str) -> PeerFault {
    PeerFault::new(FaultCode::Malformed, format!("`ack` names {}, but {why}", through.position))
}

fn greet_first() -> PeerFault {
    PeerFault::new(
        FaultCode::Malformed,
        "the first message of a connection is `hello`; wait for `welcome` before others",
    )
}
