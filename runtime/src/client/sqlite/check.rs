//! Whether the rows are those that were counted, and all of them as a value.

use super::SqliteStore;
use super::pieces;
use super::state::State;
use super::trouble::Trouble;
use dormouse_core::change::{Chunk, Page, Relation};
use dormouse_core::fault::Failure;
use dormouse_core::row::Row;
use dormouse_core::session::BackfillId;
use dormouse_core::store::{MemoryStore, StoreRequest};
use std::sync::Arc;

/// The most rows handed on at once.
const ROWS_AT_ONCE: usize = 4_096;

/// A table's rows are not those that its content sum was counted from: something else wrote to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rows of {table} are not those that were received: {counted} rows were counted, {found} are there")]
pub struct SumMismatch {
    /// `schema.table`.
    pub table: String,
    /// How many rows the store counted.
    pub counted: u64,
    /// How many rows it has.
    pub found: u64,
}

impl SqliteStore {
    /// Reads every row that is shown and compares the content sums. Takes as long as reading all of them.
    ///
    /// # Errors
    /// When the rows cannot be read. The inner error names the first table that does not agree.
    pub fn verify_sum(&self) -> Result<Result<(), SumMismatch>, Failure> {
        verify(&self.state, self).map_err(|trouble| trouble.into_failure(&self.name()))
    }

    /// Looks at every row that is shown, in the shape in which it came, table by table.
    ///
    /// # Errors
    /// When the rows cannot be read, or as `look` says.
    pub fn each_row(&self, mut look: impl FnMut(&Arc<Relation>, &Row) -> Result<(), Failure>) -> Result<(), Failure> {
        for table in self.state.tables.by_name.values() {
            let mut outcome = Ok(());
            let done = table.each(&self.connection, &self.state.shapes, |_, stored| {
                outcome = look(&stored.relation, &stored.row);
                match &outcome {
                    Ok(()) => Ok(()),
                    Err(_) => Err(Trouble::Foreign("stopped".into())),
                }
            });
            outcome?;
            done.map_err(|trouble| trouble.into_failure(&self.name()))?;
        }
        Ok(())
    }

    /// The pieces that are staged of a large transaction, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn pieces(&self) -> Result<Vec<Arc<Page>>, Failure> {
        let mut all = Vec::new();
        let read = pieces::each(&self.connection, |piece| {
            all.push(piece);
            Ok(())
        });
        read.map_err(|trouble| trouble.into_failure(&self.name()))?;
        Ok(all)
    }
}

fn verify(state: &State, store: &SqliteStore) -> Result<Result<(), SumMismatch>, Trouble> {
    for (name, table) in &state.tables.by_name {
        let (mut sum, mut found, mut exact) = (0u128, 0u64, 0u64);
        table.each(&store.connection, &state.shapes, |_, stored| {
            sum = sum.wrapping_add(stored.hash());
            found += 1;
            exact += u64::from(!stored.is_plain());
            Ok(())
        })?;
        if (sum, found, exact) != (table.sum, table.rows, table.exact) {
            return Ok(Err(SumMismatch { table: name.clone(), counted: table.rows, found }));
        }
    }
    Ok(Ok(()))
}

/// All that is shown, as a store in memory that stands at the same place.
pub(super) fn contents(state: &State, connection: &rusqlite::Connection) -> Result<MemoryStore, Trouble> {
    let mut memory = MemoryStore::new();
    let backfill = BackfillId(0);
    let mut n = 0;
    let mut stage = |chunk: Chunk| {
        memory.apply(&StoreRequest::StageChunk { backfill, n, chunk: Arc::new(chunk) });
        n += 1;
    };
    for table in state.tables.by_name.values() {
        let mut chunk = Chunk { relation: Arc::clone(&table.shape.relation), rows: Vec::new() };
        table.each(connection, &state.shapes, |_, stored| {
            if chunk.rows.len() == ROWS_AT_ONCE || stored.relation.id != chunk.relation.id {
                let next = Chunk { relation: Arc::clone(&stored.relation), rows: Vec::new() };
                stage(std::mem::replace(&mut chunk, next));
            }
            chunk.rows.push(stored.row);
            Ok(())
        })?;
        stage(chunk);
    }
    memory.apply(&StoreRequest::StageSeam { backfill, n, page: None, complete: state.shown });
    Ok(memory)
}
