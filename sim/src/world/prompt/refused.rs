//! One question on the way is refused once: whoever asked asks again soon.

use super::{Step, World};
use crate::chooser::mix;
use crate::entity::{Entity, HUBS};
use crate::log::{Draft, What};
use dormouse_core::{hub, replication};

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The next append of a page.
    Append,
    /// The next question of a hub for the head, or for an epoch.
    First,
    /// The next question of a hub that follows those: for history, or for a judgement.
    Second,
}

impl World {
    /// What is refused in the present step: nothing in the first, for earlier failures may have made its waits longer.
    pub(super) fn refuses(&self, step: Step) -> Option<Refused> {
        if self.prompt.tried == 0 {
            return None;
        }
        // A hub that is awake asks nothing for a page that is announced to it.
        let asks = step == Step::Cut || (0..HUBS).any(|hub| self.hubs[hub as usize].machine.is_none());
        match (mix(self.plan.seed) >> 24) % 6 {
            0 if step == Step::Commit => Some(Refused::Append),
            1 if asks => Some(Refused::First),
            2 if asks => Some(Refused::Second),
            _ => None,
        }
    }

    /// Whether this question of a hub is the one that is refused.
    pub(in crate::world) fn refuses_hub(&mut self, hub: u8, question: &hub::Output) -> bool {
        use hub::Output;
        let is_it = match self.prompt.refused {
            Some(Refused::First) => matches!(question, Output::ReadHead(_) | Output::TakeEpoch(_)),
            Some(Refused::Second) => matches!(question, Output::ReadHistory(_) | Output::JudgePosition(_)),
            Some(Refused::Append) | None => false,
        };
        is_it && self.is_refused(Entity::Hub(hub))
    }

    /// Whether this question of a replicator is the one that is refused.
    pub(in crate::world) fn refuses_replication(&mut self, node: u8, question: &replication::Output) -> bool {
        let is_it = self.prompt.refused == Some(Refused::Append);
        is_it && matches!(question, replication::Output::RecordPage(_)) && self.is_refused(Entity::Replication(node))
    }

    fn is_refused(&mut self, entity: Entity) -> bool {
        self.prompt.refused = None;
        self.log.add(|_| Draft::new(entity, What::Note, "is refused one question".into()));
        true
    }
}
