//! Somebody who follows no protocol: garbage, forged positions and acknowledgements, greetings twice. It must harm nobody else.

use super::connection::ToServer;
use super::{Event, World};
use crate::chooser::{ALWAYS, Kind};
use crate::entity::Entity;
use crate::plan::{Family, client_id};
use crate::probe::Probe;
use dormouse_core::change::Scope;
use dormouse_core::client::SocketId;
use dormouse_core::limits::{CLIENT_ID_BYTES_MAX, SCOPE_TABLES_MAX};
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
        let ours = self.network.connections.of(attacker).find(|(_, c)| c.client_open);
        let Some(id) = ours.map(|(id, _)| id) else {
            self.clients[attacker as usize].life = 0;
            let socket = SocketId(self.events);
            self.plan_in(Duration::from_millis(1), Event::Dialled { client: attacker, life: 0, socket });
            return;
        };
        let pick = self.choose(Kind::Forge, entity, 12, ALWAYS);
        self.hit(Probe::Forged);
        let message = match pick {
            1 => return self.push_to_server(id, ToServer::Garbage(self.garbage())),
            2 => ClientMessage::Ack { through: self.forged_waypoint(1_000_000) },
            3 => ClientMessage::Ack { through: self.forged_waypoint(0) },
            4 => self.forged_staging(id),
            5 => ClientMessage::Bye,
            6 => self.forged_hello(Resume::At(self.forged_waypoint(0))),
            7 => self.forged_hello(Resume::At(self.forged_waypoint(1_000_000))),
            8 => self.forged_hello(Resume::Stored),
            9 => {
                self.client_closes(id);
                return;
            }
            _ => self.forged_hello(Resume::Nothing),
        };
        self.push_to_server(id, ToServer::Message(Box::new(Ok(message))));
    }

    /// Bytes that are nearly a message.
    fn garbage(&self) -> String {
        let hello = |client: &str, scope: &str, resume: &str| {
            format!(
                r#"{{"type":"hello","client":"{client}","instance":"1","attempt":1,"scope":{scope},"resume":{resume}}}"#
            )
        };
        let at = |era: &str, position: &str| {
            format!(r#"{{"era":"{era}","schema":1,"position":"{position}","xid":"1","committed_at_us":1}}"#)
        };
        let ack = |through: &str| format!(r#"{{"type":"ack","through":{through}}}"#);
        let many = (0..=SCOPE_TABLES_MAX).map(|n| format!("\"public.t{n}\"")).collect::<Vec<_>>().join(",");
        match self.events % 14 {
            0 => "garbage".into(),
            1 => hello("x", "[]", "null"),
            2 => hello("x", &format!("[{many}]"), "null"),
            3 => hello("x", "\"some\"", "null"),
            4 => hello("x", "\"all\"", "\"elsewhere\""),
            5 => hello("", "\"all\"", "null"),
            6 => hello(&"x".repeat(CLIENT_ID_BYTES_MAX + 1), "\"all\"", "null"),
            7 => ack(&at("1-1", "0/10")),
            8 => ack(&at("1-000000000000000g", "0/10")),
            9 => ack(&at("one-0000000000000001", "0/10")),
            10 => ack(&at("1-+000000000000001", "0/10")),
            11 => ack(&at("1-0000000000000001", "10")),
            12 => r#"{"type":"staged","backfill":"1","n":-1}"#.into(),
            _ => r#"{"type":"farewell"}"#.into(),
        }
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

    /// What was never sent, of a backfill that is under way if there is one: its very next message, for instance.
    fn forged_staging(&self, id: u64) -> ClientMessage {
        let (backfill, n) = (BackfillId(7), 3);
        let next = self.network.connections.get(id).and_then(|connection| connection.ledger.next());
        let (backfill, n) = next.filter(|_| !self.events.is_multiple_of(4)).unwrap_or((backfill, n));
        ClientMessage::Staged { backfill, n }
    }

    fn forged_waypoint(&self, beyond: u64) -> Waypoint {
        let head = self.postgres.head();
        if let (Some(head), 0, true) = (head, beyond, self.events.is_multiple_of(2)) {
            let mut nearly = head.waypoint; // Not forged at all: to get further in. Or by a little.
            let changes = self.postgres.commit_at(nearly.position.commit_lsn).map(|commit| commit.changes.len());
            match (self.events % 16, changes.and_then(|changes| u32::try_from(changes).ok())) {
                (4, _) => nearly.committed_at.0 += 1,
                (12, _) => nearly.schema.0 += 1,
                (8, Some(changes)) => nearly.position.index = changes,
                _ => {}
            }
            return nearly;
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
