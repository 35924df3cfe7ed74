//! `sometimes!` probes: what a suite of runs must have reached, or it has shown nothing.

macro_rules! probes {
    ($($name:ident: $words:literal,)+) => {
        /// Something that must happen in some run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(usize)]
        #[expect(missing_docs, reason = "the words stand beside each name")]
        pub enum Probe { $($name,)+ }

        impl Probe {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What happened, for people and scripts.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }
        }
    };
}

probes! {
    NodeCrashed: "node crashed",
    NodeDrained: "node restarted in an orderly way",
    StreamDark: "replication stream went dark",
    NodeCrashedWhileRecording: "node crashed while an append was under way",
    NodeCrashedSilently: "node crashed and no peer was told",
    HubEvicted: "hub evicted",
    HubEvictedGreeting: "hub evicted while a session was greeting",
    HubEvictedBackfilling: "hub evicted during a backfill",
    HubEvictedCatchingUp: "hub evicted during a catch-up",
    HubHibernated: "hub hibernated",
    HubWokeByMessage: "hub woken by a message",
    HubWokeByAlarm: "hub woken by its alarm",
    HubWokeByAnnouncement: "hub woken by an announcement",
    HubWokeWithSessions: "hub woken with open sockets",
    HubWokeWithoutAttachment: "hub woken with a socket that has no attachment",
    ReplicatorPaused: "replicator paused beside a successor",
    ReplicatorSuperseded: "append of a superseded replicator refused",
    StaleAnswer: "answer delivered to a later life of its asker",
    QuestionFailed: "question failed before its effect",
    AnswerLost: "answer lost after its effect",
    LateEffect: "question failed and took effect later",
    AppendAnswerLost: "answer of an append lost",
    PieceRecorded: "piece of a large transaction recorded",
    PieceRead: "piece of a large transaction read from history",
    PieceStaged: "piece staged by a replica",
    ConnectionDropped: "database connections dropped",
    PostgresRestarted: "postgres restarted",
    PostgresCrashed: "postgres crashed and forgot confirmations",
    SlotLost: "slot lost",
    EraBegan: "second era began",
    CommitInvisible: "commit decoded before it was visible",
    VisibleOutOfOrder: "commits became visible in another order",
    SnapshotTaken: "snapshot taken",
    SnapshotWithRunning: "snapshot taken while transactions ran",
    SeamNotEmpty: "seam with transactions",
    EraStarting: "snapshot refused because the era was starting",
    BackfillCompleted: "backfill completed",
    Resynced: "client resynced",
    ResyncOtherEra: "resync: other era",
    ResyncSchema: "resync: schema changed",
    ResyncPruned: "resync: pruned",
    ResyncUnknown: "resync: unknown position",
    Pruned: "history pruned",
    SilentAlter: "table altered silently",
    ConnectionCut: "connection cut",
    HalfOpenServer: "connection dark to the server",
    HalfOpenClient: "connection dark to the client",
    Silent: "server gave up a silent socket",
    SlowReader: "client stopped reading",
    ClientCrashed: "client crashed",
    ClientCrashedStaged: "client crashed with something staged",
    StoreLost: "store lost",
    StoreFailed: "store failed",
    ClientLive: "client live",
    ThinLive: "thin client live",
    ThinResumed: "thin client resumed from what it acknowledged",
    Replaced: "session replaced by a newer one",
    StaleGreeting: "greeting found stale",
    Forged: "forged message sent",
    ForgedRefused: "forged message answered with a fault",
    AnnouncementLost: "announcement lost",
    Forgotten: "client asked to be forgotten",
    BytesOnTheWire: "messages travelled as bytes",
    CredentialExpired: "session closed because its credential ran out",
    CredentialExpiredAsleep: "credential ran out while the hub slept",
    Converged: "converged after quiet",
    MidRunQuiet: "converged in the midst of a run",
    Idle: "hubs hibernated after quiet",
}

/// How often each was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probes(Vec<u64>);

impl Default for Probes {
    fn default() -> Self {
        Self(vec![0; Probe::ALL.len()])
    }
}

impl Probes {
    /// It happened.
    pub fn hit(&mut self, probe: Probe) {
        self.0[probe as usize] += 1;
    }

    /// How often it happened.
    #[must_use]
    pub fn count(&self, probe: Probe) -> u64 {
        self.0[probe as usize]
    }

    /// Adds what another run reached.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, n)| *sum += n);
    }

    /// How often each was hit, in their order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    /// What was never reached.
    pub fn unhit(&self) -> impl Iterator<Item = Probe> {
        Probe::ALL.iter().copied().filter(|probe| self.count(*probe) == 0)
    }
}
