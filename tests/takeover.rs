//! A server that is suspended, not ended: another takes over, and the first stands by once it wakes.

use crate::support::site::{Site, options, second_server};
use crate::support::{eventually, holds, http, signal};
use dormouse_core::store::MemoryStore;
use dormouse_runtime::client::Client;
use dormouse_runtime::verify::verify;

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_server_appends_nothing_once_another_has_its_lease() {
    let site = Site::start("create table item (id int primary key, name text)").await;
    let first = site.server.pid().expect("it runs");
    let ann = site.live_client("ann").await;
    let second = second_server(&site.cluster, &[]).await;
    let bob = Client::connect(options(&second.url(), "bob"), MemoryStore::default());
    let sql = site.sql().await;
    let mut expected = Vec::new();
    let mut write = async |word: &str, ids: std::ops::Range<u32>| {
        for id in ids {
            let insert = format!("insert into item values ({id}, '{word}')");
            sql.batch_execute(&insert).await.expect("it is valid SQL");
            expected.push(format!("{id:03}|{word}"));
        }
        expected.clone()
    };

    // Suspended in the middle of a stream of commits.
    write("first", 100..150).await;
    signal(first, "STOP");
    let all = write("meanwhile", 150..200).await;
    bob.wait_until_live().await.expect("the second server takes over");
    holds(&bob, "public.item", &all.iter().map(String::as_str).collect::<Vec<_>>()).await;

    signal(first, "CONT");
    let all = write("after", 200..250).await;
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    holds(&ann, "public.item", &all).await;
    holds(&bob, "public.item", &all).await;
    eventually("the first server is a standby", async || {
        let status = http::get(site.server.port(), "/api/replication/status", &[]).await;
        status.body.contains(r#""standby""#)
    })
    .await;

    // Who stayed at the first server, or comes there, is served by it all the same.
    let all = write("later", 250..260).await;
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    holds(&ann, "public.item", &all).await;
    holds(&bob, "public.item", &all).await;
    for client in [&ann, &bob] {
        assert_eq!(client.status().borrow().resyncs, 0, "everything is in history");
    }
    for url in [site.server.url(), second.url()] {
        let report = verify(options(&url, "verify"), &site.cluster.url(), None).await.expect("it is served");
        assert!(report.ok(), "{report:?}");
    }
}
