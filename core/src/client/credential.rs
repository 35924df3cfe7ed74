//! Credentials that run out: renewed on the open connection, or waited for.

use super::{Client, Notice, Output, Phase};
use crate::fault::PeerFault;
use crate::time::Timestamp;
use crate::wire::Secret;

impl Client {
    /// The application has a new credential.
    pub(super) fn on_credential_provided(&mut self, now: Timestamp, token: Option<Secret>) {
        self.credentials += 1;
        if let Some(token) = token {
            self.config.token = Some(token.reveal().into());
        }
        match self.phase {
            Phase::Greeting { socket } => self.push(Output::SendCredential { socket }),
            Phase::Open(ref session) => {
                let socket = session.socket;
                self.push(Output::SendCredential { socket });
            }
            Phase::Expired => self.settle(now),
            Phase::Ended | Phase::Waiting | Phase::Settling | Phase::Dialling { .. } => {} // The next dial uses it.
        }
    }

    /// The server found the credential good.
    pub(super) fn on_credential_good(&mut self, expires_in_ms: Option<u64>) {
        self.credentials_used = self.credentials;
        self.notify(Notice::CredentialGood { expires_in_ms });
    }

    /// The credential has run out. With one that came since, the client is back at once; else it waits for one, so that it does not
    /// ask again and again in vain.
    pub(super) fn on_expired(&mut self, now: Timestamp, fault: PeerFault) {
        if !self.config.waits_for_credential {
            return self.end(Some(fault));
        }
        if self.credentials > self.credentials_used {
            return self.come_back(now);
        }
        self.close();
        self.phase = Phase::Expired;
        self.notify(Notice::CredentialWanted);
    }
}
