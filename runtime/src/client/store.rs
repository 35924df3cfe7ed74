//! Where a replica keeps its rows.

use super::Status;
use dormouse_core::change::Scope;
use dormouse_core::client::Notice;
use dormouse_core::fault::Failure;
use dormouse_core::session::ClientId;
use dormouse_core::store::{Held, MemoryStore, StoreRequest};

/// A replica's store. Whoever implements it makes each request one local transaction: all of it is durable, or none.
pub trait Store: Send + 'static {
    /// A client begins to use it, to hold this scope. A store that outlives the process remembers both: what it holds of another
    /// scope is no place to go on from.
    ///
    /// # Errors
    /// When that cannot be noted; the client then stops.
    fn begin(&mut self, client: &ClientId, scope: &Scope) -> Result<(), Failure> {
        let _ = (client, scope);
        Ok(())
    }

    /// What is durably held.
    fn held(&self) -> Held;

    /// Carries out one request and returns what is then held.
    ///
    /// # Errors
    /// When nothing was stored; the client goes back to what [`Store::held`] says, and tries again.
    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure>;

    /// Whether a request may take long enough to hold up a thread that others wait for: then it is carried out on one of its own.
    fn blocks(&self) -> bool {
        false
    }

    /// Hears what the application is told, in order with the requests. Must be short.
    fn told(&mut self, notice: &Notice, status: &Status) {
        let _ = (notice, status);
    }
}

/// A store whose rows can be compared with those of another.
pub trait Replica: Store {
    /// All that is shown, as a store in memory that stands at the same place. Takes as much memory as all rows.
    ///
    /// # Errors
    /// When the rows cannot be read.
    fn contents(&self) -> Result<MemoryStore, Failure>;
}

impl Replica for MemoryStore {
    fn contents(&self) -> Result<MemoryStore, Failure> {
        Ok(self.clone())
    }
}

impl Store for MemoryStore {
    fn held(&self) -> Held {
        Self::held(self)
    }

    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure> {
        Ok(Self::apply(self, request))
    }
}
