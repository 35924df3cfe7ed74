//! Credentials run out: a session is sent nothing after that, whether its hub was awake or asleep when it happened.

use super::Hub;
use super::desk::{Desk, Timer};
use crate::fault::{FaultCode, PeerFault};
use crate::safeguard::Safeguard;
use crate::session::SessionId;
use crate::time::Timestamp;
use crate::wire::ServerMessage;

impl Hub {
    /// Closes whose credential has run out. Comes before everything else that an input or a timer sets off.
    pub(super) fn close_expired(&mut self, now: Timestamp) {
        while let Some(&(until, id)) = self.desk.expiries.first()
            && until <= now
        {
            if !self.config().safeguards.holds(Safeguard::CredentialExpires) {
                self.desk.expiries.pop_first();
                continue;
            }
            let message = "the credential has run out; come back with a new one";
            self.close(id, Some(PeerFault::new(FaultCode::Expired, message)), now);
        }
        self.desk.arm_expiry();
    }

    /// A session's credential is good until another time.
    pub(super) fn on_credential_renewed(&mut self, id: SessionId, until: Option<Timestamp>, now: Timestamp) {
        let Some(session) = self.slab.get_mut(id) else { return }; // It may cross our own close.
        let before = std::mem::replace(&mut session.credential_until, until);
        self.desk.forget_expiry(id, before);
        self.desk.expect_expiry(id, until);
        if let Some(served) = session.served_mut() {
            served.peer.credential_until = until;
            self.desk.attach(served);
            self.desk.send(id, ServerMessage::Credential { expires_in_ms: expires_in_ms(until, now) });
        }
        self.close_expired(now);
    }

    /// When a sleeping hub must wake by itself: to renew a registration, or to close whose credential runs out.
    pub(super) fn alarm(&self) -> Option<Timestamp> {
        let expiry = self.desk.expiries.first().map(|(until, _)| *until);
        self.first_renewal().into_iter().chain(expiry).min()
    }
}

impl Desk {
    /// Notes when a session's credential runs out.
    pub fn expect_expiry(&mut self, id: SessionId, until: Option<Timestamp>) {
        if let Some(until) = until {
            self.expiries.insert((until, id));
            self.arm_expiry();
        }
    }

    /// Forgets that again.
    pub fn forget_expiry(&mut self, id: SessionId, until: Option<Timestamp>) {
        if let Some(until) = until {
            self.expiries.remove(&(until, id));
        }
    }

    fn arm_expiry(&mut self) {
        match self.expiries.first() {
            Some((until, _)) => self.timers.set(Timer::Credential, *until),
            None => self.timers.stop(Timer::Credential),
        }
    }
}

/// For how long a credential is good from now.
pub(super) fn expires_in_ms(until: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    until.map(|until| u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX))
}
