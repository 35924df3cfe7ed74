//! What the whole server has wrong: settings, limits, standbys, old transactions.

use super::clinic::{cluster, complaints, database, doctor, paste, treat};
use crate::support::{eventually, site::connect};

const ITEMS: &str = "create table item (id int primary key, name text);";

#[tokio::test(flavor = "multi_thread")]
async fn wal_level_and_full_slots_are_named_and_mended() {
    let mut cluster = cluster(&[("wal_level", "replica"), ("max_replication_slots", "1")]);
    paste(&cluster, "postgres", ITEMS).await;
    paste(&cluster, "postgres", "select pg_create_physical_replication_slot('forgotten');").await;
    let url = cluster.url();
    let visit = doctor(&url, &[]).await;
    assert_eq!(visit.complaints(), ["wal_level", "replication_slots"], "{}", visit.text);
    let remedy = visit.remedy("wal_level");
    assert!(remedy.contains("-- then restart Postgres"), "{remedy}");
    paste(&cluster, "postgres", &remedy).await;
    paste(&cluster, "postgres", "select pg_reload_conf();").await;
    eventually("the restart is pending", async || {
        let pending = "select pending_restart from pg_settings where name = 'wal_level'";
        paste(&cluster, "postgres", pending).await == "t"
    })
    .await;
    let pending = doctor(&url, &[]).await;
    assert_eq!(pending.remedy("wal_level"), "-- restart Postgres", "{}", pending.text);
    cluster.restart().expect("restarts");

    let visit = doctor(&url, &[]).await;
    assert_eq!(visit.complaints(), ["replication_slots"], "{}", visit.text);
    assert!(visit.find("replication_slots")["message"].as_str().is_some_and(|text| text.contains("forgotten")));
    paste(&cluster, "postgres", &visit.remedy("replication_slots")).await;
    cluster.restart().expect("restarts");
    assert_eq!(doctor(&url, &[]).await.complaints(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_senders_unbounded_wal_and_old_transactions_are_named_and_mended() {
    let mut cluster =
        cluster(&[("max_wal_senders", "0"), ("max_slot_wal_keep_size", "-1"), ("max_prepared_transactions", "5")]);
    let url = database(&cluster, "old", ITEMS).await;
    let visit = doctor(&url, &[]).await;
    assert_eq!(visit.complaints(), ["wal_senders", "wal_unbounded"], "{}", visit.text);
    paste(&cluster, "old", &visit.remedy("wal_senders")).await;
    paste(&cluster, "old", &visit.remedy("wal_unbounded")).await;
    cluster.restart().expect("restarts");
    assert_eq!(doctor(&url, &[]).await.complaints(), [""; 0]);

    let writer = connect(&url).await;
    writer.batch_execute("begin; insert into item values (1, 'open')").await.expect("begins");
    paste(&cluster, "old", "begin; insert into item values (2, 'prepared'); prepare transaction 'it''s old';").await;
    eventually("both are old", async || complaints(&url).await.len() == 2).await;
    let visit = doctor(&url, &[]).await;
    assert_eq!(visit.complaints(), ["old_transaction", "prepared_transaction"], "{}", visit.text);
    assert_eq!(visit.status, 0, "a server could serve");
    paste(&cluster, "old", &visit.remedy("old_transaction")).await;
    paste(&cluster, "old", &visit.remedy("prepared_transaction")).await;
    eventually("both are gone", async || complaints(&url).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_named_with_its_primary() {
    let primary = cluster(&[]);
    paste(&primary, "postgres", ITEMS).await;
    let standby = primary.standby().unwrap_or_else(|error| panic!("{error}"));
    let visit = doctor(&standby.url(), &[]).await;
    assert_eq!(visit.complaints(), ["standby"], "{}", visit.text);
    assert_eq!(visit.status, 1);
    let advice = visit.find("standby")["advice"].as_str().expect("advice");
    let address = advice.rsplit(' ').next().expect("an address");
    assert_eq!(address, format!("127.0.0.1:{}", primary.port()), "{advice}");
    assert_eq!(doctor(&format!("postgres://postgres@{address}/postgres"), &[]).await.complaints(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_slot_in_every_bad_state_is_named_and_mended() {
    let cluster = cluster(&[("max_slot_wal_keep_size", "1MB"), ("min_wal_size", "32MB"), ("max_wal_size", "32MB")]);
    let url = database(&cluster, "slots", ITEMS).await;
    let oid = paste(&cluster, "slots", "select oid from pg_database where datname = 'slots';").await;
    let slot = format!("dormouse_{oid}");
    paste(&cluster, "slots", &format!("select pg_create_physical_replication_slot('{slot}');")).await;
    treat(&cluster, "slots", &url, &[], "slot_foreign").await;

    let create = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput');");
    paste(&cluster, "slots", &create).await;
    paste(&cluster, "slots", "create publication p for table item;").await;
    let mut other = tokio::process::Command::new(cluster.program("pg_recvlogical"))
        .args(["--dbname", &url, "--slot", &slot, "--start", "--file", "/dev/null", "--no-loop"])
        .args(["--option", "proto_version=1", "--option", "publication_names=p"])
        .kill_on_drop(true)
        .spawn()
        .expect("pg_recvlogical starts");
    eventually("it holds the slot", async || complaints(&url).await == ["slot_held"]).await;
    treat(&cluster, "slots", &url, &[], "slot_held").await;
    other.wait().await.expect("it ended");

    paste(&cluster, "slots", "select pg_switch_wal(); create table filler (t text);").await;
    for _ in 0..3 {
        paste(&cluster, "slots", "insert into filler select repeat('x', 1000) from generate_series(1, 20000); select pg_switch_wal(); checkpoint;").await;
    }
    let visit = doctor(&url, &["--tables", "item"]).await;
    assert_eq!(visit.complaints(), ["slot_lost"], "{}", visit.text);
    treat(&cluster, "slots", &url, &["--tables", "item"], "slot_lost").await;
}
