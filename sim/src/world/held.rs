//! What is under way and held until something else has happened: a closed socket until the next dial, a question until a crash.
//!
//! It is planned for a moment of its own, long after the others, and hastened once its moment is past. What a link carries behind it
//! waits with it, since links keep their order.

use super::World;
use crate::chooser::{Answer, Kind, Moment, Moments, per_mille};
use crate::entity::Entity;
use crate::log::{Draft, What, words};
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::time::Timestamp;
use std::time::Duration;

/// How long something is held whose moment does not come: longer than a lease, shorter than a silence.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(4);
/// How often a delay is held, in worlds that have the family.
const WEIGHT: u32 = per_mille(20);

/// Something that is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    until: Moment,
    /// When it is planned for; what else is planned for then waits with it.
    due: Timestamp,
}

impl World {
    /// How something is delayed: by a length or an order, or until a moment.
    pub(super) fn delayed(
        &mut self,
        kind: Kind,
        entity: Entity,
        buckets_us: &[u64],
        weight: u32,
    ) -> Answer<Kind, Entity> {
        let (now, bound) = (self.now, buckets_us.len() as u64 + 2);
        let answer = match self.steering.take() {
            Some(mut steering) => {
                let told = steering.tells(self, kind, entity);
                self.steering = Some(steering);
                self.chooser.told_to_delay(now, (kind, entity), bound, told)
            }
            None if holdable(kind) && self.plan.has(Family::Holds) => {
                let moments = Moments { of: &self.moments(entity), weight: WEIGHT };
                self.chooser.delay(now, kind, entity, (bound, weight), moments)
            }
            None => self.chooser.delay(now, kind, entity, (bound, weight), Moments::none()),
        };
        if answer != Answer::Pick(0) {
            self.chose(kind, entity, Some(buckets_us));
        }
        answer
    }

    /// When what is held until then comes at the latest.
    pub(super) fn hold(&mut self, entity: Entity, until: Moment) -> Duration {
        let jitter = Duration::from_micros(self.chooser.draw(Kind::Jitter, entity, 1_000));
        let due = self.now + HOLD_MAX + jitter;
        self.held.push(Held { until, due });
        HOLD_MAX + jitter
    }

    /// Hastens what was held until something that is past by now.
    pub(super) fn let_go_of_past(&mut self) {
        let mut n = 0;
        while let Some(Held { until, due }) = self.held.get(n).copied() {
            if self.chooser.is_past(until) {
                self.hit(Probe::HeldUntil);
                self.let_go(due, &format!("goes on: what was held until {}", words::moment(&until)));
            } else if due >= self.now {
                n += 1;
                continue;
            }
            self.held.swap_remove(n);
        }
    }

    /// Something happens on a connection.
    pub(super) fn passes_of(&mut self, connection: u64, kind: Kind) {
        if let Some(connection) = self.network.connections.get(connection) {
            self.chooser.passes(kind, Entity::Client(connection.client));
        }
    }

    /// Nothing is held any longer: faults rest.
    pub(super) fn let_go_of_all(&mut self) {
        for Held { due, .. } in std::mem::take(&mut self.held) {
            self.let_go(due, "goes on: what was held");
        }
    }

    fn let_go(&mut self, due: Timestamp, words: &str) {
        let now = self.now;
        self.log.add(|_| Draft::new(Entity::World, What::Note, words.into()));
        self.queue.hasten(due, now);
        for connection in self.network.connections.values_mut() {
            for last in [&mut connection.to_server.last, &mut connection.to_client.last] {
                *last = if *last == due { now } else { *last };
            }
        }
        for last in self.replications.iter_mut().flat_map(|host| &mut host.last_announced) {
            *last = if *last == due { now } else { *last };
        }
    }

    /// What may be waited for: what becomes of whom it concerns and of its counterparts.
    fn moments(&self, entity: Entity) -> [(Kind, Entity); 12] {
        let (client, hub, node) = match entity {
            Entity::Client(client) => (client, self.plan.hub_of(client), 0),
            Entity::Hub(hub) => (hub, hub, 0),
            Entity::Replication(node) | Entity::Node(node) => (0, 0, node),
            Entity::World | Entity::Postgres | Entity::Writer(_) => (0, 0, 0),
        };
        let (who, hub, node) = (Entity::Client(client), Entity::Hub(hub), Entity::Replication(node));
        [
            (Kind::Dialled, who),
            (Kind::Greeted, who),
            (Kind::Closed, who),
            (Kind::Started, who),
            (Kind::Stored, who),
            (Kind::Slept, hub),
            (Kind::Woke, hub),
            (Kind::Announced, hub),
            (Kind::QuestionLatency, hub),
            (Kind::Recorded, node),
            (Kind::QuestionLatency, node),
            (Kind::Leased, Entity::Replication(1)),
        ]
    }
}

/// What delays something that is under way, so that it can be hastened.
const fn holdable(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::QuestionLatency
            | Kind::AnswerLatency
            | Kind::FrameLatency
            | Kind::AnnouncementLatency
            | Kind::StoreLatency
            | Kind::DialLatency
            | Kind::CopyLatency
    )
}
