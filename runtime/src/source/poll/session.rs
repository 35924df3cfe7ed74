//! The SQL of polling: one connection, the only one of ours that polls this database.

use super::watch::{Running, Sight};
use crate::db::{APPLICATION_NAME, Database};
use crate::source::trouble;
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use futures::StreamExt;
use std::pin::Pin;
use std::time::Duration;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Row, RowStream, Statement};

/// How often the right to poll is tried again after our own stale session was told to end.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// Names the advisory lock of the session that polls a database ("dorm"). Held as a walsender holds the slot.
const LOCK: i32 = 0x646f_726d;

/// What is left of a peek.
pub(super) type Rows = Pin<Box<RowStream>>;

pub(super) struct Session {
    client: Client,
    looking: Statement,
    peeking: Statement,
    slot: String,
    publication: String,
}

/// Why a statement failed.
pub(super) enum Refusal {
    /// Another process has the slot.
    Busy,
    /// All else.
    Failed(Failure),
}

impl Session {
    /// Connects, and ends an older session of ours that polls this database.
    pub(super) async fn open(database: &Database) -> Result<Self, Failure> {
        let client = database.dedicated().await?;
        // A peek takes as long as the WAL is long, and a look may rest between two.
        client.batch_execute("set statement_timeout = 0; set idle_session_timeout = 0").await.map_err(failure)?;
        take_over(&client).await?;
        // The functions run after the statement's own snapshot was taken.
        let looking = "select pg_current_snapshot()::text, l.xmin::text, l.xmax::text, pg_current_wal_insert_lsn(), \
               pg_current_wal_flush_lsn(), (select s.confirmed_flush_lsn from pg_replication_slots s where s.slot_name = $1) \
             from dormouse.lease l";
        let peeking = "select data from pg_logical_slot_peek_binary_changes($1, null, $2, 'proto_version', '1', 'publication_names', $3)";
        let looking = client.prepare(looking).await.map_err(failure)?;
        let peeking = client.prepare(peeking).await.map_err(failure)?;
        // Unquoted, the server would fold the publication's name to lower case.
        let publication = format!("\"{}\"", database.publication().replace('"', "\"\""));
        Ok(Self { client, looking, peeking, slot: database.slot_name(), publication })
    }

    /// Looks at WAL, at the transactions, and at how far the slot is confirmed. `None` when there is no such slot.
    pub(super) async fn look(&self) -> Result<(Sight, Option<Lsn>), Failure> {
        let row = self.client.query_one(&self.looking, &[&self.slot]).await.map_err(failure)?;
        let unreadable = || Failure::Unavailable("Postgres described its transactions in an unknown way".into());
        let xid = |n: usize| row.get::<_, &str>(n).parse::<u32>().map_err(|_| unreadable());
        let sight = Sight {
            running: Running::parse(row.get(0)).ok_or_else(unreadable)?,
            own: [xid(1)?, xid(2)?],
            inserted: lsn(row.get(3)),
            flushed: lsn(row.get(4)),
        };
        Ok((sight, row.get::<_, Option<PgLsn>>(5).map(lsn)))
    }

    /// Reads whole transactions from what is confirmed on, until at least `messages_max` messages were told. Returns the first
    /// message once all of them are decoded, and the others, which come as they are taken.
    pub(super) async fn peek(&self, messages_max: i32) -> Result<(Option<Row>, Rows), Refusal> {
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.slot, &messages_max, &self.publication];
        let mut rows = Box::pin(self.client.query_raw(&self.peeking, parameters).await.map_err(refusal)?);
        let first = rows.next().await.transpose().map_err(refusal)?;
        Ok((first, rows))
    }

    /// Lets Postgres forget the WAL below `to`. Returns how far the slot is confirmed then.
    pub(super) async fn advance(&self, to: Lsn) -> Result<Lsn, Refusal> {
        let sql = "select end_lsn from pg_replication_slot_advance($1, $2)";
        let row = self.client.query_one(sql, &[&self.slot, &PgLsn::from(to.0)]).await.map_err(refusal)?;
        Ok(lsn(row.get(0)))
    }
}

/// Two that polled by turns would each find the slot held by the other at times; so the later one ends the earlier.
async fn take_over(client: &Client) -> Result<(), Failure> {
    let end = "select pg_terminate_backend(l.pid) from pg_locks l join pg_stat_activity a using (pid) \
         where l.locktype = 'advisory' and l.classid::bigint = $1::int and l.objid::bigint = 0 and l.objsubid = 2 and l.granted \
           and l.database = (select oid from pg_database where datname = current_database()) \
           and a.application_name = $2 and l.pid <> pg_backend_pid()";
    for _ in 0..TRIES {
        let taken = client.query_one("select pg_try_advisory_lock($1::int, 0)", &[&LOCK]).await.map_err(failure)?;
        if taken.get(0) {
            return Ok(());
        }
        if !client.query(end, &[&LOCK, &APPLICATION_NAME]).await.map_err(failure)?.is_empty() {
            tracing::info!("ended a stale session of ours that polled");
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Failure::Unavailable("another session polls this database and does not end".into()))
}

fn lsn(lsn: PgLsn) -> Lsn {
    Lsn(lsn.into())
}

fn refusal(error: tokio_postgres::Error) -> Refusal {
    if trouble::is_busy(error.code().map(tokio_postgres::error::SqlState::code)) {
        Refusal::Busy
    } else {
        Refusal::Failed(failure(error))
    }
}

/// Sorts an error of the polling connection by who must act.
pub(super) fn failure(error: tokio_postgres::Error) -> Failure {
    use std::error::Error as _;
    if let Some(db) = error.as_db_error() {
        let code = db.code().code();
        return trouble::sort(Some(code), format!("polling the slot: {} (SQLSTATE {code})", db.message()));
    }
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    Failure::Unavailable(format!("polling the slot: {error}{cause}"))
}
