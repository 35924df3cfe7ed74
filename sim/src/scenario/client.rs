//! G. The client's own store.

use super::Promised::{Complete, Durable, Once};
use super::rule::on;
use super::{HELD, Held, Scenario, State};
use crate::chooser::Kind;
use crate::coverage::Phase;
use crate::entity::Entity;
use crate::plan::Family;
use crate::probe::Probe;

const C0: Entity = Entity::Client(0);

/// Its races.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "applied-not-positioned",
        tells: "the client stores rows, crashes, and has not stored the position; or the reverse",
        promises: &[Durable, Complete],
        state: State::Held(Held {
            noticed_by: "anomalies, sum; that both are one local transaction lives in the store",
            families: &[Family::ClientCrash, Family::Latency],
            rules: &[
                on(Kind::StoreLatency, C0).doing("Stored").skip(3).times(4).pick(3),
                on(Kind::CrashAnytime, C0).when(|world, who| world.has_stored(who)).times(2),
            ],
            window: &[Probe::ClientCrashedStored],
            ..HELD
        }),
    },
    Scenario {
        name: "half-snapshot-trusted",
        tells: "a snapshot was interrupted, and after a restart the partial table is taken for complete",
        promises: &[Complete],
        state: State::Held(Held {
            families: &[Family::ClientCrash],
            starts_ms: &[900, 1_100],
            rules: &[on(Kind::CrashAtOutput, C0).when(|world, who| world.stages_backfill(who)).skip(1).times(2)],
            window: &[Probe::ClientCrashedStaged],
            entered_percent: 90,
            ..HELD
        }),
    },
    Scenario {
        name: "resync-loses-pending-uploads",
        tells: "a resync replaces the store and drops uploads that were not sent",
        promises: &[Once],
        state: State::Waiting("uploads"),
    },
    Scenario {
        name: "corrupt-or-evicted-store",
        tells: "the platform evicted the client's store",
        promises: &[Complete],
        state: State::Held(Held {
            families: &[Family::ClientCrash, Family::StoreLoss],
            rules: &[
                on(Kind::CrashAnytime, C0).when(|world, who| world.is_in(who, Phase::ClientLive)).skip(3),
                on(Kind::LoseStore, C0),
            ],
            window: &[Probe::StoreLost],
            ..HELD
        }),
    },
];
