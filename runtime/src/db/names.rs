//! What the published tables are called, as of a place in the WAL.
//!
//! Postgres 14 and 15 do not tell a stream that a schema was renamed: it goes on under the name that it told before, which no table
//! has any more. Whoever reads a stream compares its names with these.

use super::{Database, failure, types};
use dormouse_core::change::Relation;
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::source::Fingerprints;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

/// What a look at the tables found.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Tells one look from another.
    pub(crate) look: u64,
    /// Where WAL ended after the look: what commits from here on has these names.
    pub(crate) as_of: Lsn,
    /// `schema.table`, by oid.
    by_oid: BTreeMap<u32, String>,
}

impl Names {
    /// Whether this table is called something else.
    pub(crate) fn contradict(&self, oid: u32, relation: &Relation) -> bool {
        self.by_oid.get(&oid).is_some_and(|name| *name != relation.full_name())
    }
}

/// What the last look found.
#[derive(Default)]
pub(super) struct Latest(Mutex<Arc<Names>>);

impl Database {
    /// The names of the last look.
    pub(crate) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.inner.names.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what a look at the tables has found, which ended just now.
    pub(super) async fn note_names(&self, client: &Client, found: &Fingerprints) -> Result<(), Failure> {
        let sql = "select case when pg_is_in_recovery() then null else pg_current_wal_insert_lsn() end";
        let row = client.query_one(sql, &[]).await.map_err(failure::of)?;
        let Some(as_of) = row.get::<_, Option<PgLsn>>(0).map(types::lsn) else { return Ok(()) };
        let by_oid = found.iter().map(|(name, table)| (table.oid, name.clone())).collect();
        let mut latest = self.inner.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        if as_of >= latest.as_of {
            *latest = Arc::new(Names { look: latest.look + 1, as_of, by_oid });
        }
        Ok(())
    }
}
