//! `dormouse setup` and `teardown`: what a server needs is made beforehand, by whom it may concern, and removed without a trace.

use crate::doctor::clinic::{call, cluster, doctor, paste};
use crate::support::{PATIENCE, Site, eventually, holds, program};
use dormouse_runtime::demo::cluster::Cluster;
use dormouse_runtime::demo::server::Server;

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one'); \
     create table keyless (id int); create publication theirs for table item;";

const REMAINS: &str = "select count(*) from pg_replication_slots; select count(*) from pg_publication where pubname <> 'theirs'; \
     select count(*) from pg_namespace where nspname = 'dormouse';";

/// Calls a command that ends well, and returns what it printed.
async fn done(arguments: &[&str]) -> String {
    let output = call(arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

async fn prepared() -> Cluster {
    let cluster = cluster(&[]);
    paste(&cluster, "postgres", ITEMS).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn what_setup_made_is_adopted_without_a_gap() {
    let cluster = prepared().await;
    let url = cluster.url();
    let first = done(&["setup", "--database-url", &url]).await;
    assert_eq!(first.matches("created ").count(), 4, "{first}");
    let again = done(&["setup", "--database-url", &url]).await;
    assert_eq!((again.matches("there ").count(), again.lines().count()), (4, 4), "{again}");
    // One is committed before there is an era; one runs when the slot is adopted, which waits for it.
    paste(&cluster, "postgres", "insert into item values (2, 'two');").await;
    let open = crate::support::site::connect(&url).await;
    open.batch_execute("begin; insert into item values (3, 'three')").await.expect("begins");

    let site = Site::serve(cluster, &[]).await;
    let client = site.client("a");
    eventually("the slot is being settled", async || site.server.log().contains("settling the slot")).await;
    open.batch_execute("commit").await.expect("commits");
    holds(&client, "public.item", &["1|one", "2|two", "3|three"]).await;
    site.verify().await;
    assert!(!site.server.log().contains("creating the slot"), "the slot is the one that setup made");
    let during = done(&["setup", "--database-url", &site.cluster.url()]).await;
    assert_eq!(during.matches("there ").count(), 4, "{during}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_owns_nothing_can_serve_what_was_printed_for_it() {
    let cluster = prepared().await;
    let url = cluster.url();
    paste(&cluster, "postgres", "create schema \"Shop\"; create table \"Shop\".\"Order\" (id int primary key); insert into \"Shop\".\"Order\" values (7);").await;
    paste(&cluster, "postgres", "alter table item enable row level security;").await;
    let print = ["setup", "--database-url", &url, "--role", "the app", "--print"];
    let printed = done(&print).await;
    assert_eq!(paste(&cluster, "postgres", REMAINS).await, "0\n0\n0", "printing makes nothing");
    paste(&cluster, "postgres", &printed).await;
    let again = done(&print).await;
    assert!(!again.contains("begin;") && !again.contains("create"), "{again}");

    let theirs = format!("postgres://the%20app@127.0.0.1:{}/postgres", cluster.port());
    let visit = doctor(&theirs, &[]).await;
    assert_eq!(visit.complaints(), [""; 0], "{}", visit.text);
    let rights = "select rolsuper or rolcreatedb or has_database_privilege(rolname, 'postgres', 'create') from pg_roles where rolname = 'the app';";
    assert_eq!(paste(&cluster, "postgres", rights).await, "f");
    let server = Server::start(program(), &theirs, &[]).await.unwrap_or_else(|error| panic!("{error}"));
    let site = Site { server, cluster };
    let client = site.live_client("a").await;
    site.execute("insert into item values (2, 'two'); delete from \"Shop\".\"Order\"").await;
    holds(&client, "public.item", &["1|one", "2|two"]).await;
    holds(&client, "Shop.Order", &[]).await;

    // A later table comes along when setup runs again.
    site.execute("create table late (id int primary key); insert into late values (1)").await;
    let later = done(&["setup", "--database-url", &url, "--role", "the app"]).await;
    assert!(later.contains("changed  publication") && later.contains("granted  the right to read"), "{later}");
    holds(&client, "public.late", &["1"]).await;
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn teardown_removes_what_is_ours_and_nothing_else() {
    let mut site = Site::serve(prepared().await, &[]).await;
    drop(site.live_client("a").await);
    let url = site.cluster.url();
    let teardown = ["teardown", "--database-url", &url];
    let refused = call(&[&teardown[..], &["--yes"]].concat()).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a server is at work"), "{refused:?}");
    assert!(tokio::task::block_in_place(|| site.server.stop(PATIENCE)), "it ends by itself");
    assert_eq!(call(&teardown).await.status.code(), Some(2), "nobody confirmed");
    let printed = done(&[&teardown[..], &["--print"]].concat()).await;
    assert_eq!(paste(&site.cluster, "postgres", REMAINS).await, "1\n1\n1", "nothing was removed yet");

    let removed = done(&[&teardown[..], &["--yes"]].concat()).await;
    assert_eq!(removed.matches("removed ").count(), 3, "{removed}");
    assert_eq!(paste(&site.cluster, "postgres", REMAINS).await, "0\n0\n0");
    let theirs = "select count(*) from pg_publication where pubname = 'theirs'; select count(*) from item;";
    assert_eq!(paste(&site.cluster, "postgres", theirs).await, "1\n1");
    assert!(done(&[&teardown[..], &["--yes"]].concat()).await.contains("nothing"), "again is no error");

    // What is printed does the same, and --force does not wait for a killed server's lease.
    done(&["setup", "--database-url", &url]).await;
    paste(&site.cluster, "postgres", &printed).await;
    assert_eq!(paste(&site.cluster, "postgres", REMAINS).await, "0\n0\n0");
    site.server.launch().expect("starts");
    site.server.await_open().await.expect("opens");
    site.live_client("b").await;
    site.server.kill();
    done(&[&teardown[..], &["--yes", "--force"]].concat()).await;
    assert_eq!(paste(&site.cluster, "postgres", REMAINS).await, "0\n0\n0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_ours_is_left_alone() {
    let cluster = prepared().await;
    paste(&cluster, "postgres", "create schema dormouse; create table dormouse.hazel (id int);").await;
    let output = call(&["teardown", "--database-url", &cluster.url(), "--yes"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(paste(&cluster, "postgres", "select count(*) from dormouse.hazel;").await, "0");
}
