//! Where a snapshot meets the stream: commits that are decoded before they are visible.
//!
//! A standby that never comes keeps a commit waiting: its record is in the WAL and is decoded, while no new snapshot sees it.

use crate::support::site::connect;
use crate::support::{Site, call, eventually, holds};
use dormouse_runtime::demo::cluster::Cluster;
use std::time::Duration;

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'old'), (2, 'old')";

/// Commits wait for a standby of this name until they are let go.
pub async fn make_commits_wait(site: &Site) {
    let sql = site.sql().await;
    sql.batch_execute("alter system set synchronous_standby_names = 'nobody'").await.expect("a superuser may");
    sql.batch_execute("select pg_reload_conf()").await.expect("a superuser may");
    eventually("the setting holds", async || {
        let names = "select setting from pg_settings where name = 'synchronous_standby_names'";
        site.sql().await.query_one(names, &[]).await.is_ok_and(|row| row.get::<_, String>(0) == "nobody")
    })
    .await;
}

pub async fn let_commits_go(site: &Site) {
    let sql = site.sql().await;
    sql.batch_execute("set synchronous_commit = local").await.expect("anyone may");
    sql.batch_execute("alter system reset synchronous_standby_names").await.expect("a superuser may");
    sql.batch_execute("select pg_reload_conf()").await.expect("a superuser may");
}

/// Commits in the background, and returns once the commit waits for its standby.
pub async fn commit_and_wait(site: &Site, statement: &'static str) -> tokio::task::JoinHandle<()> {
    let sql = site.sql().await;
    let pid: i32 = sql.query_one("select pg_backend_pid()", &[]).await.expect("answers").get(0);
    let waiting = tokio::spawn(async move { sql.batch_execute(statement).await.expect("commits in the end") });
    let watcher = site.sql().await;
    let event = "select coalesce(wait_event, '') from pg_stat_activity where pid = $1";
    eventually("the commit waits for its standby", async || {
        watcher.query_one(event, &[&pid]).await.is_ok_and(|row| row.get::<_, String>(0) == "SyncRep")
    })
    .await;
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_decoded_before_it_is_visible_reaches_every_client_once() {
    let site = Site::start(ITEMS).await;
    let early = site.live_client("early").await;
    make_commits_wait(&site).await;
    let waiting = commit_and_wait(&site, "update item set name = 'new' where id = 1").await;
    // It is in the stream ...
    holds(&early, "public.item", &["1|new", "2|old"]).await;
    // ... and no snapshot sees it: a first sync must get it from its seam.
    let visible: String =
        site.sql().await.query_one("select name from item where id = 1", &[]).await.expect("answers").get(0);
    assert_eq!(visible, "old");
    let late = site.live_client("late").await;
    holds(&late, "public.item", &["1|new", "2|old"]).await;
    site.verify().await;
    let_commits_go(&site).await;
    waiting.await.expect("commits");
    site.verify().await;
    for client in [early, late] {
        holds(&client, "public.item", &["1|new", "2|old"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_does_not_end_at_the_first_younger_transaction() {
    younger_before_older(&[]).await;
}

/// Through the source that `serve` asks for.
pub async fn younger_before_older(serve: &[&str]) {
    let site = Site::start_with(ITEMS, &[], serve).await;
    let early = site.live_client("early").await;
    // The older transaction takes its id now and commits last, without waiting.
    let older = site.sql().await;
    older
        .batch_execute("set synchronous_commit = local; begin; insert into item values (10, 'older')")
        .await
        .expect("begins");
    make_commits_wait(&site).await;
    let younger = commit_and_wait(&site, "insert into item values (11, 'younger')").await;
    older.batch_execute("commit").await.expect("commits");
    // A snapshot now sees the older and not the younger, though the younger comes first in the stream.
    let visible: i64 =
        site.sql().await.query_one("select sum(id) from item where id > 2", &[]).await.expect("answers").get(0);
    assert_eq!(visible, 10);
    let late = site.live_client("late").await;
    let all = ["1|old", "2|old", "10|older", "11|younger"];
    holds(&late, "public.item", &all).await;
    site.verify().await;
    let_commits_go(&site).await;
    younger.await.expect("commits");
    holds(&early, "public.item", &all).await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_older_than_the_slot_is_not_lost() {
    let mut site = Site::start(ITEMS).await;
    site.server.kill();
    let drop = "select count(pg_drop_replication_slot(slot_name)) from pg_replication_slots where not active";
    let sql = site.sql().await;
    eventually("the slot is free", async || sql.query_one(drop, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) <= 1))
        .await;
    // It runs while the slot is made again, and commits long after.
    let older = site.sql().await;
    older.batch_execute("begin; update item set name = 'late' where id = 1").await.expect("begins");
    site.server.launch().expect("starts");
    let client = site.client("early");
    let other = site.sql().await;
    other.batch_execute("insert into item values (3, 'meanwhile')").await.expect("commits");
    tokio::select! {
        _ = client.wait_until_live() => {}
        () = tokio::time::sleep(Duration::from_millis(500)) => {} // A server may wait for the older one: both are right.
    }
    older.batch_execute("commit").await.expect("commits");
    holds(&client, "public.item", &["1|late", "2|old", "3|meanwhile"]).await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_syncs_under_load_are_exact() {
    let site = Site::start("create table counter (id int primary key, n bigint); insert into counter select i, 0 from generate_series(1, 200) i").await;
    let url = site.cluster.url();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (url, stopped) = (url.clone(), stopped.clone());
            tokio::spawn(async move {
                let sql = connect(&url).await;
                let mut n = writer;
                while !*stopped.borrow() {
                    n += 7;
                    let update = "update counter set n = n + 1 where id in ($1, $1 + 1)";
                    let _ = sql.execute(update, &[&(n % 199 + 1)]).await; // Two writers may lock each other out.
                }
            })
        })
        .collect();
    for _ in 0..5 {
        tokio::join!(site.verify(), site.verify(), site.verify());
    }
    stop.send_replace(true);
    for writer in writers {
        writer.await.expect("writes");
    }
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_on_a_busy_database() {
    use dormouse_runtime::demo::workload::{Writers, prepare};
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    prepare(&cluster.url(), 500).await.expect("prepared");
    let writers = Writers::start(&cluster.url(), rand::random(), 500);
    let sql = connect(&cluster.url()).await;
    eventually("the writers are at work", async || {
        sql.query_one("select count(*) from ledger", &[]).await.is_ok_and(|row| row.get::<_, i64>(0) > 20)
    })
    .await;
    let site = Site::serve(cluster, &[]).await;
    site.verify().await;
    site.verify().await;
    writers.stop().await;
    site.verify().await;
}

/// Lets `change` commit while a slot is created, in such a way that the slot's decoder will not know of it.
///
/// The table is changed after the slot's first look at what runs, and another transaction writes before that commits: whoever
/// decodes again from the first look goes on with what was known at that write.
async fn change_unseen(url: &str, create: impl AsyncFnOnce(), change: &str) {
    let (sql, first, second, third) = (connect(url).await, connect(url).await, connect(url).await, connect(url).await);
    let is_awaited = async |of: &tokio_postgres::Client| {
        let xid = of.query_one("select txid_current()::text", &[]).await.expect("answers");
        let xid: &str = xid.get(0);
        let waits =
            "select from pg_locks where locktype = 'transactionid' and not granted and transactionid = $1::text::xid";
        eventually("the slot waits for the transaction", async || {
            sql.query(waits, &[&xid]).await.is_ok_and(|rows| !rows.is_empty())
        })
        .await;
    };
    first.batch_execute("begin; select txid_current()").await.expect("begins");
    create().await;
    is_awaited(&first).await;
    second.batch_execute(&format!("begin; {change}")).await.expect("changes");
    first.batch_execute("commit").await.expect("commits");
    is_awaited(&second).await;
    third.batch_execute("begin; insert into other values (1)").await.expect("writes");
    second.batch_execute("commit").await.expect("commits");
    let made = "select from pg_replication_slots where confirmed_flush_lsn is not null";
    eventually("the slot is made", async || sql.query(made, &[]).await.is_ok_and(|rows| rows.len() == 1)).await;
    third.batch_execute("commit").await.expect("commits");
}

const OTHER: &str = "create table other (id int primary key)";
const DROP: &str = "select pg_drop_replication_slot(slot_name) from pg_replication_slots";

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_slot_is_made_is_known_to_it() {
    for (change, insert, rows) in [
        ("truncate item", "insert into item values (4, 'newer')", ["4|newer"].as_slice()),
        (
            "alter table item add column n int default 7",
            "insert into item values (4, 'newer', 5)",
            &["1|old|7", "2|old|7", "4|newer|5"],
        ),
    ] {
        let mut site = Site::start(&format!("{ITEMS}; {OTHER}")).await;
        site.server.kill();
        let sql = site.sql().await;
        eventually("the slot is gone", async || sql.batch_execute(DROP).await.is_ok()).await;
        let url = site.cluster.url();
        change_unseen(&url, async || site.server.launch().expect("starts"), change).await;
        site.server.await_open().await.expect("opens");
        let client = site.live_client("early").await;
        site.execute(insert).await;
        holds(&client, "public.item", rows).await;
        site.verify().await;
        let log = site.server.log();
        assert!(!log.contains("could not map filenode"), "the slot could not be decoded: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_a_slot_was_made_by_hand_is_known_to_it() {
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    let sql = connect(&cluster.url()).await;
    sql.batch_execute(&format!("{ITEMS}; {OTHER}")).await.expect("the preparation is valid SQL");
    assert!(call(&["setup", "--database-url", &cluster.url()]).await.status.success());
    make_by_hand(&cluster.url(), "alter table item add column n int default 7").await;
    knows_the_column(Site::serve(cluster, &[]).await, 0).await;
}

/// As when a server was killed right after it had made the slot of another era.
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_slot_of_a_later_era_was_made_is_known_to_it() {
    let mut site = Site::start(&format!("{ITEMS}; {OTHER}")).await;
    site.live_client("before").await; // There is an era.
    site.server.kill();
    make_by_hand(&site.cluster.url(), "alter table item add column n int default 7").await;
    site.server.launch().expect("starts");
    site.server.await_open().await.expect("opens");
    knows_the_column(site, 1).await;
}

/// Of the server's slots so many are its own.
async fn knows_the_column(site: Site, created: usize) {
    let client = site.live_client("early").await;
    site.execute("insert into item values (4, 'newer', 5)").await;
    holds(&client, "public.item", &["1|old|7", "2|old|7", "4|newer|5"]).await;
    site.verify().await;
    let log = site.server.log();
    assert_eq!(log.matches("creating the slot").count(), created, "it is adopted: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_postgres_cannot_decode_is_made_anew() {
    undecodable(&[]).await;
}

/// Puts another in the place of the server's slot, whose decoder does not know of `change`.
async fn make_by_hand(url: &str, change: &str) {
    let (sql, by_hand) = (connect(url).await, connect(url).await);
    let slot: String =
        sql.query_one("select slot_name::text from pg_replication_slots", &[]).await.expect("one").get(0);
    eventually("the slot is gone", async || sql.batch_execute(DROP).await.is_ok()).await;
    let create = async || {
        let create = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        tokio::spawn(async move { by_hand.batch_execute(&create).await.expect("it is made") });
    };
    change_unseen(url, create, change).await;
}

/// Through the source that `serve` asks for: such a slot fails at a row of a truncated table, for ever.
///
/// A slot is settled before an era begins on it. So history is made to say that it reaches to the slot: the era is kept.
pub async fn undecodable(serve: &[&str]) {
    let mut site = Site::start_with(&format!("{ITEMS}; {OTHER}"), &[], serve).await;
    site.live_client("before").await; // There is an era.
    site.server.kill();
    make_by_hand(&site.cluster.url(), "truncate item").await;
    site.execute("update dormouse.era set covered_lsn = pg_current_wal_insert_lsn()").await;
    site.execute("insert into item values (4, 'newer')").await;
    site.server.launch().expect("starts");
    site.server.await_open().await.expect("opens");
    let client = site.live_client("early").await;
    holds(&client, "public.item", &["4|newer"]).await;
    site.verify().await;
    let log = site.server.log();
    assert!(log.contains("could not map filenode"), "the slot could be decoded: {log}");
    assert_eq!(log.matches("a new slot begins a new era").count(), 1, "{log}");
}
