//! A database that is met again: the same as before, or what it was earlier. Looked at whenever a connection is opened.
//!
//! To restore a database its server must end, and with it every connection. So whatever is asked of the restored one is
//! asked over a connection that was opened since, and here is where all of them are.

use super::catalogue::{EVIDENCE, evidence};
use super::types::unsigned;
use dormouse_core::fault::Failure;
use dormouse_core::lineage::Sighting;
use dormouse_core::safeguard::Safeguards;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

/// What this process knows of its database.
#[derive(Default)]
pub(super) struct Lineage {
    /// None until the schema is there.
    newest: Mutex<Option<Sighting>>,
    broken: OnceLock<String>,
    ended: CancellationToken,
}

impl Lineage {
    /// The first look, when the schema is there.
    pub(super) async fn begin(&self, client: &Client) -> Result<(), Failure> {
        let found = sighting(client).await?;
        self.newest().get_or_insert(found);
        Ok(())
    }

    /// Lets a new connection be used, if what it reaches is a later state of the same database. Nothing is asked of another.
    pub(super) async fn look(&self, client: &Client) -> Result<(), Failure> {
        self.holds()?;
        // Taken first: what others see meanwhile may be newer than what is found here.
        let Some(earlier) = self.newest().clone() else { return Ok(()) };
        let found = sighting(client).await?;
        if let Some(why) = found.breaks_with(&earlier, Safeguards::ALL) {
            let why = self.broken.get_or_init(|| why);
            self.ended.cancel();
            return Err(Failure::Unavailable(why.clone()));
        }
        if let Some(newest) = &mut *self.newest() {
            newest.follow(&found, &earlier);
        }
        self.holds()
    }

    /// Refuses when the database was met as another.
    pub(super) fn holds(&self) -> Result<(), Failure> {
        self.broken.get().map_or(Ok(()), |why| Err(Failure::Unavailable(why.clone())))
    }

    /// The lease was seen to have been renewed so often.
    pub(super) fn renewed(&self, renewals: u64) {
        if let Some(newest) = &mut *self.newest() {
            newest.renewals = newest.renewals.max(renewals);
        }
    }

    /// Waits until the database was met as another, and tells why it is.
    pub(super) async fn ended(&self) -> String {
        self.ended.cancelled().await;
        self.broken.get().cloned().unwrap_or_default()
    }

    fn newest(&self) -> MutexGuard<'_, Option<Sighting>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sighting(client: &Client) -> Result<Sighting, Failure> {
    let sql = format!(
        "select {EVIDENCE}, renewals, (extract(epoch from pg_postmaster_start_time()) * 1000000)::int8, \
         case when started_at = pg_postmaster_start_time() then renewals_at_start else renewals end from dormouse.lease"
    );
    // Whatever is wrong may pass: while a standby is promoted, for one, it has no such place.
    let row = client.query_one(&sql, &[]).await.map_err(|why| match super::failure::of(why) {
        Failure::Refused(why) | Failure::Unavailable(why) => Failure::Unavailable(why),
    })?;
    let [renewals, started, renewals_at_start] = [3, 4, 5].map(|column| unsigned(row.get(column)));
    Ok(Sighting { evidence: evidence(&row, 0), renewals, started, renewals_at_start })
}
