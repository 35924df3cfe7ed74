//! Peers that break the rules: each gets its clear error or bound, and nobody else notices.

use crate::support::site::options;
use crate::support::{PATIENCE, Raw, Site, holds};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::error::Error;
use dormouse_core::change::Scope;
use dormouse_core::fault::FaultCode;
use dormouse_core::limits::CLIENT_FRAME_BYTES_MAX;
use dormouse_core::position::{CommitTime, Lsn, Position, Waypoint};
use dormouse_core::session::ClientId;
use dormouse_core::store::MemoryStore;
use dormouse_core::wire::{ClientMessage, Hello, Resume, ServerMessage};
use dormouse_core::xid::Xid;
use dormouse_runtime::client::Client;
use std::time::{Duration, Instant};

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one')";

fn hello(name: &str, attempt: u64, resume: Resume) -> Hello {
    let client = ClientId::new(name).expect("valid");
    Hello { client, instance: Some(1), attempt, token: None, scope: Scope::All, resume }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_named_and_closed() {
    let site = Site::start(ITEMS).await;
    let bystander = site.live_client("bystander").await;
    let port = site.server.port();
    let good = ClientMessage::Hello(hello("h", 1, Resume::Nothing));
    for text in ["", "{", "null", "[]", "{\"type\":\"nothing\"}", "{\"type\":\"ack\"}", "\u{0}", &"[".repeat(10_000)] {
        let mut raw = Raw::dial(port).await;
        raw.text(text).await;
        assert_eq!(raw.fault().await, Some(FaultCode::Malformed), "{:?} is no message", &text[..text.len().min(40)]);
        // After a good greeting as well.
        let mut raw = Raw::dial(port).await;
        raw.say(&good).await;
        raw.text(text).await;
        let fault = raw.fault().await;
        assert!(matches!(fault, Some(FaultCode::Malformed | FaultCode::Replaced | FaultCode::Stale)), "{fault:?}");
    }
    let mut raw = Raw::dial(port).await;
    raw.send(Message::binary(vec![0_u8; 100])).await.expect("sends");
    assert_eq!(raw.fault().await, Some(FaultCode::Malformed));
    // Too large, at once and in pieces.
    let mut raw = Raw::dial(port).await;
    raw.text("x".repeat(CLIENT_FRAME_BYTES_MAX + 1)).await;
    assert_eq!(raw.fault().await, Some(FaultCode::TooLarge));
    // A greeting comes first, and once.
    let mut raw = Raw::dial(port).await;
    raw.say(&ClientMessage::Ack { through: Waypoint::default() }).await;
    assert_eq!(raw.fault().await, Some(FaultCode::Malformed));
    let mut raw = Raw::dial(port).await;
    raw.say(&ClientMessage::Hello(hello("twice", 1, Resume::Nothing))).await;
    raw.say(&ClientMessage::Hello(hello("twice", 2, Resume::Nothing))).await;
    assert_eq!(raw.fault().await, Some(FaultCode::Malformed));

    site.execute("insert into item values (2, 'two')").await;
    holds(&bystander, "public.item", &["1|one", "2|two"]).await;
    assert_eq!(bystander.status().borrow().welcomes, 1, "it was not disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_is_refused_with_the_known_ones() {
    let site = Site::start(ITEMS).await;
    match Raw::dial_as(site.server.port(), "dormouse.v99.json").await {
        Err(Error::Http(response)) => {
            assert_eq!(response.status(), 400);
            let body = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned();
            assert!(body.contains("dormouse.v1.json"), "{body:?}");
        }
        Err(error) => panic!("refused without a sentence: {error}"),
        Ok(_) => panic!("taken, although nobody speaks it"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_were_never_here() {
    let site = Site::start(ITEMS).await;
    let client = site.live_client("honest").await;
    let shown = client.status().borrow().shown.expect("live");
    let port = site.server.port();

    // Far ahead of this very era: given a while to come true.
    let future = Waypoint { position: Position::after(Lsn(u64::MAX / 2)), xid: Xid(77), ..shown };
    // No transaction ended there.
    let between = Position::after(Lsn(shown.position.commit_lsn.0 - 1));
    let unknown = Waypoint { position: between, xid: Xid(5), committed_at: CommitTime(5), ..shown };
    // Of an era that never was.
    let mut other = shown;
    other.era.id ^= 1;
    for (name, resume) in [("future", future), ("unknown", unknown), ("other", other)] {
        let mut raw = Raw::dial(port).await;
        raw.say(&ClientMessage::Hello(hello(name, 1, Resume::At(resume)))).await;
        let mut resynced = false;
        while let Some(message) = raw.next().await {
            match message {
                ServerMessage::Resync { .. } => resynced = true,
                ServerMessage::Chunk { .. } => break,
                ServerMessage::Page(_) => panic!("{name}: nothing follows a position that is not known"),
                ServerMessage::Fault(fault) => panic!("{name}: {fault:?}"),
                _ => {}
            }
        }
        assert!(resynced, "{name} is told that everything comes again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_what_was_never_sent_is_a_fault() {
    let site = Site::start(ITEMS).await;
    let honest = site.live_client("honest").await;
    let shown = honest.status().borrow().shown.expect("live");
    let mut raw = Raw::dial(site.server.port()).await;
    raw.say(&ClientMessage::Hello(hello("liar", 1, Resume::At(shown)))).await;
    while !matches!(raw.next().await.expect("it is served"), ServerMessage::Live) {}
    let through = Waypoint { position: Position::after(Lsn(u64::MAX / 2)), xid: Xid(9), ..shown };
    raw.say(&ClientMessage::Ack { through }).await;
    assert_eq!(raw.fault().await, Some(FaultCode::Malformed));
    site.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sockets_of_one_client_the_newer_lives() {
    let site = Site::start(ITEMS).await;
    let mut first = Raw::dial(site.server.port()).await;
    first.say(&ClientMessage::Hello(hello("twin", 1, Resume::Nothing))).await;
    assert!(matches!(first.next().await, Some(ServerMessage::Welcome { .. })));
    let second = site.live_client("twin").await;
    assert_eq!(first.fault().await, Some(FaultCode::Replaced));
    site.execute("insert into item values (2, 'two')").await;
    holds(&second, "public.item", &["1|one", "2|two"]).await;
    // A greeting that was overtaken: the same instance with a lower attempt.
    let mut newer = Raw::dial(site.server.port()).await;
    newer.say(&ClientMessage::Hello(hello("order", 9, Resume::Nothing))).await;
    assert!(matches!(newer.next().await, Some(ServerMessage::Welcome { .. })));
    let mut older = Raw::dial(site.server.port()).await;
    older.say(&ClientMessage::Hello(hello("order", 8, Resume::Nothing))).await;
    assert_eq!(older.fault().await, Some(FaultCode::Stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_bounded_and_disturbs_nobody() {
    let site = Site::start("create table item (id int primary key, name text)").await;
    let bystander = site.live_client("bystander").await;
    let mut deaf = Vec::new();
    for n in 0..5 {
        let mut raw = Raw::dial(site.server.port()).await;
        raw.say(&ClientMessage::Hello(hello(&format!("deaf-{n}"), 1, Resume::Nothing))).await;
        deaf.push(raw); // From here on nobody reads it.
    }
    for n in 0..20 {
        let insert =
            format!("insert into item select i, repeat('x', 1000) from generate_series({0}, {0} + 999) i", n * 1_000);
        site.execute(&insert).await;
    }
    let shown = |store: &MemoryStore| store.table("public.item").map_or(0, |table| table.len());
    let all = async {
        while bystander.read(shown) < 20_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the others go on");
    let rss_kb = site.memory_kb("VmRSS");
    assert!(rss_kb < 250_000, "the server takes {rss_kb} kB");
    assert_eq!(bystander.status().borrow().welcomes, 1);
    drop(deaf);
    site.verify().await;
}

/// Ten thousand sockets are opened and dropped, while fifty clients see each commit within five seconds.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_come_and_go_leave_nothing() {
    const ROUNDS: usize = 100;
    const AT_ONCE: usize = 100;
    const LIVING: usize = 50;
    let site = Site::start(ITEMS).await;
    let living =
        futures::future::join_all((0..LIVING).map(async |n| site.live_client(&format!("living-{n}")).await)).await;
    let pid = site.server.pid().expect("runs");
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).expect("runs").count();
    let before = open();
    let port = site.server.port();
    let application = site.sql().await;
    let insert = application.prepare("insert into item values ($1, 'new')").await.expect("valid");
    for round in 0..ROUNDS {
        let dials = futures::future::join_all((0..AT_ONCE).map(|n| come_and_go(port, round, n)));
        let commit = async {
            let id = i32::try_from(round + 2).expect("few");
            application.execute(&insert, &[&id]).await.expect("inserted");
            let committed = Instant::now();
            let count = |store: &MemoryStore| store.table("public.item").map_or(0, |table| table.len());
            for client in &living {
                let seen = client.wait_for(|_| client.read(count) == round + 2);
                tokio::time::timeout(PATIENCE, seen).await.expect("it arrives").expect("it lives");
            }
            committed.elapsed()
        };
        let (_, took) = tokio::join!(dials, commit);
        assert!(took < Duration::from_secs(5), "round {round}: a commit took {took:?} to reach all");
    }
    for client in &living {
        assert_eq!(client.status().borrow().welcomes, 1, "it was not disturbed");
    }
    crate::support::eventually("their sockets are closed", async || open() <= before + 20).await;
    println!("the server's peak memory was {} kB", site.memory_kb("VmHWM"));
    site.verify().await;
}

async fn come_and_go(port: u16, round: usize, n: usize) {
    match n % 4 {
        // Not even a request.
        0 => drop(tokio::net::TcpStream::connect(("127.0.0.1", port)).await),
        // No greeting.
        1 => drop(Raw::dial(port).await),
        // Gone in the middle of a backfill.
        _ => {
            let mut raw = Raw::dial(port).await;
            let name = format!("passer-by-{round}-{n}");
            raw.say(&ClientMessage::Hello(hello(&name, 1, Resume::Nothing))).await;
            if n % 4 == 3 {
                let _ = raw.next().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_asked_for() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "s3cret alice-\n").expect("written");
    let path = file.path().to_str().expect("text");
    let site = Site::start_with(ITEMS, &[], &["--auth", path]).await;
    let url = site.server.url();
    let refused = async |name: &str, credential: Option<&str>| {
        let options = options(&url, name).with_credential(credential.map(Into::into));
        let client = Client::connect(options, MemoryStore::default());
        client.wait_until_live().await.expect_err("it is refused").0.map(|fault| fault.code)
    };
    assert_eq!(refused("alice-1", None).await, Some(FaultCode::Unauthorized));
    assert_eq!(refused("alice-1", Some("wrong")).await, Some(FaultCode::Unauthorized));
    assert_eq!(refused("bob-1", Some("s3cret")).await, Some(FaultCode::Forbidden));
    let alice =
        Client::connect(options(&url, "alice-1").with_credential(Some("s3cret".into())), MemoryStore::default());
    alice.wait_until_live().await.expect("welcome");
    assert!(!site.server.log().contains("s3cret"), "no credential is logged");
}
