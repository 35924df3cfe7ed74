//! What an operator relies on: reports, the door, and an orderly end.

use crate::support::{PATIENCE, Raw, Site, eventually};
use dormouse_core::change::Scope;
use dormouse_core::fault::FaultCode;
use dormouse_core::session::ClientId;
use dormouse_core::wire::{ClientMessage, Hello, Resume};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one')";

/// Sends a request's head as it stands, and returns the answer, if need be until the server closes.
async fn request(port: u16, head: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.expect("sent");
    let mut response = Vec::new();
    let read = async {
        let open = |response: &[u8]| response.starts_with(b"HTTP/1.1 101") && response.ends_with(b"\r\n\r\n");
        let whole = |response: &[u8]| response.ends_with(b"}\n") || open(response);
        while !whole(&response) && stream.read_buf(&mut response).await.is_ok_and(|n| n > 0) {}
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer");
    String::from_utf8(response).expect("text")
}

async fn get(port: u16, path: &str) -> String {
    request(port, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_replication() {
    let mut site = Site::start(ITEMS).await;
    let port = site.server.port();
    assert!(get(port, "/healthz").await.starts_with("HTTP/1.1 200"));
    eventually("ready", async || get(port, "/readyz").await.starts_with("HTTP/1.1 200")).await;
    site.cluster.kill();
    eventually("not ready", async || get(port, "/readyz").await.starts_with("HTTP/1.1 503")).await;
    assert!(get(port, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(port, "/api/replication/status").await.contains("\"phase\""), "a report needs no database");
    site.cluster.launch().expect("Postgres starts again");
    eventually("ready again", async || get(port, "/readyz").await.starts_with("HTTP/1.1 200")).await;
    let nowhere = get(port, "/nowhere").await;
    assert!(nowhere.starts_with("HTTP/1.1 404") && nowhere.contains("clients connect to /api/sync"), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_stay_outside() {
    let site = Site::start_with(ITEMS, &[], &["--origin", "https://app.example"]).await;
    let port = site.server.port();
    let upgrade = async |origin: &str, host: &str| {
        let head = format!(
            "GET /api/sync HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: dormouse.v1.json"
        );
        let head = if origin.is_empty() { head.replace("Origin: \r\n", "") } else { head };
        request(port, &head).await
    };
    let own = format!("127.0.0.1:{port}");
    let accepted = upgrade("", &own).await;
    assert!(accepted.starts_with("HTTP/1.1 101") && accepted.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{accepted}");
    assert!(upgrade(&format!("http://{own}"), &own).await.starts_with("HTTP/1.1 101"));
    assert!(upgrade("https://app.example", &own).await.starts_with("HTTP/1.1 101"));
    for (origin, host) in
        [("https://evil.example", own.as_str()), ("http://evil.example", "evil.example"), ("null", own.as_str())]
    {
        let refused = upgrade(origin, host).await;
        assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("\"forbidden\""), "{origin}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_says_good_bye_and_frees_the_lease() {
    let mut site = Site::start(ITEMS).await;
    let mut greeted = Raw::dial(site.server.port()).await;
    let client = ClientId::new("leaving").expect("valid");
    let hello =
        Hello { client, instance: Some(1), attempt: 1, token: None, scope: Scope::All, resume: Resume::Nothing };
    greeted.say(&ClientMessage::Hello(hello)).await;
    assert!(greeted.next().await.is_some(), "it is welcome");
    let mut silent = Raw::dial(site.server.port()).await;

    let greeted = tokio::spawn(async move { greeted.fault().await });
    let silent = tokio::spawn(async move { silent.fault().await });
    assert!(tokio::task::block_in_place(|| site.server.stop(PATIENCE)), "it ends by itself");
    assert_eq!(greeted.await.expect("no panic"), Some(FaultCode::GoingAway));
    assert_eq!(silent.await.expect("no panic"), Some(FaultCode::GoingAway));
    let row = site.sql().await.query_one("select released from dormouse.lease", &[]).await.expect("a row");
    assert!(row.get::<_, bool>(0), "the next server need not wait");
}
