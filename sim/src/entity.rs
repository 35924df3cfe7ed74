//! Who acts in a world, by meaning: names stay the same whatever happens in a run.

use std::fmt;

/// One actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// Everything.
    World,
    /// The database.
    Postgres,
    /// A server process with its hubs; the second has a replicator only.
    Node(u8),
    /// The replicator of a node.
    Replication(u8),
    /// A hub of the first node.
    Hub(u8),
    /// An application that writes to the database.
    Writer(u8),
    /// A replica or a thin client.
    Client(u8),
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.write_str("world"),
            Self::Postgres => f.write_str("postgres"),
            Self::Node(n) => write!(f, "node/{n}"),
            Self::Replication(n) => write!(f, "replication/{n}"),
            Self::Hub(n) => write!(f, "hub/{n}"),
            Self::Writer(n) => write!(f, "writer/{n}"),
            Self::Client(n) => write!(f, "client/{n}"),
        }
    }
}

/// How many nodes a world has.
pub const NODES: u8 = 2;
/// How many hubs the first node has.
pub const HUBS: u8 = 2;
/// The most writers a world has.
pub const WRITERS_MAX: u8 = 8;

/// Numbers the actors of a world densely.
#[derive(Debug, Clone, Copy)]
pub struct Entities {
    /// How many clients the world has, attackers included.
    pub clients: u8,
}

impl Entities {
    const NODE: usize = 2;
    const REPLICATION: usize = Self::NODE + NODES as usize;
    const HUB: usize = Self::REPLICATION + NODES as usize;
    const WRITER: usize = Self::HUB + HUBS as usize;
    const CLIENT: usize = Self::WRITER + WRITERS_MAX as usize;

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        Self::CLIENT + self.clients as usize
    }

    /// Whether a world of this size has this one.
    #[must_use]
    pub const fn has(self, entity: Entity) -> bool {
        match entity {
            Entity::World | Entity::Postgres => true,
            Entity::Node(n) | Entity::Replication(n) => n < NODES,
            Entity::Hub(n) => n < HUBS,
            Entity::Writer(n) => n < WRITERS_MAX,
            Entity::Client(n) => n < self.clients,
        }
    }
}

impl crate::engine::subject::Entity for Entity {
    fn index(self) -> usize {
        match self {
            Self::World => 0,
            Self::Postgres => 1,
            Self::Node(n) => Entities::NODE + n as usize,
            Self::Replication(n) => Entities::REPLICATION + n as usize,
            Self::Hub(n) => Entities::HUB + n as usize,
            Self::Writer(n) => Entities::WRITER + n as usize,
            Self::Client(n) => Entities::CLIENT + n as usize,
        }
    }
}

impl std::str::FromStr for Entity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, n) = text.split_once('/').unwrap_or((text, ""));
        let n = || n.parse::<u8>().map_err(|_| ());
        match kind {
            "world" => Ok(Self::World),
            "postgres" => Ok(Self::Postgres),
            "node" => n().map(Self::Node),
            "replication" => n().map(Self::Replication),
            "hub" => n().map(Self::Hub),
            "writer" => n().map(Self::Writer),
            "client" => n().map(Self::Client),
            _ => Err(()),
        }
    }
}
