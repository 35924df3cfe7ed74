//! C. Catch-up and live.

use super::Promised::{Atomic, Bounded, Complete, Converges, Durable, Fresh, Once, Ordered, Scoped};
use super::rule::{anybody, on};
use super::{HELD, Held, SCRIPT, Scenario, Script, State};
use crate::chooser::Kind;
use crate::coverage::Phase;
use crate::entity::Entity;
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::safeguard::Safeguard;

const R0: Entity = Entity::Replication(0);
const H0: Entity = Entity::Hub(0);
const C0: Entity = Entity::Client(0);

/// Its races.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "commit-between-read-and-subscribe",
        tells: "the last page of the catch-up is read, a commit is recorded, and then the session joins live",
        promises: &[Complete],
        state: State::Held(Held {
            families: &[Family::Leave, Family::Latency],
            rules: &[
                on(Kind::Leave, C0).when(|world, who| world.is_in(who, Phase::ClientLive)).skip(2).times(2),
                on(Kind::DownFor, C0).always().pick(2),
                on(Kind::AnswerLatency, H0).doing("ReadHistory").always().pick(3),
            ],
            window: &[Probe::AnnouncedWhileReading],
            ..HELD
        }),
    },
    Scenario {
        name: "announce-before-recorded",
        tells: "a transaction is sent to clients, and the node dies before history has it",
        promises: &[Durable, Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::RecordBeforeAnnounce],
            noticed_by: "announced",
            families: &[Family::NodeCrash],
            rules: &[on(Kind::CrashAtOutput, R0).doing("RecordPage").skip(4)],
            window: &[Probe::CrashedUnrecorded],
            ..HELD
        }),
    },
    Scenario {
        name: "lost-wake-up",
        tells: "the word that history grew is lost, and nobody reads again",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges",
            families: &[Family::LostAnnouncements],
            rules: &[anybody(Kind::LoseAnnouncement).when(|world, _| world.commits() >= 10).always()],
            window: &[Probe::AnnouncementLost, Probe::ClientLive],
            ..HELD
        }),
    },
    Scenario {
        name: "late-page",
        tells: "a page that was asked for before a resync comes after it",
        promises: &[Ordered, Complete],
        state: State::Held(Held {
            noticed_by: "chained, content sum",
            families: &[Family::Leave, Family::Latency, Family::SilentAlter],
            rules: &[
                on(Kind::Leave, C0).when(|world, who| world.is_in(who, Phase::ClientLive)).skip(2),
                on(Kind::DownFor, C0).always().pick(2),
                on(Kind::AnswerLatency, H0).doing("ReadHistory").always().pick(4),
                on(Kind::SilentAlter, Entity::Postgres).when(|world, _| world.is_reading(0)).pick(3),
                on(Kind::CopyLatency, H0).always().pick(3),
            ],
            window: &[Probe::LatePage],
            entered_percent: 60,
            ..HELD
        }),
    },
    Scenario {
        name: "ack-from-old-socket",
        tells: "an acknowledgement from an earlier socket of the same client moves the new session's position",
        promises: &[Durable],
        state: State::Held(Held {
            safeguards: &[],
            noticed_by: "position, registry",
            families: &[Family::Latency, Family::Cuts],
            rules: &[
                on(Kind::FrameLatency, C0).doing("Ack").when(|world, _| world.commits() >= 3).times(2).pick(4),
                on(Kind::Cut, C0).when(|world, who| world.commits() >= 3 && world.ack_under_way(who)).pick(2),
                on(Kind::QuestionLatency, H0).doing("TakeEpoch").when(|world, _| world.commits() >= 3).times(3).pick(4),
            ],
            window: &[Probe::AckFromOldSocket],
            ..HELD
        }),
    },
    Scenario {
        name: "ack-goes-backward",
        tells: "a late acknowledgement moves the stored position back",
        promises: &[Durable],
        state: State::Held(Held {
            safeguards: &[Safeguard::MonotonicPosition],
            noticed_by: "monotonic",
            families: &[Family::Questions],
            rules: &[anybody(Kind::QuestionFate).doing("SavePositions").skip(2).times(4).pick(3)],
            window: &[Probe::LateEffect, Probe::PositionLate],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "cut-after-data-before-ack",
        tells: "the connection is cut after the data and before its acknowledgement, and the client gets it twice",
        promises: &[Once],
        state: State::Held(Held {
            safeguards: &[Safeguard::ChainedPages],
            noticed_by: "once, anomalies",
            families: &[Family::Cuts],
            rules: &[
                anybody(Kind::StoreLatency).doing("ApplyPage").skip(6).times(8).pick(3),
                anybody(Kind::Cut).when(|world, who| world.owes_ack(who)).times(12),
            ],
            window: &[Probe::CutBeforeAck],
            ..HELD
        }),
    },
    Scenario {
        name: "transaction-larger-than-page",
        tells: "a transaction is larger than any page: split visibly, or refused for ever",
        promises: &[Atomic, Converges],
        state: State::Held(Held {
            safeguards: &[Safeguard::TransactionRowLast],
            noticed_by: "once, sum, converges",
            families: &[Family::NodeCrash],
            script: Script { sizes: &[14, 22, 1], ..SCRIPT },
            rules: &[on(Kind::CrashAtOutput, R0)
                .doing("RecordPage")
                .when(|world, _| world.is_mid_transaction())
                .skip(3)],
            window: &[Probe::PieceRecorded, Probe::PieceRead, Probe::PieceStaged],
            ..HELD
        }),
    },
    Scenario {
        name: "slow-consumer",
        tells: "a client stops reading, and what it has not read is buffered without bound",
        promises: &[Bounded],
        state: State::Held(Held {
            noticed_by: "in flight",
            families: &[Family::SlowReader],
            script: Script { transactions: 90, sizes: &[5, 5, 4], ..SCRIPT },
            rules: &[anybody(Kind::SlowReader)
                .when(|world, who| world.is_in(who, Phase::ClientLive))
                .skip(3)
                .times(4)
                .pick(3)],
            window: &[Probe::SlowReader, Probe::WindowFull],
            ..HELD
        }),
    },
    Scenario {
        name: "live-gated-too-early",
        tells: "live pages overtake the pages of a catch-up",
        promises: &[Ordered],
        state: State::Held(Held {
            noticed_by: "chained",
            families: &[Family::Leave, Family::Latency],
            rules: &[
                anybody(Kind::Leave).when(|world, who| world.is_in(who, Phase::ClientLive)).skip(2).times(2),
                anybody(Kind::DownFor).always().pick(2),
                anybody(Kind::AnswerLatency).doing("ReadHistory").always().pick(3),
            ],
            window: &[Probe::AnnouncedWhileReading],
            ..HELD
        }),
    },
    Scenario {
        name: "live-before-covered",
        tells: "a session is told that it is live before what was committed ahead of its greeting is in history",
        promises: &[Fresh],
        state: State::Held(Held {
            safeguards: &[Safeguard::Fresh],
            noticed_by: "fresh",
            families: &[Family::Leave, Family::Latency],
            rules: &[
                on(Kind::Leave, C0).when(|world, who| world.is_in(who, Phase::ClientLive) && world.lags()).times(4),
                on(Kind::DownFor, C0).always().pick(1),
                on(Kind::QuestionLatency, R0).doing("RecordPage").skip(2).times(20).pick(4),
            ],
            window: &[Probe::GreetedAhead],
            ..HELD
        }),
    },
    Scenario {
        name: "hole-between-pages",
        tells: "an evicted hub skips a page, or sends one again, and the client applies what does not follow",
        promises: &[Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::ChainedPages],
            noticed_by: "once, content sum",
            families: &[Family::Evict],
            rules: &[on(Kind::EvictAtOutput, H0).doing("Page").skip(3).times(4)],
            window: &[Probe::HubEvictedAtPage],
            ..HELD
        }),
    },
    Scenario {
        name: "row-enters-or-leaves-scope",
        tells: "an update moves a row into or out of a client's scope, and it is never added, or never removed",
        promises: &[Complete, Scoped],
        state: State::Waiting("scopes that select rows; today a scope names whole tables"),
    },
];
