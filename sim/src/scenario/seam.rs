//! B. The seam between snapshot and stream.

use super::Promised::{Atomic, Bounded, Complete, Converges, Once};
use super::rule::{anybody, on};
use super::{HELD, Held, SCRIPT, Scenario, Script, State, Verb};
use crate::chooser::Kind;
use crate::coverage::Phase;
use crate::entity::Entity;
use crate::plan::{Family, Size};
use crate::probe::Probe;
use dormouse_core::safeguard::Safeguard;

const R0: Entity = Entity::Replication(0);

/// Its races.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "wait-for-initial-poll",
        tells: "sync begins before what was pending is drained, and changes just before the connection are missed",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::SeamAwaitsCovered],
            noticed_by: "content sum, fresh",
            families: &[Family::Latency],
            starts_ms: &[900, 1_100],
            rules: &[on(Kind::QuestionLatency, R0).doing("RecordPage").skip(2).times(12).pick(3)],
            window: &[Probe::GreetedAhead],
            ..HELD
        }),
    },
    Scenario {
        name: "commit-in-wal-not-yet-visible",
        tells: "a commit is in the WAL, and decoded, before snapshots see it; one labelled with an LSN misses it for good",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::SeamFilter],
            families: &[Family::Invisible],
            starts_ms: &[900, 1_300],
            rules: &[anybody(Kind::HeldInvisible).times(8).skip(2).pick(3)],
            window: &[Probe::CommitInvisible, Probe::SnapshotBeforeVisible],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "filter-ends-by-xid",
        tells: "the seam's filter ends at the first id beyond the snapshot, while an older commit is still to come",
        promises: &[Complete, Once],
        state: State::Held(Held {
            safeguards: &[Safeguard::SeamEndsAtF],
            families: &[Family::Latency],
            starts_ms: &[450, 500],
            script: Script { transactions: 90, outlasts: 20, gap_ms: 40, ..SCRIPT },
            rules: &[anybody(Kind::CopyLatency).always().pick(3)],
            window: &[Probe::SeamPastXmax],
            entered_percent: 50,
            ..HELD
        }),
    },
    Scenario {
        name: "era-start-gap",
        tells: "a transaction ran when the slot was created, and is in neither slot nor snapshot",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::EraStartWait],
            families: &[Family::Invisible, Family::SlotLoss],
            rules: &[
                anybody(Kind::HeldInvisible).skip(4).times(30).pick(4),
                on(Kind::LoseSlot, Entity::Postgres).when(|world, _| world.has_invisible()),
            ],
            window: &[Probe::SlotLost, Probe::EraBegan, Probe::EraStarting],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "rewrite-under-snapshot",
        tells: "a table is rewritten between the snapshot and its copy, which then has no rows",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "content sum; the lock that a snapshot takes on its tables lives in SQL",
            families: &[Family::SilentAlter, Family::Latency],
            rules: &[
                anybody(Kind::CopyLatency).always().pick(3),
                on(Kind::SilentAlter, Entity::Postgres).when(|world, _| world.copies()).pick(3),
            ],
            window: &[Probe::AlterBlocked],
            ..HELD
        }),
    },
    Scenario {
        name: "snapshot-from-a-standby",
        tells: "a standby's snapshot lists no running transactions, so a running one counts as seen",
        promises: &[Complete],
        state: State::Waiting("standbys in the model"),
    },
    Scenario {
        name: "shown-before-the-seam",
        tells: "the client shows the bare snapshot, which is no prefix of commit order",
        promises: &[Atomic],
        state: State::Held(Held {
            noticed_by: "sum, boundary: what is shown changes with its place only",
            families: &[Family::Latency, Family::ClientCrash],
            starts_ms: &[900, 1_100],
            rules: &[
                anybody(Kind::CopyLatency).times(2).pick(3),
                on(Kind::CrashAtOutput, Entity::Client(0))
                    .doing("Staged")
                    .when(|world, who| world.stages_backfill(who)),
            ],
            window: &[Probe::ClientCrashedStaged, Probe::SeamNotEmpty],
            entered_percent: 90,
            ..HELD
        }),
    },
    Scenario {
        name: "snapshot-without-transaction",
        tells: "the scan has no common snapshot, and rows that change behind its cursor are lost",
        promises: &[Complete, Atomic],
        state: State::Held(Held {
            noticed_by: "content sum; that the copy is one transaction lives in SQL",
            families: &[Family::Latency],
            starts_ms: &[900, 1_100],
            rules: &[anybody(Kind::CopyLatency).always().pick(3)],
            window: &[Probe::CommitWhileCopying],
            ..HELD
        }),
    },
    Scenario {
        name: "position-beyond-history",
        tells: "the client is given the end of the WAL as its place while history lags behind that",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::SeamAwaitsCovered],
            families: &[Family::Latency],
            starts_ms: &[900, 1_100],
            rules: &[on(Kind::QuestionLatency, R0).doing("RecordPage").skip(2).times(12).pick(3)],
            window: &[Probe::SnapshotAheadOfHistory],
            ..HELD
        }),
    },
    Scenario {
        name: "change-between-snapshot-and-stream",
        tells: "a row changes after the snapshot and before the stream is joined",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::SeamAwaitsCovered],
            families: &[Family::Latency],
            starts_ms: &[900, 1_100],
            rules: &[
                anybody(Kind::CopyLatency).always().pick(3),
                on(Kind::QuestionLatency, R0).doing("RecordPage").when(|world, _| world.copies()).always().pick(3),
            ],
            window: &[Probe::SeamNotEmpty, Probe::CommitWhileCopying],
            ..HELD
        }),
    },
    Scenario {
        name: "key-moves-between-chunks",
        tells: "a row's key changes between two chunks of one scan",
        promises: &[Complete],
        state: State::Held(Held {
            families: &[Family::Latency],
            starts_ms: &[600, 700],
            script: Script {
                transactions: 90,
                sizes: &[2, 3],
                verbs: &[Verb::Insert, Verb::Move, Verb::Insert, Verb::Delete, Verb::Move],
                gap_ms: 40,
                ..SCRIPT
            },
            rules: &[anybody(Kind::AnswerLatency).doing("ReadChunk").skip(1).times(8).pick(3)],
            window: &[Probe::KeyMovedBetweenChunks],
            ..HELD
        }),
    },
    Scenario {
        name: "snapshot-outlives-connection",
        tells: "the database session of a snapshot dies halfway, and going on mixes two snapshots",
        promises: &[Atomic],
        state: State::Held(Held {
            families: &[Family::PostgresRestart, Family::Latency],
            starts_ms: &[900, 1_100],
            rules: &[
                anybody(Kind::CopyLatency).always().pick(3),
                on(Kind::RestartPostgres, Entity::Postgres).when(|world, _| world.copies()).times(2),
            ],
            window: &[Probe::PostgresRestarted, Probe::SnapshotLost],
            ..HELD
        }),
    },
    Scenario {
        name: "snapshot-pins-vacuum",
        tells: "a slow client keeps the transaction of its snapshot open for ever",
        promises: &[Bounded],
        state: State::Held(Held {
            noticed_by: "spools: none is kept at rest; that a copy lies on our own disk lives in the runtime",
            families: &[Family::SlowReader],
            starts_ms: &[900, 1_100],
            rules: &[
                anybody(Kind::SlowReader).when(|world, who| world.is_in(who, Phase::ClientGreeting)).pick(3),
                anybody(Kind::SlowReader).when(|world, who| world.is_in(who, Phase::ClientBackfill)).pick(3),
                anybody(Kind::SlowReader).when(|world, who| world.is_in(who, Phase::ClientConnecting)).pick(3),
            ],
            window: &[Probe::SlowReader],
            ..HELD
        }),
    },
    Scenario {
        name: "storm",
        tells: "every client comes back at once after a restart, each wanting a snapshot or a long catch-up",
        promises: &[Converges, Bounded],
        state: State::Held(Held {
            noticed_by: "converges, in flight, rest",
            size: Size::M,
            families: &[Family::NodeCrash, Family::Latency],
            script: Script { transactions: 80, ..SCRIPT },
            starts_ms: &[20, 30, 40, 50, 60, 70, 80, 90],
            rules: &[
                on(Kind::CrashAnytime, Entity::Node(0)).when(|world, _| world.commits() >= 30),
                on(Kind::DownFor, Entity::Node(0)).pick(2),
                anybody(Kind::QuestionLatency)
                    .doing("TakeEpoch")
                    .when(|world, _| world.commits() >= 30)
                    .always()
                    .pick(4),
            ],
            window: &[Probe::NodeCrashed, Probe::Storm],
            ..HELD
        }),
    },
];
