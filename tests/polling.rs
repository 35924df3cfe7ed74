//! The same promises where changes are polled by SQL, and what is peculiar to polling.

use crate::support::site::options;
use crate::support::{Site, eventually, holds, program};
use crate::{end_to_end, seam};
use dormouse_core::position::Era;
use dormouse_core::store::MemoryStore;
use dormouse_runtime::client::Client;
use dormouse_runtime::demo::server::Server;
use std::time::Duration;

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one')";
const POLL: &[&str] = &["--source", "poll"];

fn era(client: &Client<MemoryStore>) -> Era {
    client.status().borrow().shown.expect("something is shown").era
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_follows_a_row() {
    end_to_end::every_change(POLL).await;
    end_to_end::unchanged_values(POLL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_atomic_and_never_whole_in_memory() {
    end_to_end::large_transaction(POLL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_in_order_and_nobody_starts_again() {
    end_to_end::orderly_restarts(POLL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_begins_an_era() {
    end_to_end::lost_slot(POLL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_database_does_not_hold_back_wal() {
    end_to_end::idle_wal(POLL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_become_visible_in_another_order() {
    seam::younger_before_older(POLL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_postgres_cannot_decode_is_made_anew() {
    seam::undecodable(POLL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_visible_comes_with_the_next_that_is() {
    let site = Site::start_with(ITEMS, &[], POLL).await;
    let early = site.live_client("early").await;
    seam::make_commits_wait(&site).await;
    let waiting = seam::commit_and_wait(&site, "update item set name = 'new' where id = 1").await;
    let next = "set synchronous_commit = local; insert into item values (2, 'next')";
    site.execute(next).await;
    holds(&early, "public.item", &["1|new", "2|next"]).await;
    let visible: String =
        site.sql().await.query_one("select name from item where id = 1", &[]).await.expect("answers").get(0);
    assert_eq!(visible, "one");
    let late = site.live_client("late").await;
    holds(&late, "public.item", &["1|new", "2|next"]).await;
    seam::let_commits_go(&site).await;
    waiting.await.expect("commits");
    site.verify().await;
}

/// Does something to the slot in a moment when nobody has it.
async fn done_once(sql: &tokio_postgres::Client, statement: &str) {
    eventually("the slot is free", async || {
        sql.query_one(statement, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_dropped_or_moved_between_two_peeks_begins_an_era() {
    let site = Site::start_with(ITEMS, &[], POLL).await;
    let client = site.live_client("a").await;
    let first = era(&client);
    // While a poller sleeps the slot is held by nobody: it can be dropped, or moved.
    let sql = site.sql().await;
    let drop = "select count(pg_drop_replication_slot(slot_name)) from pg_replication_slots where not active";
    done_once(&sql, drop).await;
    sql.batch_execute("insert into item values (2, 'in no slot')").await.expect("commits");
    holds(&client, "public.item", &["1|one", "2|in no slot"]).await;
    let second = era(&client);
    assert_ne!(second, first);
    let skip = "select count(pg_replication_slot_advance(slot_name, pg_current_wal_lsn())) from pg_replication_slots where not active";
    sql.batch_execute("insert into item values (3, 'skipped by others')").await.expect("commits");
    done_once(&sql, skip).await;
    holds(&client, "public.item", &["1|one", "2|in no slot", "3|skipped by others"]).await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_and_poll_take_turns_on_one_slot_in_one_era() {
    let mut site = Site::start(ITEMS).await;
    let client = site.live_client("a").await;
    let first = era(&client);
    let (mut expected, store) = (vec!["1|one".to_owned()], client.store());
    client.close().await;
    for (n, source) in [(2, "poll"), (3, "stream"), (4, "poll")] {
        site.server.kill(); // Whoever held the slot leaves it as it stands.
        site.execute(&format!("insert into item values ({n}, 'while nobody read')")).await;
        site.server = Server::start(program(), &site.cluster.url(), &["--source", source]).await.expect("starts");
        let client = Client::connect_shared(options(&site.server.url(), "a"), store.clone());
        client.wait_until_live().await.expect("welcome");
        site.execute(&format!("update item set name = 'by {source}' where id = {n}")).await;
        expected.push(format!("{n}|by {source}"));
        holds(&client, "public.item", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!((client.status().borrow().resyncs, era(&client)), (0, first));
        client.close().await;
    }
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_replication_connection_is_to_be_had_the_log_says_so_and_polling_works() {
    // Lines for `replication` in pg_hba.conf do not concern logical replication, so the door is closed for all.
    let site = Site::start_with(ITEMS, &[("max_wal_senders", "0")], &[]).await;
    let Site { mut server, cluster } = site;
    eventually("the log names the way out", async || server.log().contains("--source poll")).await;
    server.kill();
    let mut site = Site::serve(cluster, POLL).await;
    let client = site.live_client("a").await;
    site.execute("insert into item values (2, 'two')").await;
    holds(&client, "public.item", &["1|one", "2|two"]).await;
    assert!(tokio::task::block_in_place(|| { site.server.stop(Duration::from_secs(10)) }), "it ends in order");
}
