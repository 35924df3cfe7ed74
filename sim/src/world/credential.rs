//! Credentials: how long they are good, and what the server's host does with them.

use super::World;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::oracle::Promise;
use crate::plan::{Family, token};
use crate::probe::Probe;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ClientMessage, Hello, Secret};
use dormouse_core::{client, hub};
use std::time::Duration;

/// How long credentials are good: the first never runs out.
const CREDENTIAL_US: &[u64] = &[0, 3_000, 300_000, 1_200_000, 3_500_000];
/// How much longer where some outlast a registration.
const ROOMY_CREDENTIALS: u64 = 6;

impl World {
    /// When the credential that a client shows runs out; most never do.
    pub(super) fn credential_until(&mut self, client: u8) -> Option<Timestamp> {
        let weight = if self.plan.has(Family::Credentials) { per_mille(500) } else { 0 };
        let bucket = self.choose(Kind::CredentialEnds, Entity::Client(client), CREDENTIAL_US.len() as u64, weight);
        let micros = CREDENTIAL_US[usize::try_from(bucket).unwrap_or(0)];
        let longer = if self.plan.has(Family::Roomy) { ROOMY_CREDENTIALS } else { 1 };
        (bucket != 0).then(|| self.now + Duration::from_micros(micros * longer))
    }

    /// What the server's host does with a greeting: it judges the credential, which reaches no machine.
    pub(super) fn shown_credential(&mut self, id: u64, message: ClientMessage) -> ClientMessage {
        let ClientMessage::Hello(hello) = message else { return message };
        let client = self.network.connections.get(id).map_or(0, |connection| connection.client);
        if !self.plan.is_attacker(client) && hello.token != Some(token(client)) {
            let event = "the credential that it shows is not the one that it has".into();
            self.violate(Promise::Scoped, "token", Entity::Client(client), event);
        }
        ClientMessage::Hello(Hello { token: None, ..hello })
    }

    /// The application has another credential, while the one that it gave is good.
    pub(super) fn provide_credential(&mut self, client: u8) {
        let life = self.clients[client as usize].life;
        let input = client::Input::CredentialProvided { token: Some(Secret::new(&token(client))) };
        self.client_hears(client, life, input);
    }

    /// A client shows another credential on its open connection. The server's host judges it, and tells the hub until when it is good.
    pub(super) fn new_credential(&mut self, id: u64, shown: &Secret) {
        let Some(connection) = self.network.connections.get(id).filter(|connection| connection.server_open) else {
            return;
        };
        let (client, hub, session) = (connection.client, connection.hub, connection.session);
        let before = (connection.credential_until, connection.expires);
        if shown.reveal() != token(client) {
            let event = "the new credential that it shows is not the one that it has".into();
            self.violate(Promise::Scoped, "token", Entity::Client(client), event);
        }
        let until = self.credential_until(client);
        let expires = self.expires_at(hub, until);
        if self.hubs[hub as usize].machine.is_none() {
            self.hit(Probe::CredentialRenewedAsleep);
        }
        if expires.is_some_and(|until| before.1.is_none_or(|before| until < before)) {
            self.hit(Probe::CredentialRenewedToEarlier);
        }
        self.hit(Probe::CredentialRenewed);
        // What has run out already is not renewed: the hub closes that session before it hears anything else.
        if before.1.is_none_or(|until| until > self.hub_now(hub)) {
            self.know_credential(id, (until, expires));
        }
        self.feed_hub(hub, hub::Input::CredentialRenewed { session, until: expires }, Probe::HubWokeByMessage);
        let survived = self.hubs[hub as usize].machine.is_some();
        let now = self.hub_now(hub);
        let Some(connection) = self.network.connections.get_mut(id).filter(|connection| connection.server_open) else {
            return;
        };
        let answered = connection.renewed.take();
        let kept = connection.attachment.as_ref().map(|attachment| attachment.credential_until == expires);
        match (survived, kept) {
            // It was dropped before it kept that with the socket: whoever serves it next goes by what is kept.
            (false, None | Some(false)) => self.know_credential(id, before),
            (true, Some(false)) => {
                let event = format!("what is kept with the socket of client/{client} does not tell its new credential");
                self.violate(Promise::Scoped, "renewal kept", Entity::Hub(hub), event);
            }
            (true, Some(true)) => {
                let good_for = expires.map(|until| u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX));
                if answered != Some(good_for) {
                    let event =
                        format!("client/{client} is told {answered:?} of a credential that is good for {good_for:?}");
                    self.violate(Promise::Converges, "renewal told", Entity::Hub(hub), event);
                }
            }
            (true, None) | (false, Some(true)) => {}
        }
    }

    fn know_credential(&mut self, id: u64, known: (Option<Timestamp>, Option<Timestamp>)) {
        if let Some(connection) = self.network.connections.get_mut(id) {
            (connection.credential_until, connection.expires) = known;
        }
    }

    /// A hub closes a session because its credential ran out: that must be so.
    pub(super) fn judge_expiry(&mut self, hub: u8, id: u64) {
        let Some(expires) = self.network.connections.get(id).map(|connection| connection.expires) else { return };
        if expires.is_none_or(|until| until > self.hub_now(hub)) {
            let event = format!("a session is closed as expired, whose credential is good until {expires:?}");
            self.violate(Promise::Converges, "expired early", Entity::Hub(hub), event);
        }
    }
}
