//! From a committed row to a client, and back to it after every kind of interruption.

use crate::support::site::{connect, options};
use crate::support::{PATIENCE, Raw, Site, eventually, holds, rows};
use dormouse_core::change::Scope;
use dormouse_core::client::Notice;
use dormouse_core::fault::ResyncReason;
use dormouse_core::session::ClientId;
use dormouse_core::store::MemoryStore;
use dormouse_core::wire::{ClientMessage, Hello, Resume, ServerMessage};
use dormouse_runtime::client::Client;
use dormouse_runtime::demo::cluster::Cluster;
use dormouse_runtime::demo::proxy::Proxy;
use std::time::Duration;

const ITEMS: &str = "create table item (id int primary key, name text, price numeric);
    insert into item values (1, 'one', 1.50), (2, null, 2)";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_reaches_a_client_and_every_change_follows() {
    every_change(&[]).await;
}

/// Through the source that `serve` asks for.
pub async fn every_change(serve: &[&str]) {
    let site = Site::start_with(ITEMS, &[], serve).await;
    let client = site.live_client("a").await;
    holds(&client, "public.item", &["1|one|1.50", "2|null|2"]).await;

    site.execute("insert into item values (3, 'three', 3)").await;
    holds(&client, "public.item", &["1|one|1.50", "2|null|2", "3|three|3"]).await;
    site.execute("update item set name = 'two' where id = 2; delete from item where id = 1").await;
    holds(&client, "public.item", &["2|two|2", "3|three|3"]).await;
    site.execute("update item set id = 20 where id = 2").await;
    holds(&client, "public.item", &["20|two|2", "3|three|3"]).await;
    site.execute("begin; truncate item; insert into item values (7, 'seven', 'NaN'); commit").await;
    holds(&client, "public.item", &["7|seven|NaN"]).await;
    // Rolled back changes never leave the database.
    site.execute("begin; insert into item values (8, 'eight', 8); rollback; delete from item").await;
    holds(&client, "public.item", &[]).await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_as_postgres_writes_it() {
    let site = Site::start(
        "create type mood as enum ('sad', 'so so', 'happy');
         create table thing (id bigint primary key, flag boolean, small smallint, real4 real, real8 double precision,
             exact numeric, doc jsonb, raw json, bytes bytea, day date, moment timestamptz, span interval,
             many int[], feeling mood, net inet, words text, fixed char(5), unique_id uuid);
         insert into thing values (9007199254740993, true, -1, 0.1, 1e300, 12345678901234567890.123456789, '{\"a\": [1, null]}',
             '{ \"b\" : \"\\u00e9\" }', '\\x00ff', '2026-11-23', '2026-11-23 12:00:00.123456+02', '1 year 2 days 03:04:05.6',
             '{1,NULL,3}', 'so so', '10.0.0.1/8', E'tab\\t, newline\\n, quote \", backslash \\\\, emoji \u{1F400}', 'ab',
             '8e0ba3b6-26f5-4c7b-9f3c-6c0b3c1f1a11'),
             (2, null, null, 'NaN', '-Infinity', 'NaN', null, null, '', 'infinity', '-infinity', null, '{}', null, null, '', '', null)",
    )
    .await;
    let client = site.live_client("a").await;
    assert_eq!(client.read(|store| rows(store, "public.thing").len()), 2);
    site.verify().await;
    site.execute("update thing set flag = not flag, small = 7, doc = '{\"z\":1e5}', words = 'x' || words").await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_before_a_client_connected_it_has_seen() {
    let site = Site::start(ITEMS).await;
    let sql = site.sql().await;
    for n in 10..40 {
        sql.execute("insert into item values ($1, 'fresh', 0)", &[&n]).await.expect("commits");
        let client = site.live_client(&format!("fresh-{}", n % 3)).await;
        let count = client.read(|store| rows(store, "public.item").len());
        assert_eq!(count, usize::try_from(n).expect("small") - 7, "told that it is live");
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_gets_what_it_missed_and_nothing_else() {
    let site = Site::start(ITEMS).await;
    let client = site.live_client("a").await;
    let store = client.store();
    client.close().await;
    site.execute("insert into item values (3, 'three', 3); update item set price = 9 where id = 1").await;
    let client = Client::connect_shared(site.options("a"), store);
    client.wait_until_live().await.expect("welcome");
    holds(&client, "public.item", &["1|one|9", "2|null|2", "3|three|3"]).await;
    assert_eq!(client.status().borrow().resyncs, 0, "no row came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_large_values_stay() {
    unchanged_values(&[]).await;
}

/// Through the source that `serve` asks for.
pub async fn unchanged_values(serve: &[&str]) {
    let body = "repeat(md5('a'), 2000)";
    let tables = format!(
        "create table document (id int primary key, revision int, body text);
         alter table document alter body set storage external;
         insert into document values (1, 0, {body}), (2, 0, {body})"
    );
    let site = Site::start_with(&tables, &[], serve).await;
    let client = site.live_client("a").await;
    site.execute("update document set revision = 1; update document set id = 3 where id = 2").await;
    let whole = |id: &str| format!("{id}|1|{}", "0cc175b9c0f1b6a831c399e269772661".repeat(2000));
    let expected = [whole("1"), whole("3")];
    eventually("the key moves", async || client.read(|store| rows(store, "public.document")) == expected).await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_kept() {
    let site = Site::start(
        "create table a (id int primary key); create table b (id int primary key); insert into b values (1)",
    )
    .await;
    let options = site.options("scoped").with_tables(["public.b".to_owned()]);
    let client = Client::connect(options, MemoryStore::default());
    client.wait_until_live().await.expect("welcome");
    site.execute("insert into a values (1); insert into b values (2); insert into a values (2)").await;
    holds(&client, "public.b", &["1", "2"]).await;
    assert_eq!(client.read(|store| store.tables().iter().count()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_and_postgres_restart_in_order_and_nobody_starts_again() {
    orderly_restarts(&[]).await;
}

/// Through the source that `serve` asks for.
pub async fn orderly_restarts(serve: &[&str]) {
    let mut site = Site::start_with(ITEMS, &[], serve).await;
    let client = site.live_client("a").await;
    assert!(site.server.stop(Duration::from_secs(10)), "it ends when it is asked to");
    site.execute("insert into item values (3, 'three', 3)").await;
    site.server.launch().expect("starts");
    holds(&client, "public.item", &["1|one|1.50", "2|null|2", "3|three|3"]).await;
    // Something that is not synced has moved the WAL beyond what was confirmed: Postgres must not wait for that.
    site.execute("create table unsynced (line text); insert into unsynced values ('x')").await;
    assert!(site.cluster.stop(), "we do not hold up the shutdown of Postgres");
    site.cluster.launch().expect("comes back");
    site.execute("insert into item values (4, 'four', 4)").await;
    holds(&client, "public.item", &["1|one|1.50", "2|null|2", "3|three|3", "4|four|4"]).await;
    assert_eq!(client.status().borrow().resyncs, 0);
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evicted_hubs_wake_and_go_on() {
    let site = Site::start(ITEMS).await;
    let client = site.live_client("a").await;
    let welcomes = client.status().borrow().welcomes;
    for n in 10..20 {
        site.server.hibernate();
        site.execute(&format!("insert into item values ({n}, 'after', 0)")).await;
        let count = n as usize - 7;
        eventually("the change arrives", async || client.read(|store| rows(store, "public.item").len()) == count).await;
    }
    assert_eq!(client.status().borrow().welcomes, welcomes, "the socket stayed open through it all");
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_atomic_and_resumed_in_its_middle() {
    large_transaction(&[]).await;
}

/// Through the source that `serve` asks for.
pub async fn large_transaction(serve: &[&str]) {
    const ROWS: usize = 200_000;
    let tables = "create table bulk (id int primary key, filler text); create table mark (id int primary key)";
    let site = Site::start_with(tables, &[], serve).await;
    let proxy = Proxy::start(site.server.port()).await.expect("a port");
    let options = options(&format!("ws://127.0.0.1:{}", proxy.port()), "large");
    let client = Client::connect(options, MemoryStore::default());
    client.wait_until_live().await.expect("welcome");
    let insert = format!(
        "begin; insert into bulk select i, 'filler ' || i from generate_series(1, {ROWS}) i; insert into mark values (1);
         commit"
    );
    let writing = site.execute(&insert);
    let mut cuts = 0;
    let mut staged_at_cut = Vec::new();
    let watching = async {
        loop {
            let (shown, (pieces, _)) = client.read(|store| (rows_count(store), store.staged()));
            assert!(shown == 0 || shown == ROWS, "{shown} rows are the middle of a transaction");
            if shown == ROWS {
                break;
            }
            if pieces > 3 * (cuts + 1) && cuts < 3 {
                cuts += 1;
                staged_at_cut.push(pieces);
                proxy.cut(|| true);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (watched, ()) = tokio::join!(tokio::time::timeout(PATIENCE, watching), writing);
    watched.expect("it arrives");
    assert!(cuts > 0, "it was cut in the middle, at {staged_at_cut:?} pieces");
    assert_eq!(client.read(|store| store.held().anomalies), 0);
    assert_eq!(client.status().borrow().resyncs, 0, "resumed, not begun again");
    let peak_kb = site.memory_kb("VmHWM");
    println!("{ROWS} rows in one transaction, cut {cuts} times; the server's peak memory was {peak_kb} kB");
    assert!(peak_kb < 150_000, "the server takes {peak_kb} kB");
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_never_whole_in_memory() {
    let bulk = "create table bulk (id int primary key, filler text);
        insert into bulk select i, md5(i::text) || repeat(md5(i::text), 7) from generate_series(1, 500000) i";
    let site = Site::start(bulk).await;
    let before_kb = site.memory_kb("VmHWM");
    let mut raw = Raw::dial(site.server.port()).await;
    let client = ClientId::new("first").expect("valid");
    let (instance, resume) = (Some(1), Resume::Nothing);
    let hello = Hello { client, instance, attempt: 1, token: None, scope: Scope::All, resume };
    raw.say(&ClientMessage::Hello(hello)).await;
    // The first chunk is sent once the whole snapshot, of more than 128 MB, is in its spool.
    while !matches!(raw.next().await.expect("it is served"), ServerMessage::Chunk { of: 500_000, .. }) {}
    let grown_kb = site.memory_kb("VmHWM") - before_kb;
    println!("a snapshot of 500,000 rows took the server {grown_kb} kB at most");
    assert!(grown_kb < 40_000, "the server took {grown_kb} kB for it");
}

fn rows_count(store: &MemoryStore) -> usize {
    store.table("public.bulk").map_or(0, |table| table.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_means_everything_again() {
    let first = Site::start(ITEMS).await;
    let other =
        Site::start("create table item (id int primary key, name text); insert into item values (5, 'five')").await;
    let client = first.live_client("a").await;
    let store = client.store();
    client.close().await;
    let client = Client::connect_shared(other.options("a"), store);
    let mut events = client.events();
    client.wait_until_live().await.expect("welcome");
    holds(&client, "public.item", &["5|five"]).await;
    let mut reasons = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Notice::Resync { reason } = event {
            reasons.push(reason);
        }
    }
    assert_eq!(reasons, [ResyncReason::OtherEra]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_begins_an_era_and_everything_comes_again() {
    lost_slot(&[]).await;
}

/// Through the source that `serve` asks for.
pub async fn lost_slot(serve: &[&str]) {
    let mut site = Site::start_with(ITEMS, &[], serve).await;
    let client = site.live_client("a").await;
    let era = client.status().borrow().shown.expect("live").era;
    site.server.kill();
    site.execute("insert into item values (3, 'lost to the slot', 3)").await;
    let sql = site.sql().await;
    let drop = "select count(pg_drop_replication_slot(slot_name)) from pg_replication_slots where not active";
    eventually("the slot is dropped", async || {
        sql.query_one(drop, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    })
    .await;
    site.server.launch().expect("starts");
    holds(&client, "public.item", &["1|one|1.50", "2|null|2", "3|lost to the slot|3"]).await;
    assert_ne!(client.status().borrow().shown.expect("live").era, era);
    assert!(client.status().borrow().resyncs > 0);
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_is_not_disturbed_and_tables_without_a_key_are_named() {
    let site = Site::start(
        "create table log (line text); insert into log values ('a'); create table item (id int primary key)",
    )
    .await;
    let client = site.live_client("a").await;
    site.execute("update log set line = 'b'; delete from log; insert into item values (1)").await;
    holds(&client, "public.item", &["1"]).await;
    assert!(client.read(|store| store.table("public.log").is_none()));
    assert!(site.server.log().contains("public.log"), "a warning names it: {}", site.server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_database_does_not_hold_back_wal() {
    idle_wal(&[]).await;
}

/// Through the source that `serve` asks for.
pub async fn idle_wal(serve: &[&str]) {
    let cluster = Cluster::start().expect("starts");
    connect(&cluster.url())
        .await
        .batch_execute("create table item (id int primary key); create table log (line text)")
        .await
        .expect("valid");
    let site = Site::serve(cluster, serve).await;
    let client = site.live_client("a").await;
    // Only a table that is not synced is written.
    site.execute("insert into log select repeat('x', 1000) from generate_series(1, 60000)").await;
    let sql = site.sql().await;
    let behind = "select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint from pg_replication_slots";
    eventually("the slot follows", async || {
        sql.query_one(behind, &[]).await.expect("a slot").get::<_, i64>(0) < 32 * 1024 * 1024
    })
    .await;
    assert!(client.status().borrow().live);
}
