//! Registrations: who replicates, up to where, until when, and fenced by which epoch.

use super::types::{Time, Xid8, index, micros, pg_lsn, signed, small, unsigned, waypoint};
use super::{Database, failure};
use dormouse_core::fault::Failure;
use dormouse_core::hub::{EpochTaken, RenewRegistrations, SavePositions, TakeEpoch, Unregister};
use dormouse_core::position::{CommitTime, Waypoint};
use dormouse_core::session::{ClientId, Epoch};
use std::collections::BTreeSet;
use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

/// A client's entry in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Whose.
    pub client: ClientId,
    /// Of its newest session.
    pub epoch: Epoch,
    /// The last acknowledged position that was stored.
    pub position: Option<Waypoint>,
    /// When it ends unless renewed, by Postgres' clock.
    pub expires_at: CommitTime,
    /// When it last greeted, was renewed, or stored a position.
    pub seen_at: CommitTime,
}

/// The seven columns of a stored waypoint.
const POSITION: &str = "c.era_counter, c.era_id, c.schema, c.commit_lsn, c.index, c.xid, c.committed_at";

impl Database {
    /// Answers [`TakeEpoch`]; greetings that wait share a statement.
    ///
    /// # Errors
    /// As every question.
    pub async fn take_epoch(&self, q: TakeEpoch) -> Result<EpochTaken, Failure> {
        let database = self.clone();
        let work = move |batch| {
            let database = database.clone();
            async move { database.take_epochs(batch).await }
        };
        self.inner.epochs.ask(q, work).await
    }

    /// Answers [`SavePositions`].
    ///
    /// # Errors
    /// As every question.
    pub async fn save_positions(&self, q: SavePositions) -> Result<(), Failure> {
        let client = self.pool().get().await?;
        let sql = client.prepare_cached(SAVE_POSITIONS).await.map_err(failure::of)?;
        let mut rest = q.entries;
        while !rest.is_empty() {
            // An update takes one of several rows for the same client, and does not say which: so they go in rounds.
            let mut met = BTreeSet::new();
            let (round, later): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(id, _, _)| met.insert(id.clone()));
            rest = later;
            let ids: Vec<&str> = round.iter().map(|(id, _, _)| id.as_str()).collect();
            let epochs: Vec<i64> = round.iter().map(|(_, epoch, _)| signed(epoch.0)).collect();
            let p = Columns::of(round.iter().map(|(_, _, position)| *position));
            let saved = client
                .execute(
                    &sql,
                    &[
                        &ids,
                        &epochs,
                        &p.era_counters,
                        &p.era_ids,
                        &p.schemas,
                        &p.commit_lsns,
                        &p.indices,
                        &p.xids,
                        &p.times,
                        &q.fenced,
                        &q.monotonic,
                    ],
                )
                .await;
            saved.map_err(failure::of)?;
        }
        Ok(())
    }

    /// Answers [`RenewRegistrations`].
    ///
    /// # Errors
    /// As every question.
    pub async fn renew_registrations(&self, q: RenewRegistrations) -> Result<Vec<ClientId>, Failure> {
        let mut newest = std::collections::BTreeMap::new();
        for (client, epoch) in &q.entries {
            let newest = newest.entry(client.clone()).or_insert(*epoch);
            *newest = (*newest).max(*epoch);
        }
        let ids: Vec<&str> = newest.keys().map(ClientId::as_str).collect();
        let epochs: Vec<i64> = newest.values().map(|epoch| signed(epoch.0)).collect();
        let client = self.pool().get().await?;
        let sql = client.prepare_cached(RENEW).await.map_err(failure::of)?;
        let rows = client.query(&sql, &[&ids, &epochs, &micros(q.ttl)]).await.map_err(failure::of)?;
        let renewed: BTreeSet<&str> = rows.iter().map(|row| row.get(0)).collect();
        let fenced = |id: &ClientId, epoch: Epoch| !renewed.contains(id.as_str()) || newest.get(id) > Some(&epoch);
        Ok(q.entries.iter().filter(|(id, epoch)| fenced(id, *epoch)).map(|(id, _)| id.clone()).collect())
    }

    /// Answers [`Unregister`].
    ///
    /// # Errors
    /// As every question.
    pub async fn unregister(&self, q: Unregister) -> Result<(), Failure> {
        let client = self.pool().get().await?;
        let sql = "delete from dormouse.client where id = $1 and (epoch <= $2 or not $3)";
        client.execute(sql, &[&q.client.as_str(), &signed(q.epoch.0), &q.fenced]).await.map_err(failure::of).map(|_| ())
    }

    /// One living registration.
    ///
    /// # Errors
    /// As every question.
    pub async fn registration(&self, id: &ClientId) -> Result<Option<Registration>, Failure> {
        let client = self.pool().get().await?;
        let sql = format!("{} and c.id = $1", living());
        let row = client.query_opt(&sql, &[&id.as_str()]).await.map_err(failure::of)?;
        row.as_ref().map(registration).transpose()
    }

    /// The living registrations whose client ids follow `after`, in their order, `limit` at most.
    ///
    /// # Errors
    /// As every question.
    pub async fn registrations(&self, after: &str, limit: u32) -> Result<Vec<Registration>, Failure> {
        let client = self.pool().get().await?;
        let sql = format!("{} and c.id > $1 order by c.id limit $2", living());
        let rows = client.query(&sql, &[&after, &i64::from(limit)]).await.map_err(failure::of)?;
        rows.iter().map(registration).collect()
    }
}

const SAVE_POSITIONS: &str = "update dormouse.client c set era_counter = n.era_counter, era_id = n.era_id, schema = n.schema, \
       commit_lsn = n.commit_lsn, index = n.index, xid = n.xid, committed_at = n.committed_at, seen_at = now() \
     from unnest($1::text[], $2::int8[], $3::int4[], $4::int8[], $5::int4[], $6::pg_lsn[], $7::int8[], $8::xid8[], \
                 $9::timestamptz[]) n (id, epoch, era_counter, era_id, schema, commit_lsn, index, xid, committed_at) \
     where c.id = n.id and (n.epoch >= c.epoch or not $10::boolean) \
       and not ($11::boolean and n.commit_lsn is not null and c.commit_lsn is not null and c.epoch = n.epoch \
                and c.era_counter = n.era_counter and c.era_id = n.era_id \
                and (n.commit_lsn, n.index) < (c.commit_lsn, c.index))";

/// A registration that expired in use, and was deleted, is entered again.
const RENEW: &str = "insert into dormouse.client as c (id, attempt, epoch, expires_at) \
     select n.id, 0, n.epoch, clock_timestamp() + $3 * interval '1 microsecond' \
     from unnest($1::text[], $2::int8[]) n (id, epoch) order by n.id \
     on conflict (id) do update set expires_at = greatest(c.expires_at, excluded.expires_at), seen_at = now() \
     where c.epoch <= excluded.epoch returning c.id";

fn living() -> String {
    format!(
        "select c.id, c.epoch, c.expires_at, c.seen_at, {POSITION} from dormouse.client c where c.expires_at > now()"
    )
}

fn registration(row: &Row) -> Result<Registration, Failure> {
    Ok(Registration {
        client: ClientId::new(row.get(0)).map_err(|_| failure::corrupt("a client id that is none"))?,
        epoch: Epoch(unsigned(row.get(1))),
        expires_at: row.get::<_, Time>(2).0,
        seen_at: row.get::<_, Time>(3).0,
        position: stored(row, 4),
    })
}

pub(super) fn stored(row: &Row, from: usize) -> Option<Waypoint> {
    // All seven columns are NULL together.
    row.get::<_, Option<PgLsn>>(from + 3).and_then(|_| waypoint(row, from))
}

/// Waypoints as the columns of an `unnest`.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) era_counters: Vec<Option<i32>>,
    pub(super) era_ids: Vec<Option<i64>>,
    pub(super) schemas: Vec<Option<i32>>,
    pub(super) commit_lsns: Vec<Option<PgLsn>>,
    pub(super) indices: Vec<Option<i64>>,
    pub(super) xids: Vec<Option<Xid8>>,
    pub(super) times: Vec<Option<Time>>,
}

impl Columns {
    pub(super) fn of(positions: impl IntoIterator<Item = Option<Waypoint>>) -> Self {
        let mut columns = Self::default();
        for p in positions {
            columns.era_counters.push(p.map(|p| small(p.era.counter)));
            columns.era_ids.push(p.map(|p| signed(p.era.id)));
            columns.schemas.push(p.map(|p| small(p.schema.0)));
            columns.commit_lsns.push(p.map(|p| pg_lsn(p.position.commit_lsn)));
            columns.indices.push(p.map(|p| index(p.position.index)));
            columns.xids.push(p.map(|p| Xid8(p.xid)));
            columns.times.push(p.map(|p| Time(p.committed_at)));
        }
        columns
    }
}
