//! Whoever loses a connection waits before the next: what fails for all must not be asked for by all at once.

use super::World;
use crate::entity::Entity;
use crate::oracle::Promise;
use dormouse_core::client::ClientPhase;
use dormouse_core::machine::Machine;

impl World {
    /// A client has heard something, and has left its connection perhaps: it waits for half its first wait at least.
    pub(super) fn judge_wait(&mut self, client: u8, was: ClientPhase) {
        let (now, least) = (self.client_now(client), self.plan.client(client).backoff_first / 2);
        let machine = self.clients[client as usize].machine.as_ref();
        let left = machine.filter(|machine| was != ClientPhase::Offline && machine.phase() == ClientPhase::Offline);
        let wait = left.and_then(Machine::poll_timeout).map(|due| due.since(now));
        if let Some(wait) = wait.filter(|wait| *wait < least) {
            let event = format!("comes back after {wait:?}, and not after {least:?} at least");
            self.violate(Promise::Bounded, "waits", Entity::Client(client), event);
        }
    }
}
