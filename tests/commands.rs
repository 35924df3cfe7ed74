//! The commands as their users call them: output, exit status, and what they say when something is missing.

use crate::support::{PATIENCE, Site, call, program};
use serde_json::Value;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const ITEMS: &str =
    "create table item (id int primary key, name text); insert into item values (1, 'honest'), (2, 'honest')";

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("one object per line")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_rows_then_changes() {
    let site = Site::start(ITEMS).await;
    let url = site.server.url();
    let tail = call(&["tail", "--url", &url, "--until-live", "--json"]).await;
    assert!(tail.status.success(), "{tail:?}");
    let printed = lines(&tail);
    let backfill = printed.iter().position(|line| line["backfill"] == true).expect("the rows are printed");
    assert_eq!(printed[backfill]["relation"], "public.item");
    assert_eq!(
        printed[backfill]["rows"],
        serde_json::json!([{ "id": 1, "name": "honest" }, { "id": 2, "name": "honest" }])
    );
    assert!(printed[backfill]["position"].is_string());
    let live = printed.iter().position(|line| line["phase"] == "live").expect("it is live");
    assert!(backfill < live && printed[live]["head"].is_string());

    let mut following = Command::new(program())
        .args(["tail", "--url", &url, "--json"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let mut following = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut next = async |wanted: &str| loop {
        let line = tokio::time::timeout(PATIENCE, following.next_line()).await.expect("in time");
        let line: Value = serde_json::from_str(&line.expect("text").expect("more")).expect("JSON");
        if !line[wanted].is_null() {
            return line;
        }
    };
    while next("phase").await["phase"] != "live" {}
    site.execute("begin; insert into item values (3, null); update item set id = 4 where id = 3; delete from item where id = 1; commit").await;
    let transaction = next("changes").await;
    assert_eq!(
        transaction["changes"],
        serde_json::json!([
            { "op": "insert", "relation": "public.item", "key": { "id": 3 }, "row": { "id": 3, "name": null } },
            { "op": "move", "relation": "public.item", "key": { "id": 4 }, "old_key": { "id": 3 }, "row": { "id": 4, "name": null } },
            { "op": "delete", "relation": "public.item", "key": { "id": 1 } },
        ])
    );
    assert!(transaction["position"].is_string() && transaction["xid"].is_string());
    assert!(transaction["committed_at_ms"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_goes_on_after_what_was_acknowledged() {
    let site = Site::start(ITEMS).await;
    let url = site.server.url();
    let stored = ["tail", "--url", &url, "--client-id", "thin", "--from", "stored", "--until-live", "--json"];
    assert!(call(&stored).await.status.success());
    site.execute("insert into item values (3, 'three')").await;
    let changes = |output: &Output| lines(output).iter().filter(|line| line["changes"].is_array()).count();
    let second = call(&stored).await;
    assert!(second.status.success());
    assert_eq!(changes(&second), 1, "{second:?}");
    assert!(!call(&["tail", "--url", &url, "--from", "stored"]).await.status.success(), "whose acknowledgement?");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_agrees_and_finds_what_was_tampered_with() {
    let site = Site::start(ITEMS).await;
    let (url, database) = (site.server.url(), site.cluster.url());
    let good = call(&["verify", "--url", &url, "--database-url", &database, "--json"]).await;
    assert!(good.status.success(), "{good:?}");
    let report = lines(&good).remove(0);
    assert_eq!(report["ok"], true);
    let table = serde_json::json!([{ "name": "public.item", "rows": 2, "missing": 0, "extra": 0, "different": 0 }]);
    assert_eq!(report["tables"], table);

    let port = tampering_proxy(site.server.port()).await;
    let url = format!("ws://127.0.0.1:{port}");
    let bad = call(&["verify", "--url", &url, "--database-url", &database, "--json"]).await;
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let report = lines(&bad).remove(0);
    assert_eq!((&report["ok"], &report["tables"][0]["different"]), (&false.into(), &2.into()));
}

/// Forwards to a server, and changes a word on its way to the client.
async fn tampering_proxy(upstream: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", upstream)).await.expect("the server is there");
            let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut near_in, &mut far_out).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok(count @ 1..) = far_in.read(&mut buffer).await {
                    let bytes = &mut buffer[..count];
                    while let Some(at) = bytes.windows(6).position(|window| window == b"honest") {
                        bytes[at..at + 6].copy_from_slice(b"forged");
                    }
                    if near_out.write_all(bytes).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_where_the_server_stands() {
    let site = Site::start(ITEMS).await;
    let client = site.live_client("a").await;
    let url = site.server.url().replace("ws://", "http://");
    let output = call(&["status", "--url", &url, "--json"]).await;
    assert!(output.status.success(), "{output:?}");
    let status = lines(&output).remove(0);
    assert_eq!(status["v"], 1);
    assert!(status["lag_bytes"].is_number(), "{status}");
    let people = call(&["status", "--url", &url]).await;
    let people = String::from_utf8(people.stdout).expect("text");
    assert!(people.starts_with("phase      ") && people.contains("behind the database"), "{people}");
    let era = client.status().borrow().welcome.expect("welcome").0;
    assert_eq!(status["era"], era.to_string());
    for member in ["head", "covered", "confirmed", "phase"] {
        assert!(status[member].is_string(), "{member} in {status}");
    }
    assert!(status["retained_wal_bytes"].is_number() && status["lease"]["token"].is_number(), "{status}");
    let sessions = &status["sessions"];
    let count = |phase: &str| sessions[phase].as_u64().unwrap_or_else(|| panic!("{phase} in {status}"));
    assert_eq!(count("live") + count("hibernated") + count("catch_up"), 1, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_end_with_the_right_status() {
    let nowhere = format!("127.0.0.1:{}", dormouse_runtime::demo::cluster::free_port().expect("a port"));
    let database = format!("postgres://postgres@{nowhere}/postgres");
    let server = format!("ws://{nowhere}");
    for (arguments, status) in [
        (&["nonsense"][..], 2),
        (&["serve"], 2),
        (&["tail", "--url", "ftp://x"], 2),
        (&["tail", "--url", &server, "--from", "7/7"], 2),
        (&["serve", "--database-url", &database, "--listen", "127.0.0.1:0"], 3),
        (&["serve", "--database-url", &database, "--listen", "0.0.0.0:0"], 2),
        (&["verify", "--url", &server, "--database-url", &database], 3),
        (&["status", "--url", &format!("http://{nowhere}")], 3),
        (&["demo", "--check", "--seconds", "0"], 2),
    ] {
        let output = call(arguments).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?} says why");
    }
    let secret = "postgres://u:s3cret@127.0.0.1/d?sslmode=disable";
    for arguments in
        [&["serve", secret][..], &["serve", "--database-urll", secret], &["tail", &format!("--urll={secret}")]]
    {
        let output = call(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!format!("{output:?}").contains("s3cret"), "{output:?}");
    }
}
