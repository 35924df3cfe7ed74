//! Snapshots and their spools: S with H, L and the rows in one moment, F in a later one.

use super::wal::TABLES_MAX;
use super::{Postgres, unavailable};
use crate::oracle::is_in;
use dormouse_core::change::{Chunk, Relation, Scope};
use dormouse_core::fault::Failure;
use dormouse_core::history::Head;
use dormouse_core::hub::{ReadChunk, SnapshotTaken, Spool, SpoolId, TakeSnapshot};
use dormouse_core::position::{Lsn, Position, Waypoint};
use dormouse_core::row::Row;
use dormouse_core::xid::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How [`Postgres::snapshot_begin`] went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotBegun {
    /// S is taken and its rows are being copied, under a lock: to be finished, or abandoned.
    Begun(SpoolId),
    /// The answer is ready: nothing was begun.
    Answered(SnapshotTaken),
}

/// The published transactions that a snapshot taken now would see.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Visible {
    pub(super) effects: u64,
    pub(super) effects_by_table: [u64; TABLES_MAX],
    pub(super) newest: Lsn,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Spools {
    pub(super) taken: u64,
    kept: BTreeMap<SpoolId, Kept>,
    pub(super) visible: Visible,
}

impl Spools {
    /// P0 of every spool that lives or is being made.
    pub(super) fn starts(&self) -> impl Iterator<Item = &Waypoint> {
        self.kept.values().map(|kept| &kept.start)
    }

    /// Those of others that were finished.
    pub(super) fn keep_finished(&mut self, others: &Self) {
        let finished = others.kept.iter().filter(|(_, kept)| kept.spool.is_some());
        self.kept.extend(finished.map(|(id, kept)| (*id, kept.clone())));
    }
}

#[derive(Debug, Clone)]
struct Kept {
    start: Waypoint,
    snapshot: Snapshot,
    relations: Vec<Arc<Relation>>,
    chunks: Vec<Arc<Chunk>>,
    visible: Visible,
    /// The tables locked while it is being copied.
    locked: Vec<usize>,
    spool: Option<Arc<Spool>>,
}

impl Postgres {
    /// The first half of [`TakeSnapshot`]: locks the tables, takes S, reads H, L and schema, and sees the rows.
    ///
    /// # Errors
    /// Before the first era, and while a lock on a table cannot be had.
    pub fn snapshot_begin(&mut self, ask: &TakeSnapshot) -> Result<SnapshotBegun, Failure> {
        let (Some(head), Some(x0)) = (self.head(), self.eras.last().map(|era| era.x0)) else {
            return unavailable("no era has begun");
        };
        if ask.era != head.era() {
            return Ok(SnapshotBegun::Answered(SnapshotTaken::OtherEra { head }));
        }
        let snapshot = self.current_snapshot();
        if ask.await_era_start && snapshot.xmin < x0 {
            return Ok(SnapshotBegun::Answered(SnapshotTaken::EraStarting));
        }
        let locked: Vec<_> = (0..self.tables.len())
            .filter(|n| self.tables[*n].published && is_in(&ask.scope, &self.tables[*n].relation))
            .collect();
        if locked.iter().any(|n| self.tables[*n].exclusive.is_some()) {
            return unavailable("canceling statement due to lock timeout");
        }
        let noted = self.eras.last().map(|era| &era.fingerprints);
        if locked.iter().any(|n| noted.is_none_or(|noted| !noted.contains_key(&self.tables[*n].relation.full_name()))) {
            return unavailable("replication has not noted yet that a table is published");
        }
        let start = self.seam_start(&snapshot, head);
        let relations = locked.iter().map(|n| Arc::clone(&self.tables[*n].relation)).collect();
        let chunks = locked.iter().flat_map(|n| self.chunks_of(*n)).collect();
        locked.iter().for_each(|n| self.tables[*n].readers += 1);
        let visible = self.spools.visible;
        self.spools.taken += 1;
        let id = SpoolId(self.spools.taken);
        self.spools.kept.insert(id, Kept { start, snapshot, relations, chunks, visible, locked, spool: None });
        Ok(SnapshotBegun::Begun(id))
    }

    /// The second half of [`TakeSnapshot`]: the copy is complete, and F is read.
    ///
    /// # Errors
    /// When the connection was lost in between.
    pub fn snapshot_finish(&mut self, id: SpoolId) -> Result<SnapshotTaken, Failure> {
        let (fence, schema) = (self.insert_lsn(), self.spools.kept.get(&id).map(|kept| kept.start.schema));
        let (Some(kept), Some(schema)) = (self.spools.kept.get_mut(&id), schema) else {
            return unavailable("the connection of the snapshot was lost");
        };
        for n in std::mem::take(&mut kept.locked) {
            self.tables[n].readers -= 1;
        }
        let spool = Arc::new(Spool {
            id,
            snapshot: kept.snapshot.clone(),
            start: kept.start,
            fence,
            chunks: u32::try_from(kept.chunks.len()).expect("runs are short"),
            rows: kept.chunks.iter().map(|chunk| chunk.rows.len() as u64).sum(),
            relations: kept.relations.clone(),
            schema,
        });
        kept.spool = Some(Arc::clone(&spool));
        Ok(SnapshotTaken::Spooled(spool))
    }

    /// Answers [`ReadChunk`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_read_chunk(&self, ask: &ReadChunk) -> Result<Option<Arc<Chunk>>, Failure> {
        let kept = self.spools.kept.get(&ask.spool).filter(|kept| kept.spool.is_some());
        Ok(kept.and_then(|kept| kept.chunks.get(ask.n as usize).cloned()))
    }

    /// Carries out [`dormouse_core::hub::Output::DropSpool`], or the loss of the host's disk; abandons one that is being made.
    pub fn drop_spool(&mut self, id: SpoolId) {
        if let Some(kept) = self.spools.kept.remove(&id) {
            for n in kept.locked {
                self.tables[n].readers -= 1;
            }
        }
    }

    /// The spool that holds this very chunk, if it is still kept.
    pub fn spool_of(&self, chunk: &Arc<Chunk>) -> Option<SpoolId> {
        let holds = |kept: &Kept| kept.chunks.iter().any(|other| Arc::ptr_eq(other, chunk));
        self.spools.kept.iter().find(|(_, kept)| holds(kept)).map(|(id, _)| *id)
    }

    /// The spools that live or are being made.
    pub fn spools(&self) -> impl Iterator<Item = SpoolId> {
        self.spools.kept.keys().copied()
    }

    /// Whether a snapshot is being copied.
    #[must_use]
    pub fn is_copying(&self) -> bool {
        self.spools.kept.values().any(|kept| kept.spool.is_none())
    }

    /// The connections that copy snapshots are lost; finished spools stay.
    pub(super) fn abandon_snapshots(&mut self) {
        let unfinished = self.spools.kept.iter().filter(|(_, kept)| kept.spool.is_none());
        for id in unfinished.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_spool(id);
        }
    }

    /// What a spool's snapshot sees: the wrapping sum of `mix(xid)` over the published transactions in it.
    #[must_use]
    pub fn spool_effects(&self, id: SpoolId) -> Option<u64> {
        Some(self.spools.kept.get(&id)?.visible.effects)
    }

    /// The same, of the transactions that touch each table.
    #[must_use]
    pub fn spool_effects_by_table(&self, id: SpoolId) -> Option<[u64; TABLES_MAX]> {
        Some(self.spools.kept.get(&id)?.visible.effects_by_table)
    }

    /// P0: just before L, the least transaction in history that S does not see; else the head.
    fn seam_start(&self, snapshot: &Snapshot, head: Head) -> Waypoint {
        let mut before = self.horizon().unwrap_or(head.waypoint);
        let first = before.position.commit_lsn;
        for (commit_lsn, row, _) in self.history.after(first) {
            if !snapshot.sees(row.xid) {
                return before;
            }
            let position = Position::after(commit_lsn);
            before = Waypoint { position, xid: row.xid, committed_at: row.committed_at, ..before };
        }
        head.waypoint
    }

    fn chunks_of(&self, n: usize) -> Vec<Arc<Chunk>> {
        let table = &self.tables[n];
        let rows: Vec<Row> = table.rows.values().cloned().collect();
        let chunks = rows.chunks(self.config.chunk_rows.max(1));
        chunks.map(|rows| Arc::new(Chunk { relation: Arc::clone(&table.relation), rows: rows.to_vec() })).collect()
    }

    /// The tables that a scope names and that are not published.
    pub(super) fn unknown_tables(&self, scope: &Scope) -> Vec<String> {
        let Scope::Tables(names) = scope else { return Vec::new() };
        let known =
            |name: &String| self.tables.iter().any(|table| table.published && table.relation.full_name() == *name);
        names.iter().filter(|name| !known(name)).cloned().collect()
    }
}
