//! Which fault fell into which phase: every pair that is possible must be reached, or the suite has shown nothing about it.

use crate::chooser::Kind;
use crate::engine::subject;
use std::fmt;

macro_rules! phases {
    ($($(#[doc = $doc:literal])+ $name:ident of $class:ident, $words:literal;)+) => {
        /// What the concerned were doing when a fault came.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Phase { $($(#[doc = $doc])+ $name,)+ }

        impl Phase {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The phase in words.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }

            /// Whose phase it is.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }
        }
    };
}

/// Who can be in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A hub's machine.
    Hub,
    /// A client's machine.
    Client,
    /// A replicator's machine.
    Replication,
    /// The database with its applications.
    Database,
}

phases! {
    /// The hub's machine is not in memory.
    HubAsleep of Hub, "hub asleep";
    /// It has no sessions.
    HubEmpty of Hub, "hub without sessions";
    /// A session is greeting.
    HubGreeting of Hub, "session greeting";
    /// A session backfills.
    HubBackfill of Hub, "session in backfill";
    /// A session catches up.
    HubCatchUp of Hub, "session in catch-up";
    /// A session is live.
    HubLive of Hub, "session live";
    /// The client's process is not running.
    ClientDown of Client, "client down";
    /// It waits before it dials.
    ClientOffline of Client, "client offline";
    /// It dials.
    ClientConnecting of Client, "client connecting";
    /// It has greeted.
    ClientGreeting of Client, "client greeting";
    /// It stages a backfill.
    ClientBackfill of Client, "client in backfill";
    /// It applies what it missed.
    ClientCatchUp of Client, "client in catch-up";
    /// It is live.
    ClientLive of Client, "client live";
    /// The replicator's process is not running.
    ReplicationDown of Replication, "replicator down";
    /// Another holds the lease, or the last try failed.
    ReplicationStandby of Replication, "replicator standing by";
    /// It looks at source and history.
    ReplicationPreparing of Replication, "replicator preparing";
    /// It streams, and nothing is being recorded.
    ReplicationStreaming of Replication, "replicator streaming";
    /// An append is under way.
    ReplicationRecording of Replication, "replicator recording";
    /// It stops in an orderly way.
    ReplicationStopping of Replication, "replicator stopping";
    /// No transaction is open, and every commit is visible.
    DatabaseAtRest of Database, "database at rest";
    /// Transactions are open.
    DatabaseWriting of Database, "transactions open";
    /// A commit is in the WAL and not visible.
    DatabaseInvisible of Database, "a commit not yet visible";
}

/// Pairs that cannot be, and why.
const NEVER: &[(&[Kind], &[Phase], &str)] = &[
    (
        &[Kind::QuestionLatency, Kind::QuestionFate, Kind::CrashAtOutput, Kind::EvictAtOutput],
        &[Phase::HubAsleep, Phase::ReplicationDown, Phase::ClientDown],
        "only a machine that is there asks and puts out",
    ),
    (&[Kind::CrashAnytime], &[Phase::ClientDown], "what is down does not crash"),
    (&[Kind::ProvideCredential], &[Phase::ClientDown], "an application that is down provides nothing"),
    (
        &[Kind::DialLatency, Kind::DialFails],
        &[
            Phase::ClientDown,
            Phase::ClientOffline,
            Phase::ClientGreeting,
            Phase::ClientBackfill,
            Phase::ClientCatchUp,
            Phase::ClientLive,
        ],
        "a client that dials is connecting",
    ),
    (
        &[Kind::StoreLatency, Kind::StoreFails, Kind::SlowStore],
        &[Phase::ClientDown, Phase::ClientConnecting, Phase::ClientGreeting],
        "a store is asked only for what a session brought, and its answer is awaited before the next dial",
    ),
    (
        &[Kind::ReadCut],
        &[Phase::ReplicationDown, Phase::ReplicationStandby, Phase::ReplicationPreparing],
        "only an open stream is read",
    ),
];

/// Whom a fault concerns. Nobody, for choices that are no faults and for those that only say how a fault goes on.
#[must_use]
pub const fn concerns(kind: Kind) -> &'static [Class] {
    match kind {
        Kind::Family
        | Kind::Work
        | Kind::Jitter
        | Kind::Window
        | Kind::LateEffect
        | Kind::LoseSpool
        | Kind::PoisonTransaction
        | Kind::Flood
        | Kind::GarbleWelcome
        | Kind::GarbleReplaced
        | Kind::LateWord
        | Kind::LateWordLatency
        | Kind::RefuseRegistry
        | Kind::CommitApart
        | Kind::DownFor
        | Kind::SilentCrash
        | Kind::LoseStore
        | Kind::StaleAnswers
        | Kind::WakeLatency
        | Kind::OddAlarm
        | Kind::StreamLag
        | Kind::HeldInvisible
        | Kind::Forge
        | Kind::LateFrame
        | Kind::CredentialEnds
        | Kind::CredentialLatency
        | Kind::CopyDatabase
        | Kind::Garble
        | Kind::Dialled
        | Kind::Greeted
        | Kind::Closed
        | Kind::Started
        | Kind::Stored
        | Kind::Slept
        | Kind::Woke
        | Kind::Announced
        | Kind::Recorded
        | Kind::Leased => &[],
        Kind::QuestionLatency | Kind::AnswerLatency | Kind::QuestionFate | Kind::DropConnection => {
            &[Class::Hub, Class::Replication]
        }
        Kind::EvictAtOutput
        | Kind::EvictAnytime
        | Kind::LoseAnnouncement
        | Kind::AnnouncementLatency
        | Kind::CopyLatency => &[Class::Hub],
        Kind::Suspend => &[Class::Hub, Class::Replication],
        Kind::CrashAtOutput | Kind::CrashAnytime => &[Class::Hub, Class::Replication, Class::Client],
        Kind::Pause | Kind::DarkStream | Kind::Drain | Kind::ReadCut => &[Class::Replication],
        Kind::FrameLatency
        | Kind::Cut
        | Kind::HalfOpen
        | Kind::StoreLatency
        | Kind::StoreFails
        | Kind::SlowStore
        | Kind::DialLatency
        | Kind::DialFails
        | Kind::SlowReader
        | Kind::Leave
        | Kind::ProvideCredential => &[Class::Client],
        Kind::RestartPostgres
        | Kind::LoseSlot
        | Kind::MoveSlot
        | Kind::RestoreDatabase
        | Kind::SilentAlter
        | Kind::SilentRewrite
        | Kind::ReplaceTable
        | Kind::Keepalive
        | Kind::ForeignWal => &[Class::Database],
        Kind::DiskFull | Kind::ServersGoOn => &[Class::Hub, Class::Replication, Class::Database],
        Kind::ClockJump => &[Class::Hub, Class::Replication, Class::Client],
    }
}

const PAIRS: usize = <Kind as subject::Kind>::COUNT * Phase::ALL.len();
const WORDS: usize = PAIRS.div_ceil(64);

/// The pairs that one run reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached([u64; WORDS]);

impl Default for Reached {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Reached {
    /// A fault fell into a phase.
    pub const fn note(&mut self, kind: Kind, phase: Phase) {
        let pair = pair(kind, phase);
        self.0[pair / 64] |= 1 << (pair % 64);
    }

    /// The numbers of the pairs that were reached.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..PAIRS).filter(|pair| self.has(*pair))
    }

    /// What one or the other has reached.
    pub fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(all, more)| *all |= more);
    }

    const fn has(&self, pair: usize) -> bool {
        self.0[pair / 64] & (1 << (pair % 64)) != 0
    }
}

const fn pair(kind: Kind, phase: Phase) -> usize {
    kind as usize * Phase::ALL.len() + phase as usize
}

/// In how many runs of a suite each pair was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    runs: u64,
    counts: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { runs: 0, counts: vec![0; PAIRS] }
    }
}

/// One pair, and how often it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The fault.
    pub kind: Kind,
    /// The phase into which it fell.
    pub phase: Phase,
    /// In how many runs.
    pub runs: u64,
}

impl Coverage {
    /// Adds a run.
    pub fn add(&mut self, reached: &Reached) {
        self.runs += 1;
        for (pair, count) in self.counts.iter_mut().enumerate() {
            *count += u64::from(reached.has(pair));
        }
    }

    /// How many runs there were.
    #[must_use]
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// All pairs that are possible, in the order of the kinds.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        Kind::ALL.iter().flat_map(move |&kind| {
            let phases = Phase::ALL.iter().copied().filter(move |phase| is_possible(kind, *phase));
            phases.map(move |phase| Pair { kind, phase, runs: self.counts[pair(kind, phase)] })
        })
    }
}

fn is_possible(kind: Kind, phase: Phase) -> bool {
    let never = NEVER.iter().any(|(kinds, phases, _)| kinds.contains(&kind) && phases.contains(&phase));
    concerns(kind).contains(&phase.class()) && !never
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.kind.name(), self.phase.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_once_a_pair() {
        let mut reached = Reached::default();
        reached.note(Kind::Cut, Phase::ClientLive);
        reached.note(Kind::Cut, Phase::ClientLive);
        let mut coverage = Coverage::default();
        coverage.add(&reached);
        coverage.add(&Reached::default());
        let hit: Vec<_> = coverage.pairs().filter(|pair| pair.runs > 0).collect();
        assert_eq!(hit, [Pair { kind: Kind::Cut, phase: Phase::ClientLive, runs: 1 }]);
        assert_eq!(coverage.runs(), 2);
    }

    #[test]
    fn what_cannot_be_is_not_asked_for() {
        assert!(
            !is_possible(Kind::DialFails, Phase::ClientLive) && is_possible(Kind::DialFails, Phase::ClientConnecting)
        );
        assert!(!is_possible(Kind::Jitter, Phase::ClientLive) && !is_possible(Kind::Cut, Phase::HubLive));
        assert!(NEVER.iter().all(|(kinds, phases, why)| !kinds.is_empty() && !phases.is_empty() && !why.is_empty()));
    }
}
