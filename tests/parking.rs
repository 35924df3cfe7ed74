//! Quiet connections are parked: they lose their task and their buffers, and nothing else.

use crate::support::{PATIENCE, Raw, Site, eventually, holds, http};
use dormouse_core::change::Scope;
use dormouse_core::fault::FaultCode;
use dormouse_core::position::Waypoint;
use dormouse_core::session::ClientId;
use dormouse_core::wire::{ClientMessage, Hello, Resume, ServerMessage};
use dormouse_runtime::demo::process::signal;
use futures::StreamExt;
use futures::stream;
use std::time::{Duration, Instant};

const ITEMS: &str = "create table item (id int primary key, name text)";

/// How many connections are parked, and how often one was given a task again.
async fn parked(site: &Site) -> (u64, u64) {
    let metrics = http::get(site.server.port(), "/metrics", &[]).await.body;
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let (parked, unparked) = (value("dormouse_connections_parked "), value("dormouse_connections_unparked_total "));
    (parked.expect("it is counted"), unparked.expect("it is counted"))
}

async fn until_parked(site: &Site, count: u64) {
    eventually("quiet connections are parked", async || parked(site).await.0 == count).await;
}

/// A connection that is live and says nothing by itself.
async fn live(site: &Site, name: &str, from: Waypoint) -> Raw {
    let mut raw = Raw::dial(site.server.port()).await;
    let client = ClientId::new(name).expect("valid");
    let resume = Resume::At(from);
    raw.say(&ClientMessage::Hello(Hello {
        client,
        instance: Some(1),
        attempt: 1,
        token: None,
        scope: Scope::All,
        resume,
    }))
    .await;
    while !matches!(raw.next().await.expect("it is served"), ServerMessage::Live) {}
    raw
}

/// Where a first client of this site came to stand. It is gone again.
async fn standing(site: &Site) -> Waypoint {
    let client = site.live_client("first").await;
    let shown = client.status().borrow().shown.expect("live");
    client.forget().await;
    shown
}

/// The changes of the next page, which is acknowledged.
async fn next_changes(raw: &mut Raw) -> usize {
    loop {
        match raw.next().await.expect("it is served") {
            ServerMessage::Page(page) => {
                raw.say(&ClientMessage::Ack { through: page.through }).await;
                return page.changes();
            }
            ServerMessage::Schema(_) | ServerMessage::Live => {}
            other => panic!("{other:?} instead of a page"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_connection_gets_a_change_at_once() {
    let site = Site::start(ITEMS).await;
    let mut raw = live(&site, "parked", standing(&site).await).await;
    let application = site.sql().await;
    let mut fastest = Duration::MAX;
    for n in 0..3 {
        until_parked(&site, 1).await;
        application.batch_execute(&format!("insert into item values ({n}, 'new')")).await.expect("inserted");
        let committed = Instant::now();
        assert_eq!(next_changes(&mut raw).await, 1);
        fastest = fastest.min(committed.elapsed());
    }
    println!("a parked connection got a change {fastest:?} after its commit");
    assert!(fastest < Duration::from_millis(100), "a busy machine is slow once, not three times: {fastest:?}");
}

/// Who is in the middle of a frame, or of a message in pieces, is not parked, and the rest of it is understood.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_half_said_is_not_lost() {
    // Masked with zeros: `ping` in one frame, and in two.
    const WHOLE: &[u8] = &[0x81, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'];
    const BEGUN: &[u8] = &[0x01, 0x82, 0, 0, 0, 0, b'p', b'i'];
    const ENDED: &[u8] = &[0x80, 0x82, 0, 0, 0, 0, b'n', b'g'];
    let site = Site::start(ITEMS).await;
    let from = standing(&site).await;
    let halves = [
        (WHOLE[..1].to_vec(), WHOLE[1..].to_vec()),
        (WHOLE[..5].to_vec(), WHOLE[5..].to_vec()),
        (WHOLE[..8].to_vec(), WHOLE[8..].to_vec()),
        (BEGUN.to_vec(), ENDED.to_vec()),
        ([WHOLE, BEGUN].concat(), ENDED.to_vec()),
    ];
    let mut speakers = Vec::new();
    for (n, (first, rest)) in halves.into_iter().enumerate() {
        speakers.push((live(&site, &format!("speaker-{n}"), from).await, first, rest));
    }
    until_parked(&site, speakers.len() as u64).await;
    let mut pongs = 0;
    for (raw, first, _) in &mut speakers {
        raw.bytes(first).await;
        if first.starts_with(WHOLE) {
            raw.pong().await;
            pongs += 1;
        }
    }
    assert_eq!(pongs, 1, "what was whole is answered");
    eventually("none is parked that is in the middle of something", async || parked(&site).await.0 == 0).await;
    // A connection that is quiet only since then is parked, so that they would be by now.
    let _later = live(&site, "later", from).await;
    until_parked(&site, 1).await;
    for (raw, _, rest) in &mut speakers {
        raw.bytes(rest).await;
        raw.pong().await;
    }
    until_parked(&site, speakers.len() as u64 + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_wake_at_once_and_see_each_change_once() {
    const CLIENTS: usize = 1_000;
    const CHANGES: i32 = 5;
    let site = Site::start(ITEMS).await;
    let from = standing(&site).await;
    let connecting = (0..CLIENTS).map(|n| {
        let site = &site;
        async move { live(site, &format!("client-{n}"), from).await }
    });
    let mut all: Vec<_> = stream::iter(connecting).buffer_unordered(32).collect().await;
    until_parked(&site, CLIENTS as u64).await;
    let before = parked(&site).await.1;
    let application = site.sql().await;
    let started = Instant::now();
    for n in 0..CHANGES {
        application.batch_execute(&format!("insert into item values ({n}, 'new')")).await.expect("inserted");
    }
    let seen = futures::future::join_all(all.iter_mut().map(async |raw| {
        let mut seen = 0;
        while seen < CHANGES as usize {
            seen += next_changes(raw).await;
        }
        seen
    }));
    let seen = tokio::time::timeout(PATIENCE, seen).await.expect("all get all");
    println!("{CLIENTS} parked connections got {CHANGES} changes within {:?}", started.elapsed());
    assert!(seen.iter().all(|seen| *seen == CHANGES as usize), "{seen:?}");
    assert!(parked(&site).await.1 >= before + CLIENTS as u64, "all had been parked");
    // Nothing came twice: after what they have seen, all are told the next change and no other.
    application.batch_execute("insert into item values (100, 'last')").await.expect("inserted");
    for raw in &mut all {
        assert_eq!(next_changes(raw).await, 1);
    }
    until_parked(&site, CLIENTS as u64).await;
}

/// The registration of a parked client that went away stays for its time-to-live.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_peer_that_goes_is_noticed() {
    let site = Site::start(ITEMS).await;
    let raw = live(&site, "goes", standing(&site).await).await;
    until_parked(&site, 1).await;
    drop(raw);
    until_parked(&site, 0).await;
    eventually("its session is gone", async || {
        let status = http::get(site.server.port(), "/api/replication/status", &[]).await.body;
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["sessions"].as_object().expect("an object").values().all(|count| count == 0)
    })
    .await;
    let kept = "select expires_at > now() + interval '23 hours' from dormouse.client where id = 'goes'";
    assert!(site.sql().await.query_one(kept, &[]).await.expect("it is registered").get::<_, bool>(0));
}

/// Silence is noticed without a timer for each connection, and a ping from a parked one is heard.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_peer_that_is_silent_is_closed() {
    let site = Site::start_with(ITEMS, &[], &["--silence-timeout", "6s"]).await;
    let from = standing(&site).await;
    let mut silent = live(&site, "silent", from).await;
    let mut lively = live(&site, "lively", from).await;
    let since = Instant::now();
    until_parked(&site, 2).await;
    let mut rhythm = tokio::time::interval(Duration::from_secs(3));
    let ended = {
        let mut ended = std::pin::pin!(silent.ended());
        loop {
            tokio::select! {
                ended = &mut ended => break ended,
                _ = rhythm.tick() => {
                    lively.text("ping").await;
                    lively.pong().await;
                }
            }
        }
    };
    assert!(ended.duration_since(since) >= Duration::from_secs(5), "not before its time");
    until_parked(&site, 1).await;
    site.execute("insert into item values (1, 'one')").await;
    assert_eq!(next_changes(&mut lively).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_session_whose_credential_is_taken_back_is_closed() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "s3cret guest\nother friend\n").expect("written");
    let path = file.path().to_str().expect("text");
    let operator = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(operator.path(), "0perator\n").expect("written");
    let credential = operator.path().to_str().expect("text");
    let site = Site::start_with(ITEMS, &[], &["--auth", path, "--admin-credential-file", credential]).await;
    let hello = |name: &str, credential: &str| {
        let client = ClientId::new(name).expect("valid");
        let (token, resume) = (Some(credential.into()), Resume::Nothing);
        ClientMessage::Hello(Hello { client, instance: Some(1), attempt: 1, token, scope: Scope::All, resume })
    };
    let mut opened = Vec::new();
    for (name, credential) in [("guest", "s3cret"), ("friend", "other")] {
        let mut raw = Raw::dial(site.server.port()).await;
        raw.say(&hello(name, credential)).await;
        loop {
            match raw.next().await.expect("it is served") {
                ServerMessage::Seam { complete: Some(through), .. } => raw.say(&ClientMessage::Ack { through }).await,
                ServerMessage::Seam { backfill, n, .. } | ServerMessage::Chunk { backfill, n, .. } => {
                    raw.say(&ClientMessage::Staged { backfill, n }).await;
                }
                ServerMessage::Live => break,
                _ => {}
            }
        }
        opened.push(raw);
    }
    eventually("both are parked", async || {
        let shown = [("Authorization", "Bearer 0perator")];
        http::get(site.server.port(), "/metrics", &shown).await.body.contains("dormouse_connections_parked 2\n")
    })
    .await;
    std::fs::write(file.path(), "other friend\n").expect("written");
    signal("HUP", &[site.server.pid().expect("runs")]);
    let (mut friend, mut guest) = (opened.pop().expect("two"), opened.pop().expect("two"));
    assert_eq!(guest.fault().await, Some(FaultCode::Unauthorized));
    site.execute("insert into item values (1, 'one')").await;
    assert_eq!(next_changes(&mut friend).await, 1);
}

/// The hub sleeps, its sockets are parked: a commit wakes both, and SIGTERM too.
#[tokio::test(flavor = "multi_thread")]
async fn hub_and_sockets_sleep_and_wake() {
    let site = Site::start_with(ITEMS, &[], &["--hibernate-after", "1s"]).await;
    let client = site.live_client("sleeper").await;
    // Not within the call: a status that is borrowed while others are waited for keeps the client from its next one.
    let shown = client.status().borrow().shown.expect("live");
    let mut raw = live(&site, "raw", shown).await;
    eventually("all sleep", async || {
        let metrics = http::get(site.server.port(), "/metrics", &[]).await.body;
        metrics.contains("dormouse_connections_parked 2")
            && metrics.contains("dormouse_sessions{phase=\"hibernated\"} 2")
    })
    .await;
    site.execute("insert into item values (1, 'one')").await;
    assert_eq!(next_changes(&mut raw).await, 1);
    holds(&client, "public.item", &["1|one"]).await;
    until_parked(&site, 2).await;
    signal("TERM", &[site.server.pid().expect("runs")]);
    assert_eq!(raw.fault().await, Some(FaultCode::GoingAway), "who is parked is told too");
}
