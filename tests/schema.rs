//! Tables that change their shape under clients.

use crate::support::site::connect;
use crate::support::{Site, eventually, holds};
use dormouse_core::store::MemoryStore;
use dormouse_runtime::demo::cluster::Cluster;

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one'), (2, 'two')";

async fn resyncs(site: &Site, alter: &str, table: &str, expected: &[&str]) {
    let client = site.live_client("a").await;
    let before = client.status().borrow().resyncs;
    site.execute(alter).await;
    holds(&client, table, expected).await;
    eventually("the client is told why", async || client.status().borrow().resyncs > before).await;
    client.wait_until_live().await.expect("welcome");
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_with_a_default_reaches_rows_that_were_there() {
    let site = Site::start(ITEMS).await;
    let alter = "alter table item add column stock int not null default 7";
    resyncs(&site, alter, "public.item", &["1|one|7", "2|two|7"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_table_comes_again() {
    let site = Site::start(ITEMS).await;
    let alter = "alter table item alter column name type int using length(name)";
    resyncs(&site, alter, "public.item", &["1|3", "2|3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_label_of_an_enum_reaches_rows_that_were_there() {
    let site = Site::start(
        "create type mood as enum ('sad', 'happy'); create table who (id int primary key, feels mood);
        insert into who values (1, 'sad')",
    )
    .await;
    resyncs(&site, "alter type mood rename value 'sad' to 'blue'", "public.who", &["1|blue"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_column_is_gone() {
    let site = Site::start(ITEMS).await;
    resyncs(&site, "alter table item drop column name", "public.item", &["1", "2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_table_joins() {
    let site = Site::start(ITEMS).await;
    let alter = "create table later (id int primary key); insert into later values (1)";
    resyncs(&site, alter, "public.later", &["1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_gone() {
    let site = Site::start(
        "create table item (id int primary key); create table old (id int primary key); insert into old values (1)",
    )
    .await;
    let client = site.live_client("a").await;
    holds(&client, "public.old", &["1"]).await;
    site.execute("drop table old").await;
    eventually("its rows go", async || client.read(|store: &MemoryStore| store.table("public.old").is_none())).await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alters_no_row_in_silence_disturbs_nobody() {
    let site = Site::start(ITEMS).await;
    let client = site.live_client("a").await;
    site.execute("vacuum full item").await;
    site.execute("reindex table concurrently item").await;
    site.execute("truncate item; insert into item values (3, 'three'); create index on item (name); analyze item")
        .await;
    holds(&client, "public.item", &["3|three"]).await;
    // A later change that is told to everybody shows that the catalogue was looked at since.
    site.execute("alter table item add column extra int default 5").await;
    holds(&client, "public.item", &["3|three|5"]).await;
    assert_eq!(client.status().borrow().resyncs, 1, "the added column's alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_rewritten_under_the_same_type_come_again() {
    let site = Site::start(ITEMS).await;
    let alter = "alter table item alter column name type text using upper(name)";
    resyncs(&site, alter, "public.item", &["1|ONE", "2|TWO"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_change_between_two_changes() {
    let site = Site::start(ITEMS).await;
    let client = site.live_client("a").await;
    site.execute(
        "update item set name = 'before'; alter table item add column extra text; update item set extra = 'after';
         alter table item rename column name to title; insert into item values (3, 'three', null)",
    )
    .await;
    holds(&client, "public.item", &["1|before|after", "2|before|after", "3|three|null"]).await;
    site.verify().await;
}

/// Postgres 14 and 15 tell no stream of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_renamed() {
    let site =
        Site::start("create schema app; create table app.item (id int primary key); insert into app.item values (1)")
            .await;
    let client = site.live_client("a").await;
    site.execute("insert into app.item values (2)").await;
    holds(&client, "app.item", &["1", "2"]).await;
    site.execute("alter schema app rename to shop; insert into shop.item values (3)").await;
    holds(&client, "shop.item", &["1", "2", "3"]).await;
    client.wait_until_live().await.expect("live");
    site.execute("insert into shop.item values (4)").await;
    holds(&client, "shop.item", &["1", "2", "3", "4"]).await;
    site.execute("delete from shop.item where id = 1").await;
    holds(&client, "shop.item", &["2", "3", "4"]).await;
    assert!(client.read(|store: &MemoryStore| store.table("app.item").is_none()));
    site.verify().await;
}

/// Between two looks at the tables, and in the stream: whoever looks only then finds what was noted.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_comes_and_goes_between_two_looks_is_noticed() {
    let site = Site::start(ITEMS).await;
    let alter = "alter table item add column extra text; insert into item values (3, 'three', 'more');
         update item set name = 'ONE' where id = 1; alter table item drop column extra";
    resyncs(&site, alter, "public.item", &["1|ONE", "2|two", "3|three"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_and_goes_between_two_looks_is_noticed() {
    let site = Site::start(ITEMS).await;
    let alter =
        "alter table item drop constraint item_pkey, add primary key (name); delete from item where name = 'one';
         update item set name = 'TWO' where id = 2; insert into item values (3, 'three');
         alter table item drop constraint item_pkey, add primary key (id)";
    resyncs(&site, alter, "public.item", &["2|TWO", "3|three"]).await;
}

/// As a migration does that fills a table and puts it away again, where a whole schema is published.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_published_for_a_while_leaves_nothing() {
    let cluster = Cluster::start_with(&[]).unwrap_or_else(|error| panic!("{error}"));
    let prepare = "create schema app; create table app.item (id int primary key, name text);
         insert into app.item values (1, 'one'); create publication whole for tables in schema app";
    connect(&cluster.url()).await.batch_execute(prepare).await.expect("valid");
    let site = Site::serve(cluster, &["--publication", "whole"]).await;
    let client = site.live_client("a").await;
    site.execute(
        "create table app.filled (id int primary key); insert into app.filled values (1), (2);
         insert into app.item values (2, 'two'); drop table app.filled",
    )
    .await;
    holds(&client, "app.item", &["1|one", "2|two"]).await;
    let is_gone =
        async || client.read(|store| store.table("app.filled").is_none_or(|table| table.rows().next().is_none()));
    eventually("nothing is left of the table", is_gone).await;
    client.wait_for(|status| status.resyncs == 1).await.expect("it is told why");
    client.wait_until_live().await.expect("live");
    site.execute("insert into app.item values (3, 'three')").await;
    holds(&client, "app.item", &["1|one", "2|two", "3|three"]).await;
}
