//! A database that is restored under a server that goes on: the server notices it and begins anew, and no replica keeps what is gone.

use crate::support::{PATIENCE, Site, eventually, holds, signal};
use dormouse_core::replication::TakeLease;
use dormouse_runtime::db::{Config, Database};
use std::time::Duration;

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one')";

/// How often the lease was renewed, as a server sees it when it connects.
async fn renewals(site: &Site) -> i64 {
    let database = site.sql().await;
    database.query_one("select renewals from dormouse.lease", &[]).await.expect("the schema is there").get(0)
}

async fn begins_anew(site: &Site, pid: Option<u32>, word: &str) {
    let told = |log: &str| log.contains("the server begins anew") && log.contains(word);
    eventually("begins anew", async || told(&site.server.log())).await;
    assert_eq!(site.server.pid(), pid, "in the place of the same process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_from_a_copy_takes_back_what_is_gone() {
    let mut site = Site::start(ITEMS).await;
    let client = site.live_client("reader").await;
    site.execute("insert into item values (2, 'kept')").await;
    holds(&client, "public.item", &["1|one", "2|kept"]).await;

    assert!(site.cluster.stop(), "Postgres ends in order");
    let copy = site.cluster.copy().expect("a copy");
    site.cluster.launch().expect("Postgres starts again");
    let copied = renewals(&site).await;
    site.execute("insert into item values (3, 'lost'), (4, 'lost'); update item set name = 'lost' where id = 1").await;
    holds(&client, "public.item", &["1|lost", "2|kept", "3|lost", "4|lost"]).await;
    eventually("the lease is renewed", async || renewals(&site).await > copied).await;

    let pid = site.server.pid();
    site.cluster.kill();
    site.cluster.restore(&copy).expect("restored");
    site.cluster.launch().expect("Postgres starts again");
    // The history of before grows past the place that the client has.
    for id in 10..60 {
        site.execute(&format!("insert into item values ({id}, 'later')")).await;
    }
    begins_anew(&site, pid, "restored from a copy").await;
    let later = (10..60).map(|id| format!("{id}|later"));
    let expected: Vec<_> = ["1|one".to_owned(), "2|kept".to_owned()].into_iter().chain(later).collect();
    holds(&client, "public.item", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(client.status().borrow().resyncs > 0, "its place was of what is gone");
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_lease_that_another_server_has_renewed_as_often_hides_nothing() {
    let mut site = Site::start(ITEMS).await;
    let client = site.live_client("reader").await;
    assert!(site.cluster.stop(), "Postgres ends in order");
    let copy = site.cluster.copy().expect("a copy");
    site.cluster.launch().expect("Postgres starts again");
    let copied = renewals(&site).await;
    site.execute("insert into item values (2, 'lost')").await;
    holds(&client, "public.item", &["1|one", "2|lost"]).await;
    // Of the first renewal the server has heard once it asks for the second.
    eventually("the lease is renewed twice", async || renewals(&site).await > copied + 1).await;

    let pid = site.server.pid();
    signal(pid.expect("it runs"), "STOP");
    let known = renewals(&site).await;
    site.cluster.kill();
    site.cluster.restore(&copy).expect("restored");
    site.cluster.launch().expect("Postgres starts again");
    assert_eq!(renewals(&site).await, copied, "what the copy says");
    let other = Database::connect(Config::new(site.cluster.url())).await.expect("it connects");
    let take = || TakeLease { holder: "another server".into(), ttl: Duration::from_millis(1) };
    eventually("renewed as often as it had been", async || {
        let taken = other.take_lease(take()).await;
        assert!(taken.is_ok(), "{taken:?}");
        renewals(&site).await > known
    })
    .await;
    signal(pid.expect("it runs"), "CONT");
    begins_anew(&site, pid, "restored from a copy").await;
    holds(&client, "public.item", &["1|one"]).await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_timeline_with_everything_on_it_costs_clients_nothing() {
    let mut site = Site::start(ITEMS).await;
    let client = site.live_client("reader").await;
    let (pid, resyncs) = (site.server.pid(), client.status().borrow().resyncs);

    assert!(site.cluster.stop(), "Postgres ends in order");
    site.cluster.await_promotion().expect("it will be a standby");
    site.cluster.launch().expect("Postgres starts again");
    let database = site.sql().await;
    let promoted = database.query_one("select pg_promote()", &[]);
    let promoted = tokio::time::timeout(PATIENCE, promoted).await.expect("in time").expect("promoted");
    assert!(promoted.get::<_, bool>(0));
    site.execute("insert into item values (2, 'two')").await;
    begins_anew(&site, pid, "timeline").await;
    holds(&client, "public.item", &["1|one", "2|two"]).await;
    assert_eq!(client.status().borrow().resyncs, resyncs, "its place is in history");
    site.verify().await;
}
