//! The client library as an application uses it: its examples, and waits that are given up.

#[expect(dead_code, reason = "an example's own main")]
#[path = "../runtime/examples/query.rs"]
mod query;
#[expect(dead_code, reason = "an example's own main")]
#[path = "../runtime/examples/subscribe.rs"]
mod subscribe;
#[expect(dead_code, reason = "an example's own main")]
#[path = "../runtime/examples/wait_until_fresh.rs"]
mod wait_until_fresh;

use crate::support::{PATIENCE, Site, holds};
use dormouse_core::change::Change;
use dormouse_runtime::client::Changed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

const NOTES: &str = "create table note (id int generated always as identity primary key, text text);
    insert into note (text) values ('a'), ('b')";

#[tokio::test(flavor = "multi_thread")]
async fn the_example_subscribe_prints_every_change() {
    let site = Site::start(NOTES).await;
    let url = site.server.url();
    let (sender, mut lines) = mpsc::channel(100);
    let subscriber = subscribe::subscribe(&url, |line| {
        let is_last = line.contains("delete");
        sender.try_send(line).expect("room");
        !is_last
    });
    let writer = async {
        assert_eq!(lines.recv().await.as_deref(), Some("now there are 2 rows"));
        site.execute("insert into note (text) values ('c'); update note set text = 'd' where id = 1; delete from note where id = 2").await;
    };
    let (outcome, ()) = timeout(PATIENCE, async { tokio::join!(subscriber, writer) }).await.expect("in time");
    outcome.expect("it ends well");
    let mut rest = Vec::new();
    while let Ok(line) = lines.try_recv() {
        rest.push(line.split_once(' ').expect("a transaction id").1.to_owned());
    }
    assert_eq!(
        rest,
        [
            r#"insert public.note {"id":3,"text":"c"}"#,
            r#"update public.note {"id":1,"text":"d"}"#,
            r#"delete public.note {"id":2}"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_query_answers_anew_after_each_change() {
    use dormouse_runtime::client::sqlite::rusqlite::types::Value;
    let site = Site::start(NOTES).await;
    let url = site.server.url();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("replica.db");
    let (sender, mut answers) = mpsc::channel(100);
    let asking = query::query(&url, &file, "select count(*) from note", |rows| {
        let wants_more = rows != [Value::Integer(3)];
        sender.try_send(rows).expect("room");
        wants_more
    });
    let writer = async {
        assert_eq!(answers.recv().await, Some(vec![Value::Integer(2)]));
        site.execute("insert into note (text) values ('c')").await;
        assert_eq!(answers.recv().await, Some(vec![Value::Integer(3)]));
    };
    let (outcome, ()) = timeout(PATIENCE, async { tokio::join!(asking, writer) }).await.expect("in time");
    outcome.expect("it ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_wait_until_fresh_reads_its_own_write() {
    let site = Site::start(NOTES).await;
    let (url, database) = (site.server.url(), site.cluster.url());
    // The last transaction of all: nothing that follows it shows it by itself.
    for rows in 3..6 {
        let wrote =
            wait_until_fresh::write_and_read(&url, &database, "insert into note (text) values ('x')", "public.note");
        assert_eq!(timeout(PATIENCE, wrote).await.expect("in time").expect("it works"), rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_that_are_given_up_lose_nothing() {
    const ROWS: usize = 300;
    let site = Site::start(NOTES).await;
    let client = site.live_client("a").await;
    let mut changes = client.changes();
    let sql = site.sql().await;
    let writer = tokio::spawn(async move {
        for _ in 0..ROWS {
            sql.batch_execute("insert into note (text) values ('n')").await.expect("valid");
        }
    });
    let (mut heard, mut given_up) = (Vec::new(), 0);
    while heard.len() < ROWS {
        match timeout(Duration::from_micros(100), changes.next()).await {
            Err(_) => given_up += 1,
            Ok(None) => panic!("the client has stopped"),
            Ok(Some(Changed::Everything { .. })) => panic!("nobody fell behind"),
            Ok(Some(Changed::Transactions(applied))) => heard.extend(applied.changes().map(|(_, relation, change)| {
                let Change::Insert { row, .. } = change else { panic!("only inserts were made: {change:?}") };
                format!("{:?}", relation.key_of(row))
            })),
        }
        if given_up % 50 == 1 {
            assert!(timeout(Duration::from_micros(50), client.wait_for(|_| false)).await.is_err());
        }
    }
    writer.await.expect("it wrote");
    let expected: Vec<_> = (3..3 + ROWS).map(|id| format!("({id})")).collect();
    assert_eq!(heard, expected, "each once, in order");
    assert!(given_up > 10, "waits were given up: {given_up}");

    // A wait for freshness that is given up has begun a new greeting, which harms nobody.
    for _ in 0..3 {
        let _ = timeout(Duration::from_millis(1), client.wait_until_fresh()).await;
    }
    site.execute("insert into note (text) values ('last')").await;
    timeout(PATIENCE, client.wait_until_fresh()).await.expect("in time").expect("it runs");
    let count = client.read(|store| store.table("public.note").map(|table| table.len()));
    assert_eq!(count, Some(ROWS + 3), "fresh means that the last row is there at once");
    assert_eq!(client.read(|store| store.held().anomalies), 0);
    drop(client.close()); // Never polled: the client ends as if it was dropped.
    let again = site.live_client("a").await;
    site.execute("truncate note; insert into note (text) values ('new')").await;
    holds(&again, "public.note", &["304|new"]).await;
}
