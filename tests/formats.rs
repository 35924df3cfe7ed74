//! The four forms in which messages travel, each against a real server.

use crate::support::{Site, eventually, rows};
use async_tungstenite::tokio::client_async;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::HeaderValue;
use dormouse_core::store::MemoryStore;
use dormouse_core::wire::Format;
use dormouse_runtime::client::{Client, Options};
use futures::StreamExt;
use tokio::net::TcpStream;

const ROWS: &str = "create table item (id int primary key, done bool, name text);
    insert into item select n, n % 2 = 0, 'a name that is much like the others ' || n from generate_series(1, 5000) n";

/// All binary and text bytes of a first sync, counted at the socket.
async fn bytes_of_first_sync(port: u16, offered: &str) -> (String, usize, usize) {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    let mut request = format!("ws://127.0.0.1:{port}/api/sync").into_client_request().expect("an address");
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(offered).expect("words"));
    let (mut socket, response) = client_async(request, stream).await.expect("the server takes one of them");
    let agreed = response.headers()["sec-websocket-protocol"].to_str().expect("words").to_owned();
    let hello = format!(r#"{{"type":"hello","client":"{agreed}","attempt":1,"scope":"all","resume":null}}"#);
    socket.send(Message::text(hello)).await.expect("sent");
    let (mut text, mut binary) = (0, 0);
    // 5,000 rows are fewer chunks than a window, and the first message of the seam ends them.
    loop {
        let ends = match socket.next().await.expect("the server goes on").expect("a message") {
            Message::Text(message) => {
                text += message.len();
                message.contains(r#""type":"seam""#)
            }
            Message::Binary(message) => {
                binary += message.len();
                message[0] == 2 && agreed.contains("binary")
            }
            _ => false,
        };
        if ends {
            return (agreed, text, binary);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_carries_the_same_rows() {
    let site = Site::start(ROWS).await;
    let clients = Format::ALL.map(|format| {
        let options = Options::new(&site.server.url(), &format!("in-{format}")).expect("valid").with_format(format);
        (format, Client::connect(options, MemoryStore::default()))
    });
    for (_, client) in &clients {
        client.wait_until_live().await.expect("live");
    }
    site.execute("insert into item values (0, null, 'é \"\\' || repeat('long ', 2000))").await;
    site.execute("update item set name = upper(name) where id between 100 and 3000; delete from item where id > 4900; update item set id = -id where id = 7").await;
    let sql = "select id::text || '|' || coalesce(done::text::char(1), 'null') || '|' || name from item";
    let at_postgres = site.sql().await.query(sql, &[]).await.expect("rows");
    let mut expected: Vec<String> = at_postgres.iter().map(|row| row.get(0)).collect();
    expected.sort_unstable();
    for (format, client) in &clients {
        eventually(&format!("all rows as {format}"), async || {
            client.read(|store| rows(store, "public.item")) == expected
        })
        .await;
        assert_eq!(client.read(|store| store.held().anomalies), 0, "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_is_agreed_on_and_deflating_makes_it_small() {
    let site = Site::start(ROWS).await;
    let port = site.server.port();
    let (_, json, none) = bytes_of_first_sync(port, "dormouse.v1.json").await;
    assert_eq!(none, 0, "JSON is text");
    let (_, little, deflated) = bytes_of_first_sync(port, "dormouse.v1.json.deflate").await;
    assert!(little + deflated < json / 4, "{json} bytes deflate to {}", little + deflated);
    let (agreed, text, binary) =
        bytes_of_first_sync(port, "something.else, dormouse.v1.binary, dormouse.v1.json").await;
    assert_eq!(agreed, "dormouse.v1.binary", "the first that the server speaks");
    assert!(text < 1_000 && binary < json && binary > json / 2, "{json} bytes of JSON are {binary} in binary");
    let (_, _, both) = bytes_of_first_sync(port, "dormouse.v1.binary.deflate").await;
    assert!(both < binary / 3, "{binary} bytes deflate to {both}");
}
