//! What becomes of questions and answers under way when a connection to the database, or the life that asked, ends.

use super::event::{HUB_ASKS, HUB_HEARS, REPLICATION_ASKS, REPLICATION_HEARS};
use super::lineage::node_of;
use super::{Event, World};
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use dormouse_core::ask::Answer;
use dormouse_core::fault::Failure;
use dormouse_core::{hub, replication};
use std::time::Duration;

const STALE_US: &[u64] = &[0, 700, 1_500, 4_000, 30_000, 300_000];

impl World {
    /// Answers under way to a life that has just ended may come when its successor has asked questions of its own.
    pub(super) fn delay_answers(&mut self, of: Entity) {
        let bucket = self.choose(Kind::StaleAnswers, of, STALE_US.len() as u64, per_mille(500));
        if bucket == 0 {
            return;
        }
        let after = Duration::from_micros(STALE_US[usize::try_from(bucket).unwrap_or(0)]);
        let (place, ended) = match of {
            Entity::Replication(node) => ((REPLICATION_HEARS, node.into()), self.replications[node as usize].life),
            Entity::Hub(hub) => ((HUB_HEARS, hub.into()), self.hubs[hub as usize].life),
            _ => return,
        };
        let theirs = |event: &Event| match event {
            Event::ReplicationHears { life, .. } | Event::HubHears { life, .. } => *life == ended,
            _ => false,
        };
        for (at, event) in self.queue.take_where(place, theirs) {
            self.queue.push(at + after, event);
        }
    }

    /// Every connection of a replicator, or of a hub, to the database is lost: what is under way fails, before or after its effect.
    pub(super) fn lose_connections(&mut self, of: Entity) {
        let after = self.noticed_after(node_of(of));
        let mut failed = Vec::new();
        let place = match of {
            Entity::Replication(node) => (REPLICATION_ASKS, node.into()),
            Entity::Hub(hub) => (HUB_ASKS, hub.into()),
            _ => return,
        };
        self.queue.remove_where(place, |event| match event {
            Event::ReplicationAsks { life, question, answered: true, .. } => {
                failed.push((*life, replication_failure(question, "the database connection was lost"), None));
                true
            }
            Event::HubAsks { life, question, answered: true, .. } => {
                failed.push((*life, None, hub_failure(question, "the database connection was lost")));
                true
            }
            _ => false,
        });
        for (life, to_replication, to_hub) in failed {
            match (of, to_replication, to_hub) {
                (Entity::Replication(node), Some(input), _) => {
                    if matches!(input, replication::Input::PageRecorded(_)) {
                        self.replications[node as usize].recording -= 1;
                    }
                    let input = Box::new(input);
                    self.plan_in(after, Event::ReplicationHears { node, life, input });
                }
                (Entity::Hub(hub), _, Some(input)) => {
                    self.plan_in(after, Event::HubHears { hub, life, input: Box::new(input) });
                }
                _ => {}
            }
        }
    }
}

macro_rules! failures {
    ($output:expr, $why:expr, $machine:ident, $($question:ident => $answer:ident,)+) => {
        match $output {
            $($machine::Output::$question(ask) => Some($machine::Input::$answer(Answer {
                id: ask.id,
                reply: Err(Failure::Unavailable($why.into())),
            })),)+
            _ => None,
        }
    };
}

pub(super) fn replication_failure(question: &replication::Output, why: &str) -> Option<replication::Input> {
    failures!(question, why, replication,
        TakeLease => LeaseTaken,
        RenewLease => LeaseRenewed,
        ReleaseLease => LeaseReleased,
        InspectSource => SourceInspected,
        LoadProgress => ProgressLoaded,
        CreateSlot => SlotCreated,
        SettleSlot => SlotSettled,
        BeginEra => EraBegun,
        StartStream => StreamStarted,
        ReadSource => SourceRead,
        NoteAttempt => AttemptNoted,
        RecordPage => PageRecorded,
        SaveCovered => CoveredSaved,
        InspectTables => TablesInspected,
        RaiseSchema => SchemaRaised,
        Prune => Pruned,
        ReadHead => HeadRead,
    )
}

pub(super) fn hub_failure(question: &hub::Output, why: &str) -> Option<hub::Input> {
    failures!(question, why, hub,
        TakeEpoch => EpochTaken,
        JudgePosition => PositionJudged,
        TakeSnapshot => SnapshotTaken,
        ReadChunk => ChunkRead,
        ReadHistory => HistoryRead,
        ReadHead => HeadRead,
        SavePositions => PositionsSaved,
        RenewRegistrations => RegistrationsRenewed,
        Unregister => Unregistered,
    )
}
