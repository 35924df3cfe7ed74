//! What a seed decides before its run begins: how large it is, which families of faults it has, how its machines are set.

use crate::chooser::{Chooser, Kind};
use crate::entity::Entity;
use crate::oracle::Oracles;
use crate::scenario::{Held, Scenario};
use dormouse_core::change::Scope;
use dormouse_core::client::{self, Mode};
use dormouse_core::position::Lsn;
use dormouse_core::safeguard::Safeguards;
use dormouse_core::session::ClientId;
use dormouse_core::wire::Format;
use dormouse_core::xid::Xid;
use dormouse_core::{hub, replication};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// How large a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 2 clients, 16 transactions.
    S,
    /// 8 clients, 200 transactions.
    M,
    /// 100 clients, 2,000 transactions.
    L,
}

impl Size {
    /// How many honest clients there are.
    #[must_use]
    pub const fn clients(self) -> u8 {
        match self {
            Self::S => 2,
            Self::M => 8,
            Self::L => 100,
        }
    }

    /// How many transactions are written.
    #[must_use]
    pub const fn transactions(self) -> u32 {
        match self {
            Self::S => 16,
            Self::M => 200,
            Self::L => 2_000,
        }
    }

    /// How many applications write.
    #[must_use]
    pub const fn writers(self) -> u8 {
        match self {
            Self::S => 3,
            Self::M => 5,
            Self::L => 8,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

macro_rules! families {
    ($($(#[doc = $doc:literal])+ $name:ident = $bit:literal of $of:expr,)+) => {
        /// A family of faults or of workload, on or off for a whole run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Family { $($(#[doc = $doc])+ $name = $bit,)+ }

        impl Family {
            /// All of them, each with how many seeds there are to one that has it, in the order in which they are drawn.
            pub const ALL: &[(Self, u64)] = &[$((Self::$name, $of),)+];
        }
    };
}

families! {
    /// Frames and questions take their time.
    Latency = 0 of 2,
    /// Connections are cut.
    Cuts = 1 of 2,
    /// Connections go dark in one direction.
    HalfOpen = 2 of 4,
    /// The server's process crashes.
    NodeCrash = 3 of 2,
    /// The host drops hubs.
    Evict = 4 of 2,
    /// Hubs offer to hibernate soon.
    Hibernate = 5 of 2,
    /// A replicator is paused while a successor takes over.
    Pause = 6 of 3,
    /// Database connections drop.
    ConnectionDrop = 7 of 3,
    /// Postgres restarts or crashes.
    PostgresRestart = 8 of 4,
    /// Questions fail, before, after and long before their effect.
    Questions = 9 of 2,
    /// Clients crash.
    ClientCrash = 10 of 2,
    /// Clients lose their stores.
    StoreLoss = 11 of 3,
    /// Somebody sends garbage.
    Forged = 12 of 4,
    /// Messages travel as bytes.
    Bytes = 13 of 4,
    /// Transactions larger than a page.
    Large = 14 of 2,
    /// Commits stay invisible for a while.
    Invisible = 15 of 2,
    /// History is pruned soon.
    Retention = 16 of 3,
    /// Tables change without a word in the stream.
    SilentAlter = 17 of 6,
    /// The slot is lost.
    SlotLoss = 18 of 6,
    /// Clients stop reading for a while.
    SlowReader = 19 of 4,
    /// Writers rest now and then.
    Idle = 20 of 3,
    /// A client is thin.
    Thin = 21 of 2,
    /// Announcements are lost.
    LostAnnouncements = 22 of 4,
    /// Clients leave and come back.
    Leave = 23 of 4,
    /// The server restarts in an orderly way.
    Drain = 25 of 4,
    /// Transactions overlap for long.
    Overlap = 24 of 2,
    /// Credentials run out.
    Credentials = 26 of 3,
    /// Clients see some tables only.
    Narrow = 27 of 3,
    /// Tables have the identity FULL, columns of many types, NULLs, and values over the limit.
    Shapes = 40 of 5,
    /// Clocks jump ahead.
    Jumps = 28 of 8,
    /// The slot is moved.
    MovedSlot = 30 of 8,
    /// The database's disk is full for a while.
    DiskFull = 41 of 8,
    /// What is under way is held until something else has happened.
    Holds = 42 of 3,
    /// The database is restored from a copy.
    Restore = 43 of 8,
    /// Applications provide another credential while the one that they have is good.
    Renewals = 44 of 4,
    /// A server says what does not follow from what it said.
    Garbled = 45 of 8,
    /// Tables are truncated together.
    Together = 46 of 6,
    /// Tables are rewritten without a word in the stream, and have the same columns as before.
    Rewrites = 47 of 8,
    /// A database that is restored is restored under servers that go on.
    Unstopped = 48 of 2,
    /// Tables are created again, given another key, or taken out of the publication.
    Replaces = 49 of 8,
    /// A transaction ends the process that records it, each time.
    Poison = 50 of 12,
    /// Windows hold more pages than are counted one by one, and credentials outlast registrations.
    Roomy = 51 of 8,
    /// Rows differ in size, and it is bytes that fill pages, windows and what a hub keeps.
    Wide = 52 of 8,
    /// Transactions larger than all that a hub keeps, a session's window and a replicator's queue hold.
    Huge = 53 of 12,
}

/// Which families are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families(u64);

impl Families {
    /// These and no others.
    #[must_use]
    pub fn only(families: &[Family]) -> Self {
        Self(families.iter().fold(0, |on, family| on | 1 << *family as u32))
    }

    /// Those that a seed draws.
    #[must_use]
    pub fn drawn(chooser: &mut Chooser) -> Self {
        let drawn = Family::ALL.iter().filter(|(_, of)| chooser.draw(Kind::Family, Entity::World, *of) == 0);
        Self(drawn.fold(0, |on, (family, _)| on | 1 << *family as u32))
    }

    /// Whether one is on.
    #[must_use]
    pub const fn has(self, family: Family) -> bool {
        self.0 & (1 << family as u32) != 0
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self(Family::ALL.iter().fold(0, |on, (family, _)| on | 1 << *family as u32))
    }

    /// The same without one.
    #[must_use]
    pub const fn without(self, family: Family) -> Self {
        Self(self.0 & !(1 << family as u32))
    }
}

impl std::str::FromStr for Families {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let named = |name: &str| Family::ALL.iter().find(|(family, _)| format!("{family:?}") == name);
        let mut on = 0;
        for name in text.split_whitespace() {
            on |= 1 << named(name).ok_or(())?.0 as u32;
        }
        Ok(Self(on))
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = Family::ALL.iter().filter(|(family, _)| self.has(*family));
        let names: Vec<_> = on.map(|(family, _)| format!("{family:?}")).collect();
        f.write_str(&names.join(" "))
    }
}

/// The plan of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The size.
    pub size: Size,
    /// What can go wrong.
    pub families: Families,
    /// What holds.
    pub safeguards: Safeguards,
    /// How many transactions are written.
    pub transactions: u32,
    /// Transactions that roll back instead of committing: a writer, and which of its own.
    pub rolled_back: BTreeSet<(u8, u32)>,
    /// Whether everybody comes at once and faults last until all have been live.
    pub tight: bool,
    /// The race that the run is steered into, if it is.
    pub scenario: Option<&'static Scenario>,
    /// Who watches.
    pub oracles: Oracles,
    /// Whether dangerous windows draw no more faults than the rest of a run.
    pub even: bool,
}

impl Plan {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn new(seed: u64, size: Size, safeguards: Safeguards, chooser: &mut Chooser) -> Self {
        Self {
            seed,
            size,
            families: Families::drawn(chooser),
            safeguards,
            transactions: size.transactions(),
            rolled_back: BTreeSet::new(),
            tight: false,
            scenario: None,
            oracles: Oracles::default(),
            even: false,
        }
    }

    /// The same run, as a scenario wants it.
    #[must_use]
    pub fn of_scenario(self, scenario: &'static Scenario) -> Self {
        let Some(held) = scenario.held() else { return self };
        let (families, transactions) = (Families::only(held.families), held.script.transactions);
        Self { families, transactions, scenario: Some(scenario), ..self }
    }

    /// How the run is steered, if it is.
    #[must_use]
    pub fn held(&self) -> Option<&'static Held> {
        self.scenario.and_then(Scenario::held)
    }

    /// Whether a family is on.
    #[must_use]
    pub const fn has(&self, family: Family) -> bool {
        self.families.has(family)
    }

    /// How many clients there are, the attacker included.
    #[must_use]
    pub const fn clients(&self) -> u8 {
        self.size.clients() + 1
    }

    /// Whether a client is the attacker, who follows no protocol.
    #[must_use]
    pub const fn is_attacker(&self, client: u8) -> bool {
        client == self.size.clients()
    }

    /// The hub that serves a client: in half of the worlds all share one.
    #[must_use]
    pub const fn hub_of(&self, client: u8) -> u8 {
        if crate::chooser::mix(self.seed) & 1 == 0 { 0 } else { client % crate::entity::HUBS }
    }

    /// Whether a client is thin.
    #[must_use]
    pub const fn is_thin(&self, client: u8) -> bool {
        self.has(Family::Thin) && client % 2 == 1 && !self.is_attacker(client)
    }

    /// In which format its messages travel, where bytes do: each client has another, and the first has each in some seeds.
    #[must_use]
    pub const fn format(&self, client: u8) -> Format {
        let first = (crate::chooser::mix(self.seed) >> 8) as usize & 3;
        Format::ALL[(first + client as usize) % Format::ALL.len()]
    }

    /// What a client sees: everything, or one table.
    #[must_use]
    pub fn scope(&self, client: u8) -> Scope {
        let narrow = self.has(Family::Narrow) && client.is_multiple_of(2) && !self.is_attacker(client);
        if narrow { Scope::tables([format!("public.t{}", client / 2 % 2)]) } else { Scope::All }
    }

    /// The model's settings.
    #[must_use]
    pub fn postgres(&self) -> crate::postgres::Config {
        crate::postgres::Config {
            first_xid: Xid((1 << 32) - 25),
            first_lsn: Lsn(0x16B_3748),
            seed: self.seed,
            odd_shapes: self.has(Family::Shapes),
            replaces: self.has(Family::Replaces),
            wide: self.has(Family::Wide),
            ..crate::postgres::Config::default()
        }
    }

    /// A replicator's settings.
    #[must_use]
    pub fn replication(&self, node: u8) -> replication::Config {
        let retention = self.has(Family::Retention);
        replication::Config {
            holder: format!("node/{node}"),
            lease_ttl: Duration::from_secs(3),
            lease_renew_every: Duration::from_secs(1),
            keep_min: if retention { Duration::from_millis(300) } else { Duration::from_secs(600) },
            keep_max: if retention { Duration::from_millis(2_000) } else { Duration::from_secs(3_600) },
            prune_every: if retention { Duration::from_millis(700) } else { Duration::from_secs(20) },
            inspect_every: Duration::from_secs(2),
            idle_save_bytes: 64 * 1024,
            idle_save_every: Duration::from_secs(4),
            nudge_every: Duration::from_millis(50),
            silence_after: Duration::from_secs(3),
            backoff_first: Duration::from_millis(20),
            backoff_most: Duration::from_secs(1),
            // A crash of the simulator's host is never the transaction's fault, but where one is to be blamed.
            attempts_max: if self.has(Family::Poison) { ATTEMPTS_MAX } else { 1_000 },
            page_changes_max: self.limits().changes,
            page_bytes_max: self.limits().recorded_bytes,
            seed: self.seed ^ u64::from(node),
            safeguards: self.safeguards,
        }
    }

    /// A hub's settings.
    #[must_use]
    pub fn hub(&self, hub: u8, life: u64) -> hub::Config {
        // Lives cut pieces differently, as versions of the server may.
        let limits = self.limits();
        let page_changes_max = limits.changes - 2 + u32::try_from(life % 4).unwrap_or(0);
        hub::Config {
            seed: self.seed ^ u64::from(hub) << 8,
            registration_ttl: Duration::from_secs(9),
            renew_every: Duration::from_secs(3),
            greet_timeout: Duration::from_secs(2),
            ack_timeout: Duration::from_secs(6),
            ahead_wait: Duration::from_secs(1),
            save_positions_every: Duration::from_millis(100),
            hibernate_after: Duration::from_millis(if self.has(Family::Hibernate) { 150 } else { 1_000 }),
            poll_head_every: Duration::from_secs(3),
            want_covered_every: Duration::from_millis(500),
            scan_every: Duration::from_millis(500),
            spool_reuse_for: Duration::from_secs(1),
            snapshot_retry: Duration::from_millis(100),
            backoff_first: Duration::from_millis(20),
            backoff_most: Duration::from_secs(1),
            window_pages: self.window_pages(),
            window_bytes: limits.window_bytes,
            window_chunks: CHUNKS,
            page_changes_max,
            page_bytes_max: limits.read_bytes,
            ring_pages_max: 8,
            ring_bytes_max: limits.ring_bytes,
            reads_max: 4,
            safeguards: self.safeguards,
            ..hub::Config::default()
        }
    }

    /// What bounds pages, windows and what a hub keeps.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        if self.has(Family::Wide) { Limits::BYTES } else { Limits::COUNTS }
    }

    /// How many pages of a session may be on their way.
    #[must_use]
    pub const fn window_pages(&self) -> u32 {
        if self.has(Family::Roomy) { ROOMY_PAGES } else { WINDOW_PAGES }
    }

    /// A client's settings.
    #[must_use]
    pub fn client(&self, client: u8) -> client::Config {
        client::Config {
            scope: self.scope(client),
            token: Some(token(client)),
            mode: if self.is_thin(client) { Mode::Thin } else { Mode::Replica },
            seed: self.seed ^ u64::from(client) << 16,
            ack_every: Duration::from_millis(150),
            window_pages: self.window_pages() as usize,
            window_chunks: 3,
            backoff_first: Duration::from_millis(20),
            backoff_most: Duration::from_secs(1),
            ping_every: Duration::from_secs(2),
            silence_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(2),
            greet_timeout: Duration::from_secs(4),
            window_bytes: usize::try_from(self.limits().window_bytes).unwrap_or(usize::MAX),
            queue_messages_max: QUEUE_MESSAGES,
            safeguards: self.safeguards,
            ..client::Config::new(client_id(client))
        }
    }
}

/// So many attempts at a transaction halt a replicator, in worlds where one may end it each time.
pub const ATTEMPTS_MAX: u32 = 3;
/// The most changes in one page of a simulated world.
pub const PAGE_CHANGES: u32 = 5;
/// How many pages of a session may be on their way.
pub const WINDOW_PAGES: u32 = 4;
/// The same where there is room: runs of two pages are counted as one.
pub const ROOMY_PAGES: u32 = 16;
/// How many chunks of a session may be on their way.
pub const CHUNKS: u32 = 3;
/// The bounds of a world.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most changes in one page.
    pub changes: u32,
    /// The most bytes in one page that is appended to history.
    pub recorded_bytes: u32,
    /// About the most bytes in one page read from history.
    pub read_bytes: u32,
    /// A session's window.
    pub window_bytes: u64,
    /// A hub's ring.
    pub ring_bytes: u64,
}

impl Limits {
    /// Counts are reached, and bytes are not.
    const COUNTS: Self = Self {
        changes: PAGE_CHANGES,
        recorded_bytes: 64 * 1024,
        read_bytes: 4 * 1024,
        window_bytes: 16 * 1024,
        ring_bytes: 64 * 1024,
    };
    /// The other way round: of the largest rows one is more than a page.
    const BYTES: Self = Self {
        changes: 3 * PAGE_CHANGES,
        recorded_bytes: 1_536,
        read_bytes: 1_024,
        window_bytes: 3 * 1_024,
        ring_bytes: 6 * 1_024,
    };
}

/// How many messages a client keeps that wait for its store.
pub const QUEUE_MESSAGES: usize = 48;

/// The credential that a client shows in its greeting.
#[must_use]
pub fn token(client: u8) -> String {
    format!("token of {client}")
}

/// The name of a client.
///
/// # Panics
/// Never: the name is plain ASCII.
#[must_use]
pub fn client_id(client: u8) -> ClientId {
    ClientId::new(&format!("client-{client}")).expect("plain ASCII")
}
