//! A replica's store in a SQLite file: published tables as real tables, which an application queries with SQL.
//!
//! Each request of the client is one transaction of SQLite: rows, content sum and position are durable together, or none is.
//! Whoever reads the file, through [`SqliteStore::query`] or with a read-only connection of its own ([`open_reader`]), sees
//! whole transactions of Postgres, and during a first sync or a resync the old rows until all new ones are there.
//!
//! `public.orders` is the table `orders`, `shop.orders` is `"shop.orders"`. Columns have the names they have in Postgres:
//!
//! | Postgres | SQLite |
//! |---|---|
//! | `int2`, `int4`, `int8`, `oid` | `INTEGER` |
//! | `bool` | `INTEGER`, 0 or 1 |
//! | `float4`, `float8` | `REAL`; not-a-number is the text `NaN` |
//! | `bytea` | `BLOB` |
//! | all else | `TEXT`, as Postgres writes it (timestamps in UTC) |
//!
//! A value that a column cannot hold exactly is shown as the nearest (one that was left out for its size as NULL) and kept
//! exactly beside the table, so that nothing is lost to the content sum. `docs/CLIENT.md` tells all of it.

mod apply;
mod check;
mod names;
mod open;
mod pieces;
mod shape;
mod shapes;
mod state;
mod swap;
mod table;
mod tables;
mod trouble;
mod value;

#[cfg(test)]
mod tests;

pub use check::SumMismatch;
pub use open::{OpenError, SqliteOptions, Synchronous, open_reader};
pub use rusqlite;

use super::{Replica, Store};
use dormouse_core::change::Scope;
use dormouse_core::fault::Failure;
use dormouse_core::session::ClientId;
use dormouse_core::store::{Held, MemoryStore, StoreRequest};
use open::Lock;
use rusqlite::Connection;
use state::State;
use std::path::{Path, PathBuf};
use trouble::Trouble;

/// A store in a SQLite file. While it is open, no other client can open the same file; readers can.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    reader: Connection,
    state: State,
    /// As of the last transaction that is known to be durable.
    held: Held,
    /// Whether `state` may differ from the file: after a failure, until it was read again.
    is_doubtful: bool,
    /// Dropped last.
    _lock: Lock,
}

impl SqliteStore {
    /// Opens a store with the usual options, or makes one where there is no file.
    ///
    /// # Errors
    /// When the file is in use, damaged, of a newer version, or no store.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, SqliteOptions::default())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The client that used it last. One that comes back under the same id is the same to the server.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.state.client_id.as_deref()
    }

    /// What of the publication it holds, as the client that used it last wanted.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        self.state.scope.clone()
    }

    /// What SQLite calls a published table (`schema.table`). `None` before the first rows of it, or word of it, came.
    #[must_use]
    pub fn table_name(&self, full_name: &str) -> Option<&str> {
        self.state.tables.by_name.get(full_name).map(|table| table.sql_name.as_str())
    }

    /// Looks at the rows through a connection that can only read.
    ///
    /// # Errors
    /// As SQLite says.
    pub fn query<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        look(&self.reader)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl Store for SqliteStore {
    fn begin(&mut self, client: &ClientId, scope: &Scope) -> Result<(), Failure> {
        if self.client_id() == Some(client.as_str()) && self.state.scope.as_ref() == Some(scope) {
            return Ok(());
        }
        self.transact(|state, connection| {
            state.client_id = Some(client.to_string());
            apply::widen(state, connection, scope)
        })
    }

    fn held(&self) -> Held {
        self.held
    }

    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure> {
        match request {
            StoreRequest::ReadHeld if self.is_doubtful => self.read_again()?,
            StoreRequest::ReadHeld => {}
            request => self.transact(|state, connection| apply::apply(state, connection, request))?,
        }
        Ok(self.held())
    }

    fn blocks(&self) -> bool {
        true
    }
}

impl Replica for SqliteStore {
    fn contents(&self) -> Result<MemoryStore, Failure> {
        check::contents(&self.state, &self.connection).map_err(|trouble| trouble.into_failure(&self.name()))
    }
}

impl SqliteStore {
    /// One transaction: all of it is durable, or none, and the state at hand is what the file says.
    fn transact<T>(&mut self, work: impl FnOnce(&mut State, &Connection) -> Result<T, Trouble>) -> Result<T, Failure> {
        if self.is_doubtful {
            self.read_again()?;
        }
        match Self::try_transact(&mut self.connection, &mut self.state, work) {
            Ok(done) => {
                self.held = self.state.held();
                Ok(done)
            }
            Err(trouble) => {
                self.is_doubtful = true;
                let failure = trouble.into_failure(&self.name());
                let _ = self.read_again(); // If not now, then before the next request.
                Err(failure)
            }
        }
    }

    fn try_transact<T>(
        connection: &mut Connection,
        state: &mut State,
        work: impl FnOnce(&mut State, &Connection) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let done = work(state, &transaction)?;
        state.save(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    fn read_again(&mut self) -> Result<(), Failure> {
        let fails = |trouble: Trouble| trouble.into_failure(&self.path.display().to_string());
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("rollback").map_err(|error| fails(error.into()))?; // That had failed, too.
        }
        self.state = State::load(&self.connection).map_err(fails)?;
        self.held = self.state.held();
        self.is_doubtful = false;
        Ok(())
    }
}
