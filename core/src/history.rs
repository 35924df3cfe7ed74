//! History as the hubs ask for it.

use crate::ask::Question;
use crate::change::Page;
use crate::position::{Era, Lsn, Position, SchemaVersion, Waypoint};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The end of history.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last transaction, or the era's start (xid 0) while there is none. Its `schema` is the one that holds now.
    pub waypoint: Waypoint,
    /// Every published transaction of this era that commits below this LSN is in history.
    pub covered: Lsn,
}

impl Head {
    /// The era that history is in.
    #[must_use]
    pub const fn era(&self) -> Era {
        self.waypoint.era
    }

    /// The schema that holds now.
    #[must_use]
    pub const fn schema(&self) -> SchemaVersion {
        self.waypoint.schema
    }

    /// The place of the last transaction.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.waypoint.position
    }

    /// Whether history had come as far as in `other` when this was its end.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        let further = self.position() >= other.position() && self.schema() >= other.schema();
        self.era().counter > other.era().counter || self.era() == other.era() && further
    }
}

/// Where does history end? Answered by the primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadHead;

impl Question for ReadHead {
    type Reply = Head;
}

/// What follows a position? Answered with one page, or one piece of a transaction larger than a page.
///
/// The reader judges the horizon in the snapshot in which it reads the rows, or after it, so that nothing is pruned
/// from under it unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadHistory {
    /// The era that is meant.
    pub era: Era,
    /// What the asker has.
    pub after: Position,
    /// Only transactions that commit below this LSN; for the seam.
    pub until: Option<Lsn>,
    /// The most changes to return.
    pub changes_max: u32,
    /// About the most bytes to return; one change is always returned.
    pub bytes_max: u32,
}

impl Question for ReadHistory {
    type Reply = HistoryRead;
}

/// The reply to [`ReadHistory`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryRead {
    /// What follows. Its `after` is the position asked for and its `through.schema` the one that holds now.
    Page {
        /// The page.
        page: Arc<Page>,
        /// The end of history at that moment.
        head: Head,
    },
    /// Nothing follows (below `until`).
    End {
        /// The end of history at that moment.
        head: Head,
    },
    /// The position is older than what is kept: the client must have everything again.
    Pruned {
        /// The end of history at that moment.
        head: Head,
    },
    /// Another era has begun.
    OtherEra {
        /// The end of history at that moment.
        head: Head,
    },
}

/// What the machine of the source tells the hubs, in order: history grew, or is known to be complete further on.
///
/// A hint with a body: a hub that misses one finds a hole before the next and reads history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The head before it.
    pub after: Position,
    /// The head now; its `schema` is the one that holds now.
    pub head: Head,
    /// What lies between. `None` when that is nothing, or a transaction too large for a page: to be read from history.
    pub page: Option<Arc<Page>>,
}
