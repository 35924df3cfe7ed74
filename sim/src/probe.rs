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
    SetApart: "instance that was replaced given an id of its own",
    Forged: "forged message sent",
    ForgedRefused: "forged message answered with a fault",
    AnnouncementLost: "announcement lost",
    Forgotten: "client asked to be forgotten",
    BytesOnTheWire: "messages travelled as bytes",
    CredentialExpired: "session closed because its credential ran out",
    CredentialExpiredAsleep: "credential ran out while the hub slept",
    CrashedBetweenPieces: "node crashed between two pieces of a transaction",
    CrashedUnrecorded: "node crashed before a committed transaction was in history",
    Interleaved: "transaction committed while an older one was open",
    LongTransaction: "transaction outlasted five that began later",
    SeamPastXmax: "seam in which an older transaction follows the first beyond the snapshot",
    SnapshotBeforeVisible: "snapshot taken while a commit in history was not visible",
    SnapshotAheadOfHistory: "snapshot whose fence lay beyond history",
    GreetedAhead: "client greeted while a visible commit was not in history",
    GreetedInside: "client greeted with a place inside a transaction",
    PieceAnswerLost: "answer of the append of a piece lost",
    PageExactlyFull: "transaction recorded that fills its pages exactly",
    HubEvictedAtPage: "hub evicted instead of sending a page",
    HubEvictedUntold: "hub evicted before a live session was told so",
    AckFromOldSocket: "acknowledgement came on an older socket of its client",
    LateClose: "old socket closed after its client had connected again",
    CutBeforeAck: "connection cut between storing and acknowledging",
    AppendFailed: "append failed before its effect",
    Replayed: "stream sent again what history has",
    IdleSaved: "covered saved without a transaction",
    SaveCoveredFailed: "saving covered failed",
    DroppedHeldBack: "database connections dropped while the replicator held the source back",
    Truncated: "table truncated among other changes",
    LeftUnchanged: "update that left the large column out",
    KeyMoved: "key changed",
    KeyMovedBetweenChunks: "key changed between two chunks of a backfill",
    XidWrapped: "transaction ids wrapped while sessions were open",
    CommitWhileCopying: "transaction committed while a snapshot was copied",
    AlterBlocked: "alteration waited for a snapshot that was copied",
    SnapshotLost: "snapshot lost its connection",
    Storm: "six sessions greeting or backfilling at once",
    AnnouncedWhileReading: "announcement came while history was read",
    LatePage: "read of history ended after a resync",
    PositionLate: "older position stored late",
    WindowFull: "window of a session full",
    HubEvictedAtAttach: "hub evicted instead of attaching",
    TwoFirstWrites: "two greetings of a client without registration at once",
    GrewWhileAsleep: "history grew while a hub slept",
    WokenTwice: "hub woken again as it woke",
    Renewed: "registrations renewed",
    StartedAgainAtOnce: "client started again beside its open socket",
    GreetingOvertaken: "greeting came after a later one of its client",
    LateUnregister: "removal of an older registration came late",
    EarlyAck: "acknowledgement came to a hub that had not read the head",
    ReadPruned: "read of history answered as pruned",
    GreetedOldSchema: "client greeted with an older schema",
    ClientCrashedStored: "client crashed between storing and the answer",
    ClockJumped: "clock of a host jumped ahead",
    ClockJumpedAsleep: "clock jumped ahead while a hub slept",
    SlotOutdated: "slot made while a table changed, which its decoder does not know",
    SlotMoved: "slot moved",
    SlotMovedOver: "slot moved over what was not in history",
    HeldUntil: "held until a moment, and let go then",
    Restored: "database restored from a copy",
    RestoredLost: "restoring lost a commit that clients show",
    RestoredRegrown: "restored database grew past a lost commit that a client shows",
    RestoredUnder: "database restored under servers that went on",
    Estranged: "server met its database as it was earlier, and began anew",
    EstrangedSent: "page of what was lost sent by a server that went on",
    CredentialRenewed: "credential renewed on an open connection",
    CredentialRenewedAsleep: "credential renewed while the hub slept",
    CredentialRenewedToEarlier: "credential renewed to an earlier end",
    SilentRewrite: "table rewritten silently, with the same columns",
    SpoolLost: "copy of a snapshot gone while it was sent",
    PoisonedHalt: "replicator halted by a transaction that ended its process again and again",
    PoisonMended: "transaction recorded that had halted a replicator",
    CommitApart: "commit read apart from its transaction's changes",
    Flooded: "server sent more messages than a client has room for",
    RegistryRefused: "registry refused a place, a renewal or a removal for a while",
    RanOutInUse: "registration ran out in use, and was entered again",
    StandbyFollowed: "hubs told by a process that stands by what another recorded",
    ServerSuspended: "server suspended with its hubs, beside a successor",
    StoreSlow: "store slow for some of its transactions",
    WelcomeGarbled: "welcome named another place than the client's",
    ReplacedGarbled: "client told in vain that another had taken its place",
    TableRecreated: "table created again",
    TableRekeyed: "table given another key",
    TableRekeyedBack: "table given the key that it had before",
    TableTakenOut: "table taken out of the publication",
    TablePutBack: "table put back into the publication",
    TruncatedTogether: "two tables truncated at once",
    FrameOnClosedSocket: "frame arrived on a socket that its client had closed",
    WordAfterClose: "hub heard of a session that it had closed",
    Garbled: "server said what does not follow",
    GarbledPiece: "server said a piece that does not follow",
    DiskFilled: "disk of the database full",
    DiskFullAtAppend: "append of a page met a full disk",
    DiskFullAtPiece: "append of a later piece met a full disk",
    DiskFullAtLease: "lease not renewed because of a full disk",
    DiskFullAtPreparing: "replicator that prepares met a full disk",
    DiskFullAtGreeting: "greeting met a full disk",
    DiskFullAtPositions: "storing places met a full disk",
    DiskFullAtRenewal: "renewal of registrations met a full disk",
    DiskFullAtSnapshot: "snapshot met a full disk",
    Converged: "converged after quiet",
    MidRunQuiet: "converged in the midst of a run",
    CutByBytes: "transaction cut where a page held no more bytes",
    HugeTransaction: "transaction recorded that is larger than all that a hub keeps",
    LargerThanPage: "change recorded that is larger than a page",
    WindowFullOfBytes: "window of a session full of bytes before it was full of pages",
    Idle: "hubs hibernated after quiet",
    Prompt: "commits shown and a client live again at rest, in time",
}

/// What only scenarios come to: these situations are too large, or too rare, for worlds of size S that nobody steers.
const STEERED: &[Probe] = &[Probe::LongTransaction, Probe::SaveCoveredFailed, Probe::Storm, Probe::EstrangedSent];

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

    /// What was never reached, of what worlds come to that nobody steers.
    pub fn unhit(&self) -> impl Iterator<Item = Probe> {
        Probe::ALL.iter().copied().filter(|probe| self.count(*probe) == 0 && !STEERED.contains(probe))
    }
}
