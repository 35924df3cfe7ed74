//! Two stores that live under one client id, one a copy of the other.

use crate::support::{Site, call, eventually, holds, program};
use dormouse_core::session::ClientId;
use dormouse_runtime::client::sqlite::open_reader;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one')";

/// What a store says of itself and of its rows.
fn ask(store: &Path, sql: &str) -> String {
    let reader = open_reader(store).expect("a store");
    let value = reader.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0));
    format!("{:?}", value.expect("an answer"))
}

fn own_id(store: &Path) -> String {
    ask(store, "select client_id from dormouse_state")
}

fn tail(site: &Site, store: &Path) -> Child {
    let mut command = Command::new(program());
    command.args(["tail", "--url", &site.server.url(), "--client-id", "tablet", "--store"]).arg(store);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("it starts")
}

async fn registered(site: &Site) -> Vec<String> {
    let rows = site.sql().await.query("select id from dormouse.client order by id", &[]).await.expect("readable");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_its_copy_both_live_and_keep_their_own_ids() {
    let site = Site::start(ITEMS).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (folder.path().join("first.db"), folder.path().join("second.db"));
    let name = first.to_str().expect("text");
    let once = ["tail", "--url", &site.server.url(), "--client-id", "tablet", "--until-live", "--store", name];
    let made = call(&once).await;
    assert!(made.status.success(), "{made:?}");
    std::fs::copy(&first, &second).expect("the image is copied");

    let mut running = [tail(&site, &first), tail(&site, &second)];
    eventually("one has an id of its own", async || own_id(&first) != own_id(&second)).await;
    let ids = [own_id(&first), own_id(&second)];
    site.execute("insert into item values (2, 'two')").await;
    for store in [&first, &second] {
        eventually("both hold it", async || ask(store, "select count(*) from item") == "Integer(2)").await;
    }
    for child in &mut running {
        assert!(child.try_wait().expect("it is asked").is_none(), "neither has ended");
        child.kill().await.expect("it ends");
    }

    // They start again, as programs that know of nothing: each goes on as who it is, and nobody is replaced.
    let before = registered(&site).await;
    assert_eq!(before.len(), 2, "{before:?}");
    let _running = [tail(&site, &first), tail(&site, &second)];
    site.execute("insert into item values (3, 'three')").await;
    for store in [&first, &second] {
        eventually("both hold it", async || ask(store, "select count(*) from item") == "Integer(3)").await;
    }
    assert_eq!([own_id(&first), own_id(&second)], ids);
    assert_eq!(registered(&site).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_clients_under_one_id_each_is_served() {
    let site = Site::start(ITEMS).await;
    let older = site.live_client("twin").await;
    let newer = site.live_client("twin").await;
    older.wait_for(|status| status.welcomes >= 2).await.expect("it comes back, and is welcome");
    site.execute("insert into item values (2, 'two')").await;
    holds(&older, "public.item", &["1|one", "2|two"]).await;
    holds(&newer, "public.item", &["1|one", "2|two"]).await;
    let ids = registered(&site).await;
    let [base, copy] = ids.as_slice() else { panic!("two are registered: {ids:?}") };
    assert_eq!((base.as_str(), ClientId::new(copy).expect("an id").base()), ("twin", "twin"));
    // Many at once, too: each is replaced until it has an id of its own.
    let more: Vec<_> = (0..12).map(|_| site.client("twin")).collect();
    for client in &more {
        client.wait_until_live().await.expect("live");
    }
    site.execute("insert into item values (3, 'three')").await;
    for client in more.iter().chain([&older, &newer]) {
        holds(client, "public.item", &["1|one", "2|two", "3|three"]).await;
    }
    let welcomes = || -> u64 { more.iter().map(|client| client.status().borrow().welcomes).sum() };
    eventually("nobody is replaced any more", async || {
        let before = welcomes();
        tokio::time::sleep(Duration::from_secs(2)).await;
        welcomes() == before
    })
    .await;
}
