//! What the measuring process and its helpers say to each other: one JSON object per line.

use crate::bench::histogram::Histogram;
use serde::{Deserialize, Serialize};

/// To a fleet of clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::bench) enum Command {
    /// Connect this many new clients, and wait until all are live.
    Connect {
        count: usize,
        /// How many may be on their way at once; 0: all.
        at_once: usize,
    },
    /// Cut all connections, as a broken network does.
    Cut,
    /// Connect those that were cut, all at once, and wait until all are live.
    Return,
    /// Read nothing from now on, or read again.
    Deafen(bool),
    /// Wait until each client has seen each number, or none saw any for so long.
    Await { patience_ms: u64 },
    /// What was seen; `committed_us`: when each number's commit returned, by the machine's monotonic clock, 0 for never.
    Report { committed_us: Vec<u64> },
    /// What the first client was told, and the page frames that came, each once.
    Frames,
    /// Have the server forget all clients, and end.
    Forget,
}

/// From a fleet of clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::bench) enum Reply {
    Done,
    Connected(Connected),
    Awaited,
    Report(Box<Seen>),
    Frames(Recorded),
}

/// What came, so that a raw server can send the same.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::bench) struct Recorded {
    /// What the first client was told from its greeting to live.
    pub(in crate::bench) greeting: Vec<String>,
    /// Page frames, each with the count of its numbers.
    pub(in crate::bench) frames: Vec<(String, usize)>,
}

/// How connecting went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::bench) struct Connected {
    /// From the command until the last was live.
    pub(in crate::bench) seconds: f64,
    /// Those that were not live in time.
    pub(in crate::bench) missing: usize,
    /// Per client, from the command to live.
    pub(in crate::bench) took: Histogram,
}

/// What a fleet has seen.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::bench) struct Seen {
    pub(in crate::bench) clients: usize,
    /// Clients that saw each number once, in an unbroken chain.
    pub(in crate::bench) exactly_once: usize,
    pub(in crate::bench) lost: u64,
    pub(in crate::bench) duplicated: u64,
    /// Pages that did not follow what was held.
    pub(in crate::bench) gaps: u64,
    /// Numbers seen, over all clients.
    pub(in crate::bench) deliveries: u64,
    /// From the commit's return to the number seen.
    pub(in crate::bench) latency: Histogram,
    /// When the last number was seen; 0: never.
    pub(in crate::bench) last_us: u64,
    /// Rows of snapshots, per client.
    pub(in crate::bench) rows: Vec<u64>,
    /// The sums of those rows' ids, per client.
    pub(in crate::bench) row_sums: Vec<u64>,
    /// All bytes received.
    pub(in crate::bench) bytes: u64,
    /// All frames received.
    pub(in crate::bench) frames: u64,
    /// How often the system said that there is something to read.
    pub(in crate::bench) reads: u64,
    /// How often a connection ended that should not have.
    pub(in crate::bench) broken: u64,
    /// With what the server closed, or why a connection broke.
    pub(in crate::bench) faults: std::collections::BTreeMap<String, u64>,
}

impl Seen {
    /// Counts another fleet's clients, and what each of them saw, too.
    pub(in crate::bench) fn add_counts(&mut self, other: &Self) {
        self.clients += other.clients;
        self.exactly_once += other.exactly_once;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.gaps += other.gaps;
    }
}

/// How a fleet is made: an argument of its process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::bench) struct Plan {
    /// `HOST:PORT` of the server.
    pub(in crate::bench) address: String,
    /// The clients' names begin with it.
    pub(in crate::bench) name: String,
    /// `None`: all tables.
    pub(in crate::bench) table: Option<String>,
    /// Numbers from `base + 1` to `base + numbers` are watched.
    pub(in crate::bench) base: u64,
    pub(in crate::bench) numbers: usize,
    /// Whether frames are kept for [`Command::Frames`].
    pub(in crate::bench) keep_frames: bool,
    /// The number of the first client, for names and source addresses.
    pub(in crate::bench) first: usize,
}

/// To a raw server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::bench) enum RawCommand {
    /// Whoever greets from now on is told this.
    Greet { texts: Vec<String> },
    /// Send this text to everybody.
    Broadcast { text: String },
}
