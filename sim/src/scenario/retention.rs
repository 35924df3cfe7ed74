//! E. Retention.

use super::Promised::{Complete, Converges};
use super::rule::{anybody, on};
use super::{HELD, Held, SCRIPT, Scenario, Script, State};
use crate::chooser::Kind;
use crate::coverage::Phase;
use crate::entity::Entity;
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::safeguard::Safeguard;

const H0: Entity = Entity::Hub(0);
const C0: Entity = Entity::Client(0);

/// Its races.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "pruned-under-a-reader",
        tells: "history is pruned inside the range that a client is reading",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "once, content sum",
            families: &[Family::Retention, Family::Leave, Family::Latency],
            script: Script { transactions: 60, ..SCRIPT },
            rules: &[
                on(Kind::Leave, C0).when(|world, who| world.is_in(who, Phase::ClientLive)).skip(2).times(3),
                on(Kind::DownFor, C0).always().pick(3),
                on(Kind::QuestionLatency, H0).doing("ReadHistory").always().pick(4),
            ],
            window: &[Probe::ReadPruned],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "prune-trusts-a-wrong-mark",
        tells: "pruning follows a position that lied",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::MonotonicPosition],
            noticed_by: "monotonic, position",
            families: &[Family::Retention, Family::Questions],
            script: Script { transactions: 60, ..SCRIPT },
            rules: &[anybody(Kind::QuestionFate).doing("SavePositions").skip(2).times(6).pick(3)],
            window: &[Probe::Pruned, Probe::PositionLate],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "schema-changed-while-away",
        tells: "a client returns at the head with rows from before a change that altered them silently",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "content sum, unnoted",
            families: &[Family::Leave, Family::SilentAlter],
            script: Script { transactions: 50, ..SCRIPT },
            rules: &[
                on(Kind::Leave, C0).when(|world, who| world.is_in(who, Phase::ClientLive)).skip(2).times(3),
                on(Kind::DownFor, C0).always().pick(3),
                on(Kind::SilentAlter, Entity::Postgres)
                    .when(|world, _| world.is_in(C0, Phase::ClientDown))
                    .skip(2)
                    .pick(3),
            ],
            window: &[Probe::SilentAlter, Probe::GreetedOldSchema],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "too-far-behind",
        tells: "a client older than retention returns, and is served from the wrong place, or refused for ever",
        promises: &[Complete, Converges],
        state: State::Held(Held {
            noticed_by: "once, content sum, converges",
            families: &[Family::Retention, Family::ClientCrash],
            script: Script { transactions: 90, ..SCRIPT },
            rules: &[
                on(Kind::CrashAnytime, C0)
                    .when(|world, who| world.commits() >= 8 && world.is_in(who, Phase::ClientLive)),
                on(Kind::CrashAtOutput, C0).doing("Dial").when(|world, _| world.commits() >= 8).times(2),
                on(Kind::DownFor, C0).always().pick(3),
            ],
            window: &[Probe::Pruned, Probe::ResyncPruned],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "restored-same-timeline",
        tells: "a disk's copy of the database comes back on the same timeline and grows past a client's place",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::KnownPosition],
            noticed_by: "lost future, sum, anomalies",
            families: &[Family::Restore],
            script: Script { transactions: 80, gap_ms: 60, ..SCRIPT },
            rules: &[
                on(Kind::CopyDatabase, Entity::Postgres).when(|world, _| world.commits() >= 5),
                on(Kind::CrashAnytime, C0).when(|world, _| world.commits() >= 9),
                on(Kind::DownFor, C0).pick(3),
                on(Kind::RestoreDatabase, Entity::Postgres).when(|world, _| world.is_in(C0, Phase::ClientDown)),
            ],
            window: &[Probe::RestoredLost, Probe::RestoredRegrown, Probe::ResyncUnknown],
            ..HELD
        }),
    },
    Scenario {
        name: "restored-under-a-server",
        tells: "the database is restored from a copy under a server that goes on, and what it remembers is taken for history",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::SameDatabase],
            noticed_by: "lost future, sum, anomalies",
            families: &[Family::Restore, Family::Unstopped],
            script: Script { transactions: 120, gap_ms: 60, ..SCRIPT },
            rules: &[
                on(Kind::CopyDatabase, Entity::Postgres).when(|world, _| world.commits() >= 5),
                anybody(Kind::AnnouncementLatency).always().pick(3),
                on(Kind::RestoreDatabase, Entity::Postgres).when(|world, _| {
                    world.would_notice_copy() && world.is_announcing() && world.is_in(C0, Phase::ClientLive)
                }),
                on(Kind::ServersGoOn, Entity::Postgres).pick(2),
            ],
            window: &[Probe::RestoredUnder, Probe::RestoredLost, Probe::EstrangedSent, Probe::Estranged],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "follower-lags",
        tells: "a client moves to a node whose head is behind its place, and is resynced for nothing",
        promises: &[Converges],
        state: State::Waiting("hubs that read from a follower; today all read from the primary"),
    },
    Scenario {
        name: "client-from-the-future",
        tells: "a client presents a place above the head",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "lost future, converges",
            families: &[Family::Restore],
            script: Script { transactions: 20, ..SCRIPT },
            rules: &[
                on(Kind::CopyDatabase, Entity::Postgres).when(|world, _| world.commits() >= 4),
                on(Kind::RestoreDatabase, Entity::Postgres).when(|world, _| world.commits() >= 14),
            ],
            window: &[Probe::RestoredLost, Probe::ResyncUnknown],
            ..HELD
        }),
    },
];
