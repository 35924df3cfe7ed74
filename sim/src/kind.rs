//! What can be chosen. Numbers are frozen: a seed keeps its meaning when kinds are added.

use crate::engine::subject;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $words:literal;)+) => {
        /// What is chosen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Kind { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name, as trace files have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            const fn template(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }

            const MOST: usize = {
                let mut most = 0;
                $(if $number > most { most = $number; })+
                most
            };
        }
    };
}

kinds! {
    /// Which families of faults a seed has.
    Family = 1, "families";
    /// The workload's draws.
    Work = 2, "work";
    /// Small differences between latencies.
    Jitter = 3, "jitter";
    /// How long a question travels to the database.
    QuestionLatency = 4, "delay of bucket {} on the way to the database: a question";
    /// How long an answer travels back.
    AnswerLatency = 5, "delay of bucket {} on the way from the database: an answer";
    /// Whether a question fails, and when.
    QuestionFate = 6, "fate {} (1: fails before its effect, 2: its answer is lost, 3: fails at once and takes effect later) of a question";
    /// How much later than its failure a question takes effect.
    LateEffect = 7, "later by bucket {}: the effect of a failed question";
    /// How long a frame travels.
    FrameLatency = 8, "delay of bucket {} on the network: a frame to or from";
    /// Crash before carrying out an output.
    CrashAtOutput = 9, "crash between two outputs:";
    /// Crash at any time.
    CrashAnytime = 10, "crash:";
    /// How long something stays down.
    DownFor = 11, "down for bucket {}:";
    /// Whether a crash is noticed by the peers' sockets.
    SilentCrash = 12, "nobody is told of the end of";
    /// Cut a connection.
    Cut = 13, "cut (1: at once, 2: what is under way still arrives) with pick {} the connection of";
    /// A direction of a connection goes dark.
    HalfOpen = 14, "half-open (1: to the server, 2: to the client, 3: both) with pick {} the connection of";
    /// Evict a hub between two outputs.
    EvictAtOutput = 15, "evict between two outputs:";
    /// Evict a hub at any time.
    EvictAnytime = 16, "evict:";
    /// Pause a replicator, and start its successor.
    Pause = 17, "pause for bucket {}, beside a successor:";
    /// Drop the connections between a replicator and Postgres.
    DropConnection = 18, "drop the database connections of";
    /// Restart Postgres.
    RestartPostgres = 19, "restart";
    /// Drop or invalidate the slot.
    LoseSlot = 20, "lose the slot (1: dropped, 2: invalidated) with pick {} of";
    /// An announcement that is lost on its way to a hub.
    LoseAnnouncement = 21, "lose an announcement to";
    /// How long an announcement travels.
    AnnouncementLatency = 22, "delay of bucket {}: an announcement to";
    /// How long a store takes.
    StoreLatency = 24, "delay of bucket {} in the store of";
    /// A store that refuses for a moment.
    StoreFails = 25, "the store fails (1: before, 2: after its effect) with pick {} at";
    /// A store that is gone after a crash.
    LoseStore = 26, "the platform evicts the store of";
    /// A commit that waits for a standby.
    HeldInvisible = 27, "commit in the WAL, not visible for bucket {}: a transaction of";
    /// How long a dial takes.
    DialLatency = 28, "delay of bucket {}: a dial of";
    /// A dial that fails.
    DialFails = 29, "a dial fails at";
    /// A client that stops reading for a while.
    SlowReader = 30, "reads nothing for bucket {}:";
    /// A forged or garbage message.
    Forge = 31, "forged message {} from";
    /// An alter that the stream does not tell.
    SilentAlter = 32, "a silent change (1: default, 2: rewrite) of a table with pick {} by";
    /// How much of the stream one read gets.
    ReadCut = 33, "a read of the stream is cut to {} items by";
    /// Whether a keepalive is sent when there is nothing else to send.
    Keepalive = 34, "a keepalive (1: early, 2: held back) with pick {} from";
    /// How long a wake-up takes to come, after an eviction that was no hibernation.
    WakeLatency = 35, "wakes by itself after bucket {}:";
    /// An alarm that comes late or twice.
    OddAlarm = 36, "alarm (1: late, 2: twice) with pick {} at";
    /// How long the rows of a snapshot take to copy.
    CopyLatency = 37, "delay of bucket {} between snapshot and fence of";
    /// Whether a waiting client asks to be forgotten.
    Leave = 38, "stops (1: and returns, 2: and is forgotten) with pick {}:";
    /// Writes outside published tables.
    ForeignWal = 39, "unpublished tables change with pick {} in";
    /// Frames on a socket that its client has closed.
    LateFrame = 40, "frames still arrive on the closed socket of";
    /// A replication connection that dies without a word.
    DarkStream = 41, "the replication stream goes dark:";
    /// An orderly restart: clients are told, the lease is released.
    Drain = 42, "orderly restart:";
    /// Answers that were under way when their asker ended take longer.
    StaleAnswers = 43, "delay of bucket {}: answers under way to an ended life of";
    /// The walsender lags.
    StreamLag = 44, "the replication stream lags by bucket {} of";
    /// When the credential of a new connection runs out.
    CredentialEnds = 45, "a credential that runs out after bucket {} for";
    /// How long the application takes to provide another credential.
    CredentialLatency = 46, "another credential comes after bucket {} to";
    /// Whether and when faults rest in the midst of a run.
    Window = 47, "window";
    /// Somebody moves the slot.
    MoveSlot = 48, "the slot ends up at the end of the WAL (1: it was moved, 2: dropped and created again) with pick {} in";
    /// A host's clock jumps ahead, as that of a machine that was suspended does.
    ClockJump = 49, "the clock jumps ahead by bucket {}:";
    /// The disk of the database is full for a while.
    DiskFull = 50, "the disk is full for bucket {} at";
    /// A copy of the database is kept.
    CopyDatabase = 61, "a copy is kept of";
    /// The database becomes its copy again.
    RestoreDatabase = 62, "the copy comes back, and the server is started again, in place of";
    /// An application gives its client another credential.
    ProvideCredential = 63, "its application provides another credential to";
    /// What a server says arrives as what it cannot have meant.
    Garble = 64, "garbled in way {}: what is said to";
    /// A rewrite that the stream does not tell, and no column either.
    SilentRewrite = 65, "a table with pick {} is rewritten, with the same columns, by";
    /// The servers are not stopped while the database becomes its copy.
    ServersGoOn = 66, "the servers go on (2: and are not told of the end of their streams) with pick {}, while the copy comes back in place of";
    /// A table that is replaced without a word in the stream.
    ReplaceTable = 68, "a table is replaced in way {} (1, 2: created again, 3, 4: given another key, 5 to 8: out of the publication, or in again) by";
    /// A copy of a snapshot that is gone when it is read.
    LoseSpool = 69, "the copy of a snapshot is gone from the disk of";
    /// A transaction that ends whoever records it, each time.
    PoisonTransaction = 70, "a transaction ends the process that records it, from now on:";
    /// More messages than a client has room for.
    Flood = 71, "more messages than there is room for, to";
    /// The end of a transaction comes in a read of its own, after all of its changes.
    CommitApart = 73, "a commit is read apart from its transaction's changes by";
    /// The registry takes nothing that a hub writes to it, for a while.
    RefuseRegistry = 74, "the registry refuses for bucket {} what is written to it by";
    /// A store on a disk that is slow for some of its transactions.
    SlowStore = 75, "every transaction takes long for bucket {} in the store of";
    /// A welcome that names another place than the client's.
    GarbleWelcome = 76, "a welcome names another place to";
    /// A server that says of itself that another session has taken over.
    GarbleReplaced = 77, "another session is said to have taken the place of";
    /// Suspend a server with its hubs, and start its successor.
    Suspend = 78, "suspend with its hubs for bucket {}, beside a successor:";
    /// A frame that the hub's host had queued when the hub closed the session.
    LateWord = 79, "a word reaches the hub after that has closed the session of";
    /// How long such a word stands in the queue.
    LateWordLatency = 80, "delay of bucket {} in the queue of a hub: a word of";
    /// No choice, but a moment: a dial reaches the server.
    Dialled = 51, "a dial reaches the server from";
    /// A moment: a greeting reaches the hub.
    Greeted = 52, "a greeting reaches the hub from";
    /// A moment: the server hears of the end of a connection.
    Closed = 53, "the server hears the end of a connection of";
    /// A moment: a client, or a node, starts.
    Started = 54, "the start of";
    /// A moment: a client's store has carried something out.
    Stored = 55, "something is carried out by the store of";
    /// A moment: a hub's machine is gone, asleep or dropped.
    Slept = 56, "the memory is gone of";
    /// A moment: a hub's machine is built again.
    Woke = 57, "the waking of";
    /// A moment: an announcement reaches a hub.
    Announced = 58, "an announcement reaches";
    /// A moment: a page is appended to history.
    Recorded = 59, "a page is appended by";
    /// A moment: a lease is asked for.
    Leased = 60, "the lease is asked for by";
}

impl subject::Kind for Kind {
    const COUNT: usize = Self::MOST + 1;

    fn number(self) -> u16 {
        self as u16
    }

    fn name(self) -> &'static str {
        Self::name(self)
    }

    fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }

    fn words(self, pick: u64) -> String {
        self.template().replace("{}", &pick.to_string())
    }

    fn is_delay(self) -> bool {
        matches!(
            self,
            Self::QuestionLatency
                | Self::AnswerLatency
                | Self::FrameLatency
                | Self::AnnouncementLatency
                | Self::StoreLatency
                | Self::DialLatency
                | Self::CopyLatency
                | Self::WakeLatency
                | Self::StreamLag
                | Self::CredentialLatency
                | Self::LateWordLatency
        )
    }
}
