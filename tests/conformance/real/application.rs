//! The application on a real Postgres: one session per transaction of the script.

use super::lab::{Bench, connect, eventually};
use crate::conformance::op::{Act, Tx};
use crate::conformance::reply::Did;
use crate::conformance::{LARGE_BYTES, TABLES};
use dormouse_core::row::{Row, Value};
use dormouse_core::xid::{Snapshot, Xid};
use dormouse_sim::postgres::{Write, WriteError};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

enum Session {
    Open(Client),
    /// The commit waits for a standby.
    Held {
        pid: i32,
        commit: JoinHandle<()>,
    },
}

pub struct Application {
    url: String,
    sessions: BTreeMap<Tx, Session>,
    xids: BTreeSet<Xid>,
}

impl Application {
    pub const fn new(url: String) -> Self {
        Self { url, sessions: BTreeMap::new(), xids: BTreeSet::new() }
    }

    /// The ids that were given out to transactions of this application, as far as it was told.
    pub fn xids(&self) -> BTreeSet<Xid> {
        self.xids.clone()
    }

    /// The server fell over.
    pub async fn lose_all(&mut self) {
        for (_, session) in std::mem::take(&mut self.sessions) {
            if let Session::Held { commit, .. } = session {
                let _ = commit.await; // It failed, or was told that it is committed here only.
            }
        }
    }

    /// The run is over.
    pub async fn end_all(&mut self) {
        for (_, session) in std::mem::take(&mut self.sessions) {
            match session {
                Session::Held { pid, commit } => self.release(pid, commit).await,
                Session::Open(client) => client.batch_execute("rollback").await.expect("it rolls back"),
            }
        }
    }

    pub async fn act(&mut self, act: &Act, bench: &Bench<'_>) -> Did {
        match act {
            Act::Begin(tx) => {
                let client = connect(&self.url).await;
                client.batch_execute("begin").await.expect("a new session");
                self.sessions.insert(*tx, Session::Open(client));
                Did::Done
            }
            Act::AssignXid(tx) => {
                let Some(Session::Open(client)) = self.sessions.get(tx) else { return Did::Impossible };
                let row = client.query_one("select pg_current_xact_id()::text", &[]).await.expect("answers");
                let xid = Xid(row.get::<_, String>(0).parse().expect("an id"));
                self.xids.insert(xid);
                Did::Xid(xid)
            }
            Act::Write(tx, write) => {
                let Some(Session::Open(client)) = self.sessions.get(tx) else { return Did::Impossible };
                let wrote = in_a_savepoint(client, *write).await;
                if wrote.is_ok() {
                    let sql = "select pg_current_xact_id_if_assigned()::text";
                    let row = client.query_one(sql, &[]).await.expect("answers");
                    self.xids.insert(Xid(row.get::<_, String>(0).parse().expect("an id")));
                }
                Did::Wrote(wrote)
            }
            Act::Commit(tx) => {
                let Some(client) = self.take_open(*tx) else { return Did::Impossible };
                client.batch_execute("commit").await.expect("it commits");
                Did::Done
            }
            Act::CommitHeld(tx) => self.hold(*tx, bench).await,
            Act::Release(tx) => {
                let held = self.sessions.extract_if(*tx..=*tx, |_, session| matches!(session, Session::Held { .. }));
                let Some((_, Session::Held { pid, commit })) = held.last() else { return Did::Impossible };
                self.release(pid, commit).await;
                Did::Done
            }
            Act::Abort(tx) => {
                let Some(client) = self.take_open(*tx) else { return Did::Impossible };
                client.batch_execute("rollback").await.expect("it rolls back");
                Did::Done
            }
            Act::Run(writes) => {
                let client = bench.client();
                client.batch_execute("begin").await.expect("no transaction is open");
                let crowded = self.sessions.values().any(|session| matches!(session, Session::Open(_)));
                for write in writes {
                    // Alone, nothing can keep a statement waiting, and each is written as an ordinary client does.
                    let _ = if crowded { in_a_savepoint(client, *write).await } else { plain(client, *write).await };
                }
                client.batch_execute("commit").await.expect("it commits");
                Did::Done
            }
            Act::Alter { table, rewrite } => Did::Wrote(alter(bench.client(), *table, *rewrite).await),
            Act::Rows => rows(bench.client()).await,
            Act::Snapshot => {
                let row = bench.client().query_one("select pg_current_snapshot()::text", &[]).await.expect("answers");
                Did::Snapshot(Snapshot::parse(row.get(0)).expect("Postgres' own form"))
            }
        }
    }

    fn take_open(&mut self, tx: Tx) -> Option<Client> {
        let is_open = |_: &Tx, session: &mut Session| matches!(session, Session::Open(_));
        match self.sessions.extract_if(tx..=tx, is_open).last() {
            Some((_, Session::Open(client))) => Some(client),
            _ => None,
        }
    }

    /// Commits, and returns once the commit record is written and its session waits for the standby.
    async fn hold(&mut self, tx: Tx, bench: &Bench<'_>) -> Did {
        let Some(client) = self.take_open(tx) else { return Did::Impossible };
        let sql = "select pg_backend_pid(), pg_current_xact_id_if_assigned() is not null";
        let row = client.query_one(sql, &[]).await.expect("answers");
        if !row.get::<_, bool>(1) {
            return Did::Impossible; // Nothing to commit, and nothing waits.
        }
        let pid: i32 = row.get(0);
        client.batch_execute("set local synchronous_commit = on").await.expect("anyone may");
        // When it is told to wait no longer it says so in a warning; when the server falls over, by an error.
        let commit = tokio::spawn(async move { drop(client.batch_execute("commit").await) });
        let waits = "select coalesce(wait_event, '') from pg_stat_activity where pid = $1";
        eventually("the commit waits for its standby", async || {
            let row = bench.client().query_opt(waits, &[&pid]).await.expect("answers");
            row.is_some_and(|row| row.get::<_, String>(0) == "SyncRep")
        })
        .await;
        self.sessions.insert(tx, Session::Held { pid, commit });
        Did::Done
    }

    /// As if the standby had answered this one commit.
    async fn release(&self, pid: i32, commit: JoinHandle<()>) {
        let client = connect(&self.url).await;
        client.execute("select pg_cancel_backend($1)", &[&pid]).await.expect("a superuser may");
        commit.await.expect("its task does not panic");
    }
}

/// One statement. Without effect it leaves nothing behind, no lock either.
async fn in_a_savepoint(client: &Client, write: Write) -> Result<(), WriteError> {
    client.batch_execute("savepoint s").await.expect("a transaction is open");
    let wrote = plain(client, write).await;
    let end = if wrote.is_ok() { "release s" } else { "rollback to s; release s" };
    client.batch_execute(end).await.expect("the savepoint is there");
    wrote
}

async fn plain(client: &Client, write: Write) -> Result<(), WriteError> {
    let changed = match client.execute(&sql(write), &[]).await {
        Ok(changed) => changed,
        Err(why) if is_lock_timeout(&why) => return Err(WriteError::Locked),
        Err(why) => panic!("{write:?}: {why:?}"),
    };
    match write {
        Write::Truncate { .. } => Ok(()),
        _ if changed > 0 => Ok(()),
        Write::Insert { .. } => Err(WriteError::RowExists),
        Write::Update { .. } | Write::Delete { .. } => Err(WriteError::NoSuchRow),
        Write::Move { table, key, .. } => {
            let there = format!("select from t{table} where id = {key}");
            let there = client.query_opt(&there, &[]).await.expect("answers").is_some();
            Err(if there { WriteError::RowExists } else { WriteError::NoSuchRow })
        }
    }
}

fn is_lock_timeout(why: &Error) -> bool {
    why.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

fn sql(write: Write) -> String {
    let large = |value| format!("'{value}{}'", "~".repeat(LARGE_BYTES));
    match write {
        Write::Insert { table, key, value } => format!(
            "insert into t{table} (id, value, large) select {key}, '{value}', {} \
             where not exists (select from t{table} where id = {key})",
            large(value)
        ),
        Write::Update { table, key, value, large: false } => {
            format!("update t{table} set value = '{value}' where id = {key}")
        }
        Write::Update { table, key, value, large: true } => {
            format!("update t{table} set value = '{value}', large = {} where id = {key}", large(value))
        }
        Write::Move { table, key, to, value } => format!(
            "update t{table} set id = {to}, value = '{value}' where id = {key} \
             and not exists (select from t{table} where id = {to})"
        ),
        Write::Delete { table, key } => format!("delete from t{table} where id = {key}"),
        Write::Truncate { table } => format!("truncate t{table}"),
    }
}

/// With a constant for its default a column costs no rewrite; with an expression that is not constant it does.
async fn alter(client: &Client, table: usize, rewrite: bool) -> Result<(), WriteError> {
    let count = "select count(*)::text from pg_attribute where attrelid = $1::text::regclass and attnum > 3";
    let row = client.query_one(count, &[&format!("t{table}")]).await.expect("the table is there");
    let name = format!("added{}", row.get::<_, String>(0));
    let default = match rewrite {
        true => format!("(case when random() < 2 then '{name}' end)"),
        false => format!("'{name}'"),
    };
    match client.batch_execute(&format!("alter table t{table} add column {name} text default {default}")).await {
        Ok(()) => Ok(()),
        Err(why) if is_lock_timeout(&why) => Err(WriteError::Locked),
        Err(why) => panic!("{why:?}"),
    }
}

async fn rows(client: &Client) -> Did {
    let mut tables = Vec::new();
    for n in 0..TABLES {
        let rows = client.query(&format!("select * from t{n} t order by id"), &[]).await;
        let row = |row: &tokio_postgres::Row| {
            let id = row.get::<_, i64>(0).to_string();
            let texts = (1..row.len()).map(|column| row.get::<_, Option<&str>>(column));
            let texts = texts.map(|text| text.map_or(Value::Null, Value::Text));
            Row::of(std::iter::once(Value::Text(&id)).chain(texts))
        };
        tables.push((format!("public.t{n}"), rows.expect("answers").iter().map(row).collect()));
    }
    Did::Rows(tables)
}
