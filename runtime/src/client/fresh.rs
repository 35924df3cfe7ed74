//! Waits until a replica shows what was committed, by whomever, before the wait began.

use super::driver::Command;
use super::{Client, Status, Stopped, Store};
use dormouse_core::position::{Lsn, Waypoint};
use std::time::Duration;

/// How long [`Client::wait_until_shown`] relies on what comes by itself, before the client greets once more.
const PATIENCE: Duration = Duration::from_millis(250);

impl<S: Store> Client<S> {
    /// Waits until everything that was committed before this call is applied. May be cancelled.
    ///
    /// The server promises that once per greeting, so the client greets once more over a new connection and goes on from where it
    /// stands: a fraction of a second (see `backoff_first` in its configuration). A first sync is never cut short by it. Several that
    /// wait at once share one greeting.
    ///
    /// # Errors
    /// When the client stops instead.
    pub async fn wait_until_fresh(&self) -> Result<Option<Waypoint>, Stopped> {
        let since = self.status.borrow().greetings;
        let is_fresh = |status: &Status| status.live && status.greetings > since;
        let status = self.wait_for(|status| status.live).await?;
        if is_fresh(&status) {
            return Ok(status.shown);
        }
        let _ = self.commands.send(Command::Greet { since }).await; // It has stopped, if nobody takes it: the wait says so.
        self.wait_for(is_fresh).await.map(|status| status.shown)
    }

    /// Waits until every transaction that committed below `lsn` is applied. May be cancelled.
    ///
    /// To read your own write: after its COMMIT, ask `select pg_current_wal_insert_lsn()` and wait for that. When no later transaction
    /// comes by within a quarter of a second, which would show it, the client makes sure as [`Client::wait_until_fresh`] does.
    ///
    /// # Errors
    /// When the client stops instead.
    pub async fn wait_until_shown(&self, lsn: Lsn) -> Result<Option<Waypoint>, Stopped> {
        let is_past = |status: &Status| {
            // Places of an era that is over cannot be compared with a database that may have been restored since.
            let era = status.welcome.map(|(era, _)| era);
            status.shown.is_some_and(|shown| Some(shown.era) == era && shown.position.commit_lsn >= lsn)
        };
        match tokio::time::timeout(PATIENCE, self.wait_for(is_past)).await {
            Ok(shown) => shown.map(|status| status.shown),
            Err(_) => self.wait_until_fresh().await,
        }
    }
}
