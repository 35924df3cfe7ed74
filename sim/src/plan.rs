//! What a seed decides before its run begins: how large it is, which families of faults it has, how its machines are set.

mod family;
mod limits;

pub use family::{Families, Family};
pub use limits::{CHUNKS, Limits, PAGE_CHANGES, ROOMY_PAGES, WINDOW_PAGES};

use crate::chooser::Chooser;
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

    /// As whom a client greets first. The second may be a copy of the first.
    #[must_use]
    pub fn client_id(&self, client: u8) -> ClientId {
        let is_copy = self.has(Family::Cloned) && client == 1 && !self.is_thin(client);
        client_id(if is_copy { 0 } else { client })
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
        match client / 2 % 2 {
            _ if !narrow => Scope::All,
            1 if self.has(Family::Namesakes) => Scope::tables(["other.t0".into()]),
            n => Scope::tables([format!("public.t{n}")]),
        }
    }

    /// The model's settings.
    #[must_use]
    pub fn postgres(&self) -> crate::postgres::Config {
        crate::postgres::Config {
            first_xid: Xid((1 << 32) - 25),
            first_lsn: self.first_lsn(),
            clock_us: self.clock_us(),
            namesakes: self.has(Family::Namesakes),
            seed: self.seed,
            odd_shapes: self.has(Family::Shapes),
            replaces: self.has(Family::Replaces),
            wide: self.has(Family::Wide),
            ..crate::postgres::Config::default()
        }
    }

    /// Where WAL begins: in half of the worlds short of a place that takes more than 32 bits.
    const fn first_lsn(&self) -> Lsn {
        match (crate::chooser::mix(self.seed) >> 24) & 3 {
            0 => Lsn((1 << 32) - 0x800),
            1 => Lsn((0xA7 << 32) - 0x800),
            _ => Lsn(0x16B_3748),
        }
    }

    /// What the database's clock says: near what worlds count from, as today, or short of 1970, where its sign changes.
    const fn clock_us(&self) -> i64 {
        match (crate::chooser::mix(self.seed) >> 32) & 3 {
            0 => 1_764_002_000_000_000,
            1 => -1_002_000_000,
            _ => 0,
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
            // Registrations that have run out go first.
            prune_every: if retention || self.has(Family::Brief) {
                Duration::from_millis(700)
            } else {
                Duration::from_secs(20)
            },
            inspect_every: Duration::from_secs(2),
            idle_save_bytes: 64 * 1024,
            idle_save_every: Duration::from_secs(4),
            // Nobody is served by the second process.
            follow_every: Duration::from_millis(if node == 0 { 150 } else { 2_000 }),
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
            registration_ttl: Duration::from_secs(if self.has(Family::Brief) { 3 } else { 9 }),
            renew_every: Duration::from_secs(if self.has(Family::Brief) { 1 } else { 3 }),
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
            registry_batch_max: if self.has(Family::Batches) { 1 } else { 1_000 },
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
            ..client::Config::new(self.client_id(client))
        }
    }
}

/// So many attempts at a transaction halt a replicator, in worlds where one may end it each time.
pub const ATTEMPTS_MAX: u32 = 3;
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
