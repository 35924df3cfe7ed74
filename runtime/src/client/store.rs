//! Where a replica keeps its rows.

use super::Status;
use dormouse_core::client::Notice;
use dormouse_core::fault::Failure;
use dormouse_core::store::{Held, MemoryStore, StoreRequest};

/// A replica's store. Whoever implements it makes each request one local transaction: all of it is durable, or none.
pub trait Store: Send + 'static {
    /// What is durably held.
    fn held(&self) -> Held;

    /// Carries out one request and returns what is then held.
    ///
    /// # Errors
    /// When nothing was stored; the client goes back to what [`Store::held`] says, and tries again.
    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure>;

    /// Hears what the application is told, in order with the requests. Must be short.
    fn told(&mut self, notice: &Notice, status: &Status) {
        let _ = (notice, status);
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
