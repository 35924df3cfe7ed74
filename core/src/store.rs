//! What a replica's store is asked, and a store in memory.

mod memory;
mod table;
#[cfg(test)]
mod tests;

pub use memory::MemoryStore;
pub use table::{StoredRow, Table, Tables, merge};

use crate::ask::Question;
use crate::change::{Chunk, Page, Relation};
use crate::position::Waypoint;
use crate::session::BackfillId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One local transaction of a replica's store: all of it is durable, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreRequest {
    /// Apply a page that follows what is held. A piece is staged; the last piece applies what is staged and itself, atomically.
    ///
    /// The client has cut off what it holds already. A page that does not begin inside a transaction (`first` = 0) drops
    /// staged pieces: it brings that transaction again from its start, or none of its changes is in scope.
    ApplyPage {
        /// The page.
        page: Arc<Page>,
    },
    /// Stage rows of a snapshot, beside what is shown. `n` = 0 drops earlier staging.
    StageChunk {
        /// Which backfill.
        backfill: BackfillId,
        /// From 0.
        n: u32,
        /// The rows.
        chunk: Arc<Chunk>,
    },
    /// Apply changes of the seam to the staged rows. With `complete`, the staged rows replace what is shown.
    StageSeam {
        /// Which backfill.
        backfill: BackfillId,
        /// Goes on from the chunks' numbers; 0 drops earlier staging.
        n: u32,
        /// The changes.
        page: Option<Arc<Page>>,
        /// Where the replica then stands.
        complete: Option<Waypoint>,
    },
    /// Change nothing and say what is held: a failed answer may have hidden an effect.
    ReadHeld,
}

/// Ask the store for one local transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// What to do.
    pub request: StoreRequest,
}
impl Question for Store {
    type Reply = Held;
}

/// What a replica durably holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Where what is shown stands: a boundary. `None` before the first backfill is complete.
    pub shown: Option<Waypoint>,
    /// Where staged pieces of a large transaction reach; equals `shown` when there are none. To resume from.
    pub staged: Option<Waypoint>,
    /// The wrapping sum of the hashes of the rows shown ([`crate::sum::row_hash`]).
    pub sum: u128,
    /// Inserts of rows that were there, updates and deletes of rows that were not. 0 unless something is wrong.
    pub anomalies: u64,
}

/// Shapes by id, as a store remembers them.
pub type Relations = std::collections::BTreeMap<crate::change::RelationId, Arc<Relation>>;
