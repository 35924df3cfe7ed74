//! Somebody who follows no protocol: garbage, forged positions and acknowledgements, greetings twice. It must harm nobody else.

use super::network::ToServer;
use super::{Event, World};
use crate::chooser::{ALWAYS, Kind};
use crate::entity::Entity;
use crate::plan::{Family, client_id};
use crate::probe::Probe;
use dormouse_core::change::Scope;
use dormouse_core::client::SocketId;
use dormouse_core::fault::Malformed;
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::session::BackfillId;
use dormouse_core::wire::{ClientMessage, Hello, Resume};
use dormouse_core::xid::Xid;
use std::time::Duration;

impl World {
    const fn attacker(&self) -> u8 {
        self.plan.size.clients()
    }

    pub(super) fn begin_attacks(&mut self) {
        if self.plan.has(Family::Forged) {
            self.plan_in(Duration::from_millis(300), Event::Attacks);
        }
    }

    /// The attacker dials, or says something on a connection it has.
    pub(super) fn attacks(&mut self) {
        if self.quiet.is_some() {
            return;
        }
        let attacker = self.attacker();
        let entity = Entity::Client(attacker);
        let gap = 40 + self.chooser.draw(Kind::Jitter, entity, 300);
        self.plan_in(Duration::from_millis(gap), Event::Attacks);
        let ours = self.network.connections.iter().find(|(_, c)| c.client == attacker && c.client_open);
        let Some(id) = ours.map(|(id, _)| *id) else {
            self.clients[attacker as usize].life = 0;
            let socket = SocketId(self.events);
            self.plan_in(Duration::from_millis(1), Event::Dialled { client: attacker, life: 0, socket });
            return;
        };
        let pick = self.choose(Kind::Forge, entity, 12, ALWAYS);
        self.hit(Probe::Forged);
        let frame = match pick {
            1 => Err(Malformed { why: "garbage".into() }),
            2 => Ok(ClientMessage::Ack { through: self.forged_waypoint(1_000_000) }),
            3 => Ok(ClientMessage::Ack { through: self.forged_waypoint(0) }),
            4 => Ok(ClientMessage::Staged { backfill: BackfillId(7), n: 3 }),
            5 => Ok(ClientMessage::Bye),
            6 => Ok(self.forged_hello(Resume::At(self.forged_waypoint(0)))),
            7 => Ok(self.forged_hello(Resume::At(self.forged_waypoint(1_000_000)))),
            8 => Ok(self.forged_hello(Resume::Stored)),
            9 => {
                self.client_closes(id);
                return;
            }
            _ => Ok(self.forged_hello(Resume::Nothing)),
        };
        self.push_to_server(id, ToServer::Message(Box::new(frame)));
    }

    fn forged_hello(&self, resume: Resume) -> ClientMessage {
        let attacker = self.attacker();
        ClientMessage::Hello(Hello {
            client: client_id(attacker),
            instance: Some(self.events % 3),
            attempt: self.events % 50,
            token: None,
            scope: if self.events.is_multiple_of(7) { Scope::tables(["public.none".into()]) } else { Scope::All },
            resume,
        })
    }

    fn forged_waypoint(&self, beyond: u64) -> Waypoint {
        let head = self.postgres.head();
        if let (Some(head), 0, true) = (head, beyond, self.events.is_multiple_of(2)) {
            return head.waypoint; // Not forged at all: to get further in.
        }
        let era = if self.events.is_multiple_of(5) {
            Era { counter: 9, id: 9 }
        } else {
            head.map_or_else(Era::default, |h| h.era())
        };
        let lsn = head.map_or(0, |head| head.position().commit_lsn.0);
        Waypoint {
            era,
            schema: head.map_or(SchemaVersion(1), |head| head.schema()),
            position: Position::after(Lsn(lsn + beyond)),
            xid: Xid(self.events % 4),
            committed_at: CommitTime(1),
        }
    }
}
