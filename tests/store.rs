//! Replicas in SQLite files, against a real server.

use crate::support::{PATIENCE, Site, eventually, program};
use dormouse_runtime::client::sqlite::open_reader;
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::process::Command;

const ORDERS: &str =
    "create table orders (id int primary key, paid bool, total numeric(10,2), note text, at timestamptz);
    insert into orders select n, n % 2 = 0, n * 1.5, 'note ' || n, '2026-01-01' from generate_series(1, 500) n;
    create schema shop;
    create table shop.\"Odd \"\"name\" (\"Select\" text, \"select\" float8, raw bytea, primary key (\"Select\"));
    insert into shop.\"Odd \"\"name\" values ('a', 'NaN', '\\x00ff'), ('A', '-0', null), ('b', 1e20, '')";

async fn call(arguments: &[&str]) -> Output {
    let output = Command::new(program()).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, output).await.expect("it ends").expect("it starts")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("one object per line")).collect()
}

/// What one query says of a store, as text.
fn ask(store: &Path, sql: &str) -> String {
    let reader = open_reader(store).expect("a store");
    let value: rusqlite::types::Value = reader.query_row(sql, [], |row| row.get(0)).expect("an answer");
    format!("{value:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_queried_gone_on_from_and_verified() {
    let site = Site::start(ORDERS).await;
    let (url, database) = (site.server.url(), site.cluster.url());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("replica.db");
    let store = path.to_str().expect("text");
    let tail = ["tail", "--url", &url, "--store", store, "--until-live", "--json"];
    let verify = ["verify", "--url", &url, "--database-url", &database, "--store", store, "--json"];

    let first = call(&tail).await;
    assert!(first.status.success(), "{first:?}");
    let rows = |output: &Output| -> usize {
        lines(output).iter().filter_map(|line| line["rows"].as_array()).map(Vec::len).sum()
    };
    assert_eq!(rows(&first), 503);
    assert_eq!(ask(&path, "select count(*) from orders where paid and cast(total as real) > 100"), "Integer(217)");
    assert_eq!(ask(&path, "select at from orders where id = 7"), "Text(\"2026-01-01 00:00:00+00\")");
    assert_eq!(ask(&path, "select \"select~2\" from \"shop.Odd \"\"name\" where \"Select\" = 'b'"), "Real(1e20)");

    site.execute("update orders set note = 'changed' where id <= 3; delete from orders where id = 4").await;
    let second = call(&tail).await;
    assert!(second.status.success(), "{second:?}");
    assert_eq!(rows(&second), 0, "it goes on from where it stood");
    let changes: usize = lines(&second).iter().filter_map(|line| line["changes"].as_array()).map(Vec::len).sum();
    assert_eq!(changes, 4);

    site.execute("update orders set paid = not paid").await;
    let good = call(&verify).await;
    assert!(good.status.success(), "{good:?}");
    let report = lines(&good).remove(0);
    assert_eq!(
        report["tables"][0],
        serde_json::json!({ "name": "public.orders", "rows": 499, "missing": 0, "extra": 0, "different": 0 })
    );
    assert_eq!(
        ask(&path, "select count(*) from orders where not paid and id = 2"),
        "Integer(1)",
        "it was brought up to date"
    );

    let writer = rusqlite::Connection::open(&path).expect("opens");
    writer
        .execute_batch("update orders set note = 'forged' where id = 9; delete from orders where id = 10")
        .expect("valid");
    drop(writer);
    let bad = call(&verify).await;
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let table = &lines(&bad).remove(0)["tables"][0];
    assert_eq!((&table["missing"], &table["different"]), (&1.into(), &1.into()), "{table}");
    assert!(String::from_utf8_lossy(&bad.stderr).contains("public.orders"), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_cannot_be_used_are_named_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    std::fs::write(path("text"), "these are notes of mine, and no database at all; ".repeat(20)).expect("written");
    let other = rusqlite::Connection::open(path("other.db")).expect("opens");
    other.execute_batch("create table mine (id int)").expect("valid");
    drop(dormouse_runtime::client::sqlite::SqliteStore::open(path("newer.db")).expect("made"));
    let newer = rusqlite::Connection::open(path("newer.db")).expect("opens");
    newer.execute_batch("pragma user_version = 99").expect("valid");
    let _held = dormouse_runtime::client::sqlite::SqliteStore::open(path("held.db")).expect("made");
    let before = std::fs::read(path("text")).expect("there");
    for (name, status, says) in [
        ("text", 2, "no store of Dormouse"),
        ("other.db", 2, "another program"),
        ("newer.db", 2, "newer Dormouse"),
        ("held.db", 3, "in use by another client"),
        ("no/such/folder.db", 3, "cannot be opened"),
    ] {
        let output = call(&["tail", "--url", "ws://127.0.0.1:9", "--store", &path(name), "--until-live"]).await;
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{says}: {output:?}");
    }
    assert_eq!(std::fs::read(path("text")).expect("there"), before);
    let missing = path("missing.db");
    let database = "postgres://postgres@127.0.0.1:9/postgres";
    let output = call(&["verify", "--url", "ws://127.0.0.1:9", "--database-url", database, "--store", &missing]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!Path::new(&missing).exists(), "a store to verify is not made");
}

/// Kills a process that keeps a store, again and again, while Postgres is written to. No kill may cost or double a row.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_survives_being_killed_at_any_moment() {
    use dormouse_core::position::Position;
    use dormouse_runtime::client::Store;
    use dormouse_runtime::client::sqlite::SqliteStore;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::time::Duration;

    const KILLS: usize = 25;
    let site = Site::start(ORDERS).await;
    let (url, database) = (site.server.url(), site.cluster.url());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("replica.db");
    let store = path.to_str().expect("text");
    let mut random = SmallRng::seed_from_u64(42);

    let sql = site.sql().await;
    let writer = tokio::spawn(async move {
        for n in 1_000.. {
            // Small ones, moved keys, and now and then one that travels in pieces.
            let statements = match n % 40 {
                0 => format!(
                    "insert into orders select {n} * 100000 + m, true, m, repeat('x', 100), now() from generate_series(1, 6000) m"
                ),
                20 => "truncate shop.\"Odd \"\"name\"".into(),
                1 => format!("delete from orders where id > 1000000 and id < {n} * 100000 - 1"),
                _ => format!(
                    "begin; insert into orders values ({n}, false, {n}, null, now());
                     update orders set id = -id where id = {n} - 3; update orders set paid = not paid where id % 50 = {n} % 50 and abs(id) < 100000;
                     insert into shop.\"Odd \"\"name\" values ('{n}', {n}.25, '\\x{n}'); commit"
                ),
            };
            if sql.batch_execute(&statements).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let (mut kills_of_a_first_sync, mut places) = (0, Vec::new());
    for kill in 0..KILLS {
        if kill == KILLS / 5 {
            // The kills so far fell into a first sync; those from now on fall into what follows one.
            let whole = call(&["tail", "--url", &url, "--store", store, "--until-live"]).await;
            assert!(whole.status.success(), "{whole:?}");
        }
        let mut child = Command::new(program())
            .args(["tail", "--url", &url, "--store", store, "--json"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("starts");
        if kill >= KILLS / 5 {
            // Each life gets on, and then ends at any moment.
            let place = || ask(&path, "select position from dormouse_state");
            let before = places.last().map(|place: &Position| format!("Text(\"{place}\")"));
            eventually("it gets on", async || Some(place()) != before).await;
        }
        tokio::time::sleep(Duration::from_micros(random.random_range(0..200_000))).await;
        child.kill().await.expect("SIGKILL");
        if !path.exists() {
            continue; // It had not come that far.
        }
        let reopened = SqliteStore::open(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(reopened.verify_sum().expect("readable"), Ok(()));
        let held = reopened.held();
        assert_eq!(held.anomalies, 0, "{held:?}");
        kills_of_a_first_sync += u32::from(held.shown.is_none());
        places.extend(held.shown.map(|shown| shown.position));
    }
    writer.abort();
    assert!(places.is_sorted(), "nothing that was durable is undone: {places:?}");
    places.dedup();
    assert!(places.len() >= KILLS - KILLS / 5, "each life got on: {places:?}, {kills_of_a_first_sync} first syncs");
    let verify = ["verify", "--url", &url, "--database-url", &database, "--store", store, "--json"];
    let report = call(&verify).await;
    assert!(report.status.success(), "{report:?}");
    assert_eq!(lines(&report).remove(0)["anomalies"], 0);
}
