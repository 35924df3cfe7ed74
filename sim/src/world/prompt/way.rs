//! How long the way takes that a commit goes, or a client that comes back, when nothing waits but what must.
//!
//! Each question, answer and frame is counted with the longest delay that a quiet one has; no wait for another try is, but where a
//! question is refused.

use super::World;
use super::refused::Refused;
use crate::entity::NODES;
use crate::world::client::STORE_US;
use crate::world::database::{ANSWER_US, QUESTION_US};
use crate::world::network::{CLOSE_US, DIAL_US, FRAME_US};
use crate::world::replication::{ANNOUNCEMENT_US, KEEPALIVE_AFTER};
use dormouse_core::replication::PhaseName;
use std::time::Duration;

/// Questions until a commit is in history: the stream is read, the tables are looked at, the attempt is noted, the page is recorded.
const TO_RECORD: u32 = 4;
/// Questions of a hub that was woken: the head, and what its clients lack.
const TO_WAKE: u32 = 2;
/// Questions of a greeting: its epoch, and the judgement of its place.
const TO_GREET: u32 = 2;

impl World {
    /// From the commit to the last client's store. A stream that is about to tell that it rests tells nothing else before.
    pub(super) fn shown_within(&self, refused: Option<Refused>) -> Duration {
        let pauses = (0..NODES).any(|node| self.replications[node as usize].stream_event);
        let stream = if pauses { KEEPALIVE_AFTER } else { Duration::ZERO };
        let recorded = stream + TO_RECORD * asked() + self.followed();
        recorded + slowest(ANNOUNCEMENT_US) + TO_WAKE * asked() + arrives() + self.again(refused)
    }

    /// The client hears it, waits as after a first failure, dials and greets; then covered must pass what was visible: the source is
    /// idle, so it is nudged, and tells only after a pause.
    pub(super) fn live_within(&self, refused: Option<Refused>) -> Duration {
        let waits = self.plan.client(0).backoff_first + self.plan.replication(0).nudge_every;
        let dials = slowest(FRAME_US) + slowest(DIAL_US) + Duration::from_micros(CLOSE_US) + slowest(FRAME_US);
        let greets = (TO_WAKE + TO_GREET) * asked();
        let covered = slowest(QUESTION_US) + KEEPALIVE_AFTER + asked() + self.saved() + slowest(ANNOUNCEMENT_US);
        waits + dials + greets + covered + arrives() + self.again(refused)
    }

    /// Where another process records, that of the hubs hears so when it looks next.
    fn followed(&self) -> Duration {
        if self.stands_by() { self.plan.replication(0).follow_every + asked() } else { Duration::ZERO }
    }

    /// And of covered when an idle advance is saved, and looked for.
    fn saved(&self) -> Duration {
        if self.stands_by() {
            self.plan.replication(1).idle_save_every + asked() + self.followed()
        } else {
            Duration::ZERO
        }
    }

    /// Whether the process whose hubs these are stands by.
    fn stands_by(&self) -> bool {
        self.replications[0].machine.as_ref().is_some_and(|machine| machine.phase() == PhaseName::Standby)
    }

    /// A refused question is asked again after the wait that follows a first failure; what waits with others, up to a quarter later.
    fn again(&self, refused: Option<Refused>) -> Duration {
        let wait = match refused {
            None => return Duration::ZERO,
            Some(Refused::Append) => self.plan.replication(0).backoff_first,
            Some(Refused::First | Refused::Second) => self.plan.hub(0, 0).backoff_first * 5 / 4,
        };
        wait + asked()
    }
}

/// What a hub sends is stored, or handed over.
fn arrives() -> Duration {
    slowest(FRAME_US) + 2 * slowest(STORE_US)
}

fn asked() -> Duration {
    slowest(QUESTION_US) + slowest(ANSWER_US)
}

/// The least of these delays, with the most that is drawn on top.
fn slowest(buckets_us: &[u64]) -> Duration {
    Duration::from_micros(buckets_us[0] + buckets_us[0] / 2)
}
