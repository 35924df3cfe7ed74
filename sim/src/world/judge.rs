//! What a hub must not do, whatever it was told: keep copies that nobody uses, oversleep, send honest clients away.

use super::World;
use crate::entity::{Entity, HUBS};
use crate::oracle::Promise;
use crate::plan::Family;
use dormouse_core::fault::FaultCode;
use dormouse_core::time::Timestamp;
use std::time::Duration;

/// How long a copy of a snapshot may be kept that nobody uses: some reuse, and some looks.
const UNUSED_MAX: Duration = Duration::from_millis(2_500);

impl World {
    /// Copies of snapshots that nobody uses are dropped soon, also by a hub that stays awake.
    pub(super) fn judge_spools(&mut self) {
        for hub in 0..HUBS {
            let host = &mut self.hubs[hub as usize];
            let backfilling = host.machine.as_ref().is_none_or(|machine| machine.sessions().backfill > 0);
            let Some(oldest) = host.heard.first().copied().filter(|_| !backfilling) else {
                host.unused = None;
                continue;
            };
            if host.unused.is_none_or(|(spool, _)| spool != oldest) {
                host.unused = Some((oldest, self.now));
            }
            let since = host.unused.map_or(self.now, |(_, since)| since);
            if self.now.since(since) > UNUSED_MAX {
                let event = format!("a copy of a snapshot is kept, which nobody has used for {UNUSED_MAX:?}");
                self.violate(Promise::Bounded, "spools", Entity::Hub(hub), event);
            }
        }
    }

    /// A hub sends a session away: not for what no honest client does.
    pub(super) fn judge_fault(&mut self, hub: u8, id: u64, code: FaultCode) {
        let Some(connection) = self.network.connections.get(&id) else { return };
        if self.plan.is_attacker(connection.client) {
            return;
        }
        let client = connection.client;
        let known = connection.in_flight_of == self.hubs[hub as usize].life && connection.attachment.is_some();
        let jumps = self.plan.has(Family::Jumps);
        let event = match code {
            FaultCode::Malformed => format!("client/{client}, which is honest, is told that what it says is malformed"),
            // A clock that jumps makes anybody slow.
            FaultCode::TooSlow if known && !jumps && !connection.ledger.awaits_client() => {
                format!("client/{client} is told that it is too slow, and has answered all that it was sent")
            }
            _ => return,
        };
        self.violate(Promise::Converges, "sent away", Entity::Hub(hub), event);
    }

    /// A hub sleeps until its alarm: nothing that it must do by itself may be due before that.
    pub(super) fn judge_alarm(&mut self, hub: u8, alarm: Option<Timestamp>) {
        let late = |due: Timestamp| alarm.is_none_or(|alarm| alarm > due);
        let expires = self.network.at_hub(hub).filter_map(|(_, connection)| connection.expires).min();
        if let Some(due) = expires.filter(|due| late(*due)) {
            let event = format!("sleeps until {alarm:?}, and a credential runs out at {due:?}");
            self.violate(Promise::Scoped, "alarm", Entity::Hub(hub), event);
        }
        let kept = self.network.at_hub(hub).filter_map(|(_, connection)| connection.attachment.as_ref());
        let ends = kept.map(|attachment| attachment.expires_at).min();
        if let Some(due) = ends.filter(|due| late(*due)) {
            let event = format!("sleeps until {alarm:?}, and a registration ends at {due:?}");
            self.violate(Promise::Durable, "alarm", Entity::Hub(hub), event);
        }
    }
}
