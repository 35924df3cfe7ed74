//! Credentials: how long they are good, and what the server's host does with them.

use super::World;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::oracle::Promise;
use crate::plan::{Family, token};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ClientMessage, Hello};
use std::time::Duration;

/// How long credentials are good: the first never runs out.
const CREDENTIAL_US: &[u64] = &[0, 3_000, 300_000, 1_200_000, 3_500_000];

impl World {
    /// When the credential that a client shows runs out; most never do.
    pub(super) fn credential_until(&mut self, client: u8) -> Option<Timestamp> {
        let weight = if self.plan.has(Family::Credentials) { per_mille(500) } else { 0 };
        let bucket = self.choose(Kind::CredentialEnds, Entity::Client(client), CREDENTIAL_US.len() as u64, weight);
        let micros = CREDENTIAL_US[usize::try_from(bucket).unwrap_or(0)];
        (bucket != 0).then(|| self.now + Duration::from_micros(micros))
    }

    /// What the server's host does with a greeting: it judges the credential, which reaches no machine.
    pub(super) fn shown_credential(&mut self, id: u64, message: ClientMessage) -> ClientMessage {
        let ClientMessage::Hello(hello) = message else { return message };
        let client = self.network.connections.get(&id).map_or(0, |connection| connection.client);
        if !self.plan.is_attacker(client) && hello.token != Some(token(client)) {
            let event = "the credential that it shows is not the one that it has".into();
            self.violate(Promise::Scoped, "token", Entity::Client(client), event);
        }
        ClientMessage::Hello(Hello { token: None, ..hello })
    }
}
