//! D. Sessions, hibernation, coming back.

use super::Promised::{Complete, Converges, Durable, Fresh, Once, Scoped};
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
        name: "zombie-socket",
        tells: "a client connects again before its old socket is known to be dead, and the late close harms the new session",
        promises: &[Converges, Durable],
        state: State::Held(Held {
            noticed_by: "registered, sessions, converges",
            families: &[Family::Cuts, Family::Latency],
            rules: &[
                on(Kind::Cut, C0)
                    .when(|world, who| world.commits() >= 3 && world.is_in(who, Phase::ClientLive))
                    .pick(2),
                on(Kind::FrameLatency, C0).doing("Closed").when(|world, _| world.commits() >= 3).until(
                    Kind::Greeted,
                    C0,
                    1,
                ),
                on(Kind::QuestionLatency, H0).doing("TakeEpoch").when(|world, _| world.commits() >= 3).times(3).pick(4),
            ],
            window: &[Probe::LateClose],
            ..HELD
        }),
    },
    Scenario {
        name: "two-first-writes",
        tells: "two connections of a brand-new client write its first row in the registry at once",
        promises: &[Durable],
        state: State::Held(Held {
            noticed_by: "epoch, registered",
            families: &[Family::Cuts, Family::Latency],
            rules: &[
                on(Kind::QuestionLatency, H0).doing("TakeEpoch").times(2).pick(4),
                on(Kind::Cut, C0).when(|world, who| world.is_in(who, Phase::ClientGreeting)),
            ],
            window: &[Probe::TwoFirstWrites],
            ..HELD
        }),
    },
    Scenario {
        name: "evicted-between-write-and-send",
        tells: "the host evicts the hub between any two of its outputs",
        promises: &[Durable, Complete],
        state: State::Held(Held {
            noticed_by: "attachment, position, once",
            families: &[Family::Evict],
            rules: &[
                on(Kind::EvictAtOutput, H0).doing("Attach").skip(1).times(2),
                on(Kind::EvictAtOutput, H0).doing("SavePositions").times(2),
                on(Kind::EvictAtOutput, H0).doing("Live"),
                on(Kind::EvictAtOutput, H0).doing("Chunk"),
            ],
            window: &[Probe::HubEvictedAtAttach, Probe::HubWokeWithSessions],
            ..HELD
        }),
    },
    Scenario {
        name: "change-while-hibernated",
        tells: "history grows while the hub sleeps, and on waking it trusts what it knew",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges, chained",
            families: &[Family::Hibernate, Family::Idle, Family::LostAnnouncements],
            rules: &[anybody(Kind::LoseAnnouncement).when(|world, who| world.is_asleep(who)).always()],
            window: &[Probe::HubHibernated, Probe::GrewWhileAsleep],
            ..HELD
        }),
    },
    Scenario {
        name: "wake-storm",
        tells: "a message, an alarm and an announcement wake the same hub at once: two hubs, or none",
        promises: &[Durable],
        state: State::Held(Held {
            noticed_by: "invariants of the hub, sessions",
            families: &[Family::Hibernate, Family::Idle],
            script: Script { transactions: 12, gap_ms: 2_500, ..SCRIPT },
            rules: &[anybody(Kind::OddAlarm).always().pick(2)],
            window: &[Probe::WokenTwice],
            ..HELD
        }),
    },
    Scenario {
        name: "in-memory-state-lost",
        tells: "a waiter or a queue existed only in memory, and an eviction dropped it",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges",
            families: &[Family::Evict, Family::Latency],
            rules: &[
                on(Kind::CopyLatency, H0).times(3).pick(3),
                on(Kind::EvictAnytime, H0).when(|world, who| world.sessions_of(who).backfill > 0).times(3),
            ],
            window: &[Probe::HubEvictedBackfilling],
            ..HELD
        }),
    },
    Scenario {
        name: "registration-expires-in-use",
        tells: "the time to live of a registration passes while its client is connected and silent",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "registered",
            families: &[Family::Retention],
            window: &[Probe::Renewed],
            ..HELD
        }),
    },
    Scenario {
        name: "pause-resume-pause",
        tells: "a quick stop and start within one round trip leaves two loops, or none",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges, sessions",
            families: &[Family::Leave, Family::Latency],
            rules: &[
                on(Kind::FrameLatency, C0).doing("Hello").times(3).pick(3),
                on(Kind::Leave, C0).when(|world, who| world.is_in(who, Phase::ClientGreeting)).times(3),
                on(Kind::DownFor, C0).always().pick(1),
            ],
            window: &[Probe::StartedAgainAtOnce],
            ..HELD
        }),
    },
    Scenario {
        name: "token-expires-in-standby",
        tells: "the credential runs out while the hub sleeps, and the session goes on",
        promises: &[Scoped, Converges],
        state: State::Held(Held {
            safeguards: &[Safeguard::CredentialExpires],
            noticed_by: "credential, expired",
            families: &[Family::Hibernate, Family::Idle, Family::Credentials],
            script: Script { transactions: 12, gap_ms: 2_500, ..SCRIPT },
            rules: &[anybody(Kind::CredentialEnds).times(6).pick(3)],
            window: &[Probe::CredentialExpiredAsleep],
            entered_percent: 80,
            ..HELD
        }),
    },
    Scenario {
        name: "greetings-overtake",
        tells: "two greetings of one client arrive in the wrong order, and the only living socket is fenced",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges",
            families: &[Family::Cuts, Family::Latency],
            rules: &[
                on(Kind::QuestionLatency, H0).doing("TakeEpoch").when(|world, _| world.commits() >= 3).pick(4),
                on(Kind::Cut, C0).when(|world, who| world.commits() >= 3 && world.is_in(who, Phase::ClientGreeting)),
                on(Kind::Cut, C0).when(|world, who| world.commits() >= 3 && world.is_in(who, Phase::ClientLive)),
            ],
            window: &[Probe::GreetingOvertaken],
            entered_percent: 90,
            ..HELD
        }),
    },
    Scenario {
        name: "epoch-restarts",
        tells: "an epoch counted in a row starts again once the row is gone, and a late close deletes a newer registration",
        promises: &[Converges],
        state: State::Held(Held {
            safeguards: &[Safeguard::EpochFence],
            noticed_by: "registry",
            families: &[Family::Leave, Family::Latency],
            rules: &[
                on(Kind::Leave, C0).when(|world, who| world.is_in(who, Phase::ClientLive)).skip(2).pick(2),
                on(Kind::DownFor, C0).pick(1),
                on(Kind::QuestionLatency, H0).doing("Unregister").pick(4),
            ],
            window: &[Probe::LateUnregister],
            ..HELD
        }),
    },
    Scenario {
        name: "live-before-fresh-after-wake",
        tells: "a session that was not yet told `live` is told so by the woken hub without a new mark",
        promises: &[Fresh],
        state: State::Held(Held {
            safeguards: &[Safeguard::Fresh],
            noticed_by: "fresh",
            families: &[Family::Leave, Family::Latency, Family::Evict],
            rules: &[
                on(Kind::Leave, C0).when(|world, who| world.is_in(who, Phase::ClientLive) && world.lags()).times(4),
                on(Kind::DownFor, C0).always().pick(1),
                on(Kind::QuestionLatency, R0).doing("RecordPage").skip(2).times(20).pick(4),
                on(Kind::EvictAnytime, H0).when(|world, who| world.has_untold(who)).times(2),
            ],
            window: &[Probe::HubEvictedUntold],
            entered_percent: 60,
            ..HELD
        }),
    },
    Scenario {
        name: "ack-after-wake",
        tells: "an honest acknowledgement reaches a woken hub that has sent nothing yet, and is taken for a fault",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "honest: no honest client is told that it broke the protocol",
            families: &[Family::Evict, Family::Latency],
            rules: &[
                on(Kind::FrameLatency, C0).doing("Ack").always().pick(3),
                on(Kind::EvictAnytime, H0).when(|world, _| world.ack_under_way(C0)).always(),
                on(Kind::WakeLatency, H0).always().pick(3),
                on(Kind::QuestionLatency, H0).doing("ReadHead").always().pick(3),
            ],
            window: &[Probe::EarlyAck],
            ..HELD
        }),
    },
    Scenario {
        name: "retry-of-a-piece",
        tells: "the answer to the append of a piece is lost, and its retry appends it twice",
        promises: &[Once],
        state: State::Held(Held {
            safeguards: &[Safeguard::CompareAndSet],
            noticed_by: "history",
            families: &[Family::Questions],
            script: Script { sizes: &[12, 3], ..SCRIPT },
            rules: &[on(Kind::QuestionFate, R0)
                .doing("RecordPage")
                .when(|world, _| world.is_mid_transaction())
                .times(2)
                .pick(2)],
            window: &[Probe::PieceAnswerLost],
            ..HELD
        }),
    },
    Scenario {
        name: "answer-to-an-earlier-life",
        tells: "the answer to a question of an evicted hub reaches its successor",
        promises: &[Durable, Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::AnswerIncarnation],
            noticed_by: "invariants, once, registry",
            families: &[Family::NodeCrash, Family::Latency],
            script: Script { transactions: 60, ..SCRIPT },
            rules: &[
                on(Kind::AnswerLatency, R0).doing("RecordPage").always().pick(4),
                on(Kind::CrashAnytime, Entity::Node(0)).when(|world, _| world.answers_append(0)).skip(1).times(2),
            ],
            window: &[Probe::StaleAnswer],
            ..HELD
        }),
    },
    Scenario {
        name: "cloned-client",
        tells: "two living stores share one client id and fence each other for ever",
        promises: &[Converges, Complete],
        state: State::Held(Held {
            safeguards: &[Safeguard::OwnId],
            noticed_by: "converges",
            families: &[Family::Cloned, Family::Latency],
            starts_ms: &[300, 600],
            window: &[Probe::SetApart, Probe::Replaced],
            ..HELD
        }),
    },
    Scenario {
        name: "clock-jumps",
        tells: "the host's clock jumps, or the machine was suspended for hours",
        promises: &[Converges],
        state: State::Held(Held {
            noticed_by: "converges, registered, honest",
            families: &[Family::Jumps, Family::Hibernate],
            script: Script { transactions: 60, gap_ms: 120, ..SCRIPT },
            rules: &[
                on(Kind::ClockJump, Entity::Client(0)).when(|world, who| world.is_in(who, Phase::ClientLive)).pick(3),
                on(Kind::ClockJump, Entity::Node(0))
                    .when(|world, _| world.is_in(Entity::Client(1), Phase::ClientLive))
                    .times(2)
                    .pick(4),
            ],
            window: &[Probe::ClockJumped, Probe::ClientLive],
            ..HELD
        }),
    },
    Scenario {
        name: "drain-marks-healthy-as-failed",
        tells: "an orderly end is taken for a failure, and healthy state is thrown away",
        promises: &[Complete],
        state: State::Held(Held {
            noticed_by: "the window itself: no era begins and nobody gets everything again",
            families: &[Family::Drain],
            rules: &[on(Kind::Drain, Entity::Node(0)).when(|world, _| world.commits() >= 8)],
            window: &[Probe::NodeDrained],
            never: &[Probe::EraBegan, Probe::Resynced],
            ..HELD
        }),
    },
];
