//! A. Source: from the slot to history.

use super::Promised::{Atomic, Bounded, Complete, Converges, Durable, Once, Ordered};
use super::rule::{anybody, on};
use super::{HELD, Held, SCRIPT, Scenario, Script, State, Verb};
use crate::chooser::Kind;
use crate::coverage::Phase;
use crate::entity::Entity;
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::safeguard::Safeguard;

const R0: Entity = Entity::Replication(0);

/// Its races.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "confirm-before-record",
        tells: "the slot is confirmed up to a transaction that is not in history yet, and the node crashes",
        promises: &[Durable, Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::CoveredBeforeConfirm],
            noticed_by: "confirmed: no confirmation takes effect ahead of history",
            families: &[Family::NodeCrash],
            rules: &[on(Kind::CrashAtOutput, R0).doing("RecordPage").skip(3)],
            window: &[Probe::CrashedUnrecorded],
            ..HELD
        }),
    },
    Scenario {
        name: "record-fails-position-moves",
        tells: "the append to history fails, and the position moves all the same",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "announced: nothing is announced that history has not",
            families: &[Family::Questions],
            rules: &[on(Kind::QuestionFate, R0).doing("RecordPage").skip(2).times(3)],
            window: &[Probe::AppendFailed],
            ..HELD
        }),
    },
    Scenario {
        name: "replay-after-restart",
        tells: "the slot sends again what history has: the filter of duplicates misses, or swallows too much",
        promises: &[Complete, Once],
        state: State::Held(Held {
            noticed_by: "history: nothing is appended twice",
            families: &[Family::NodeCrash],
            rules: &[on(Kind::CrashAtOutput, R0).doing("Confirm").skip(3)],
            window: &[Probe::NodeCrashed, Probe::Replayed],
            ..HELD
        }),
    },
    Scenario {
        name: "interleaved-lsns",
        tells: "two transactions interleave in the WAL, and the LSNs of their messages say nothing of their order",
        promises: &[Complete, Ordered],
        state: State::Held(Held {
            noticed_by: "once: a page holds exactly the commits between two places",
            families: &[Family::Overlap],
            script: Script { sizes: &[3, 2, 4], ..SCRIPT },
            window: &[Probe::Interleaved],
            ..HELD
        }),
    },
    Scenario {
        name: "same-lsn-split",
        tells: "several changes carry one LSN, and a page or a restart ends between them",
        promises: &[Complete, Atomic],
        state: State::Held(Held {
            noticed_by: "content sum, after the rest of the transaction came from inside it",
            families: &[Family::ClientCrash],
            script: Script { sizes: &[12, 1, 3], ..SCRIPT },
            rules: &[on(Kind::CrashAtOutput, Entity::Client(0)).when(|world, who| world.stages_piece(who))],
            window: &[Probe::PieceStaged, Probe::GreetedInside],
            ..HELD
        }),
    },
    Scenario {
        name: "page-exactly-full",
        tells: "a transaction that fills its pages exactly loses its commit",
        promises: &[Atomic, Complete],
        state: State::Held(Held {
            noticed_by: "covered, once",
            script: Script { sizes: &[10, 1, 15, 5], ..SCRIPT },
            window: &[Probe::PieceRecorded, Probe::PageExactlyFull],
            ..HELD
        }),
    },
    Scenario {
        name: "long-transaction",
        tells: "one transaction begins before and commits after many short ones, and the node restarts in between",
        promises: &[Ordered, Complete],
        state: State::Held(Held {
            noticed_by: "once, history",
            families: &[Family::NodeCrash],
            script: Script { outlasts: 12, ..SCRIPT },
            rules: &[on(Kind::CrashAnytime, Entity::Node(0)).when(|world, _| world.commits() >= 6)],
            window: &[Probe::LongTransaction, Probe::NodeCrashed],
            ..HELD
        }),
    },
    Scenario {
        name: "two-replicators",
        tells: "a paused replicator goes on after another took over, and records or confirms",
        promises: &[Durable, Complete],
        state: State::Held(Held {
            noticed_by: "history, confirmed",
            families: &[Family::Pause, Family::Latency],
            script: Script { transactions: 110, ..SCRIPT },
            rules: &[
                on(Kind::AnswerLatency, R0).doing("ReadSource").when(|world, _| world.commits() >= 3).times(40).pick(3),
                on(Kind::Pause, R0).when(|world, _| world.delivers(0)).pick(3),
            ],
            window: &[Probe::ReplicatorPaused, Probe::ReplicatorSuperseded],
            entered_percent: 60,
            ..HELD
        }),
    },
    Scenario {
        name: "served-by-a-standby",
        tells: "a process loses the lease to another while clients are live there, and tells them nothing more",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges",
            safeguards: &[Safeguard::StandbyFollows],
            families: &[Family::Pause],
            script: Script { transactions: 110, ..SCRIPT },
            rules: &[on(Kind::Pause, R0).when(|world, _| world.commits() >= 3).pick(3)],
            window: &[Probe::ReplicatorPaused, Probe::StandbyFollowed],
            ..HELD
        }),
    },
    Scenario {
        name: "slot-recreated-later",
        tells: "the slot vanishes and comes back at a later LSN, and the gap is taken for continuity",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "sum, once, confirmed",
            families: &[Family::MovedSlot, Family::Latency],
            script: Script { transactions: 60, ..SCRIPT },
            rules: &[
                on(Kind::AnswerLatency, R0).doing("ReadSource").when(|world, _| world.commits() >= 3).times(40).pick(3),
                on(Kind::MoveSlot, Entity::Postgres).when(|world, _| world.commits() >= 5 && world.lags()).pick(2),
            ],
            window: &[Probe::SlotMovedOver],
            ..HELD
        }),
    },
    Scenario {
        name: "slot-made-beside-ddl",
        tells: "a table changes while the slot is created, and the slot's decoder goes by what was known before",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::SettledSlot],
            noticed_by: "history, sum",
            families: &[Family::Invisible, Family::SlotLoss, Family::SilentAlter],
            script: Script { transactions: 60, sizes: &[1], ..SCRIPT },
            rules: &[
                anybody(Kind::HeldInvisible).skip(4).pick(4),
                on(Kind::LoseSlot, Entity::Postgres).when(|world, _| world.has_invisible()),
                on(Kind::SilentAlter, Entity::Postgres).when(|world, _| world.creates_slot()).pick(1).times(4),
                on(Kind::SilentAlter, Entity::Postgres).when(|world, _| world.creates_slot()).skip(4).pick(2).times(4),
            ],
            window: &[Probe::SlotLost, Probe::SilentAlter, Probe::SlotOutdated],
            entered_percent: 70,
            ..HELD
        }),
    },
    Scenario {
        name: "source-restored-earlier",
        tells: "the database is restored to an earlier time, and positions from the lost future are honoured",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "lost future, sum, converges",
            families: &[Family::Restore],
            rules: &[
                on(Kind::CopyDatabase, Entity::Postgres).when(|world, _| world.commits() >= 5),
                on(Kind::RestoreDatabase, Entity::Postgres).when(|world, _| world.commits() >= 12),
            ],
            window: &[Probe::Restored, Probe::RestoredLost],
            ..HELD
        }),
    },
    Scenario {
        name: "slot-creation-waits-on-itself",
        tells: "creating the slot waits for a transaction that its creator, or the creator's pool, holds open",
        promises: &[Converges],
        state: State::Waiting("a model of connections whose creation of a slot waits for running transactions"),
    },
    Scenario {
        name: "half-open-source",
        tells: "the source's connection dies without a word: no data, no error",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges",
            families: &[Family::HalfOpen],
            rules: &[on(Kind::DarkStream, R0).when(|world, _| world.is_in(R0, Phase::ReplicationStreaming)).skip(6)],
            window: &[Probe::StreamDark],
            ..HELD
        }),
    },
    Scenario {
        name: "idle-source-pins-wal",
        tells: "only unpublished tables change: nothing is recorded, and the slot never moves",
        promises: &[Bounded],
        state: State::Held(Held {
            noticed_by: "slot: it holds back little WAL at rest",
            rules: &[on(Kind::ForeignWal, Entity::Postgres).always()],
            window: &[Probe::IdleSaved, Probe::Idle],
            ..HELD
        }),
    },
    Scenario {
        name: "release-never-comes",
        tells: "back-pressure holds the source back, its connection drops, and nobody releases it",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges",
            families: &[Family::ConnectionDrop, Family::Latency],
            script: Script { sizes: &[12, 9, 14], ..SCRIPT },
            rules: &[
                on(Kind::QuestionLatency, R0).doing("RecordPage").skip(3).times(4).pick(4),
                on(Kind::DropConnection, R0).when(|world, _| world.holds_back(0)),
            ],
            window: &[Probe::DroppedHeldBack],
            ..HELD
        }),
    },
    Scenario {
        name: "truncate-in-stream",
        tells: "TRUNCATE among other changes of one transaction is skipped, or stops the stream",
        promises: &[Complete, Converges],
        state: State::Held(Held {
            script: Script {
                sizes: &[2, 3],
                verbs: &[Verb::Insert, Verb::Insert, Verb::Update, Verb::Truncate],
                ..SCRIPT
            },
            window: &[Probe::Truncated],
            ..HELD
        }),
    },
    Scenario {
        name: "schema-changes-mid-stream",
        tells: "a column is added between two changes, or in the midst of a client's catch-up",
        promises: &[Complete, Atomic],
        state: State::Held(Held {
            noticed_by: "content sum, once the change is noted",
            families: &[Family::SilentAlter, Family::Latency],
            rules: &[
                on(Kind::AnswerLatency, Entity::Hub(0)).doing("ReadHistory").times(8).pick(3),
                on(Kind::SilentAlter, Entity::Postgres).when(|world, _| world.commits() >= 8).pick(1),
            ],
            window: &[Probe::SilentAlter, Probe::ResyncSchema],
            ..HELD
        }),
    },
    Scenario {
        name: "unchanged-toast",
        tells: "an update leaves a large column out, and the client's copy of it is blanked",
        promises: &[Complete],
        state: State::Held(Held {
            script: Script { verbs: &[Verb::Insert, Verb::Update, Verb::Update], ..SCRIPT },
            window: &[Probe::LeftUnchanged],
            ..HELD
        }),
    },
    Scenario {
        name: "key-update",
        tells: "an update changes the key, and the old row survives at the client",
        promises: &[Complete],
        state: State::Held(Held {
            script: Script { verbs: &[Verb::Insert, Verb::Move], ..SCRIPT },
            window: &[Probe::KeyMoved],
            ..HELD
        }),
    },
    Scenario {
        name: "xid-wraparound",
        tells: "the 32-bit transaction id wraps, or is widened against a stale reference",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "xid, boundary: what is shown names its transaction by all 64 bits",
            families: &[Family::Overlap],
            window: &[Probe::XidWrapped],
            ..HELD
        }),
    },
    Scenario {
        name: "partly-recorded-transaction",
        tells: "the node dies after some pieces of a large transaction, and the replay takes it for recorded",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::TransactionRowLast],
            noticed_by: "once, content sum",
            families: &[Family::NodeCrash],
            script: Script { sizes: &[12, 2], ..SCRIPT },
            rules: &[on(Kind::CrashAtOutput, R0).doing("RecordPage").when(|world, _| world.is_mid_transaction())],
            window: &[Probe::CrashedBetweenPieces],
            ..HELD
        }),
    },
    Scenario {
        name: "confirm-beyond-covered",
        tells: "an idle confirmation runs ahead of what is durably known to be in history",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::CoveredBeforeConfirm],
            noticed_by: "confirmed",
            families: &[Family::Questions],
            script: Script { transactions: 9, gap_ms: 2_600, ..SCRIPT },
            rules: &[
                on(Kind::ForeignWal, Entity::Postgres).always(),
                on(Kind::QuestionFate, R0).doing("SaveCovered").times(3),
            ],
            window: &[Probe::SaveCoveredFailed],
            ..HELD
        }),
    },
    Scenario {
        name: "append-waits-for-standby",
        tells: "an append waits for a synchronous standby while it holds the lease: neither progress nor take-over",
        promises: &[Converges],
        state: State::Waiting("appends of the model that wait for a standby; local commit lives in the runtime's SQL"),
    },
    Scenario {
        name: "history-feeds-itself",
        tells: "our own writes are decoded as changes",
        promises: &[Bounded],
        state: State::Waiting("a publication of the model that could hold our own tables"),
    },
    Scenario {
        name: "silent-schema-change",
        tells: "old rows change and the stream says nothing: ADD COLUMN with a default, a rewrite",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "unnoted: at rest every alteration is noted and shown",
            families: &[Family::SilentAlter],
            rules: &[on(Kind::SilentAlter, Entity::Postgres).when(|world, _| world.commits() >= 12).pick(3)],
            window: &[Probe::SilentAlter, Probe::ResyncSchema],
            ..HELD
        }),
    },
    Scenario {
        name: "poison-transaction",
        tells: "one transaction ends the process each time it is read",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "poison, halt, converges",
            families: &[Family::Poison],
            rules: &[on(Kind::PoisonTransaction, R0).when(|world, _| world.commits() >= 3)],
            window: &[Probe::PoisonedHalt, Probe::PoisonMended],
            ..HELD
        }),
    },
    Scenario {
        name: "disk-full",
        tells: "the database's disk is full for longer than a lease lasts: pages, greetings and renewals fail while commits go on",
        promises: &[Complete, Once, Converges],
        state: State::Held(Held {
            noticed_by: "history, once, content sum, converges",
            families: &[Family::DiskFull, Family::Latency],
            script: Script { transactions: 110, sizes: &[12, 2, 9], ..SCRIPT },
            rules: &[
                on(Kind::QuestionLatency, R0).doing("RecordPage").skip(2).times(60).pick(2),
                on(Kind::DiskFull, Entity::Postgres)
                    .when(|world, _| world.commits() >= 3 && world.is_mid_transaction())
                    .times(3)
                    .pick(3),
            ],
            window: &[Probe::DiskFullAtPiece, Probe::DiskFullAtLease],
            entered_percent: 80,
            ..HELD
        }),
    },
];
