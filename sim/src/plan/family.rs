//! Families of faults and of workload: which a seed draws.

use crate::chooser::{Chooser, Kind};
use crate::entity::Entity;
use std::fmt;

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
    /// Two stores have one client id.
    Cloned = 54 of 12,
    /// Registrations last for seconds, and the registry refuses for as long what is written to it.
    Brief = 55 of 8,
    /// A server is suspended with its hubs while a successor takes over.
    Suspended = 56 of 8,
    /// What a hub's host had queued is heard after the hub has closed the session.
    Crossed = 57 of 3,
    /// The registry is asked for one client at a time.
    Batches = 58 of 6,
    /// Two tables have one name, in two schemas.
    Namesakes = 59 of 4,
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
