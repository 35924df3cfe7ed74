//! A database that is there and silent: something between takes what is sent, and nothing comes back.

use super::support::{SECOND, World};
use crate::db::{Config, Database};
use crate::demo::proxy::Proxy;
use crate::source::{Source, StreamSource};
use dormouse_core::fault::Failure;
use dormouse_core::history::ReadHead;
use dormouse_core::replication::{Fenced, LeaseTaken, ReadSource, RenewLease, StartStream, TakeLease};
use futures::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

async fn through_proxy(world: &World) -> (Proxy, String) {
    let port = world.cluster.port();
    let proxy = Proxy::start(port).await.expect("a port");
    let url = world.cluster.url().replace(&port.to_string(), &proxy.port().to_string());
    (proxy, url)
}

/// It greets as Postgres does, and then says nothing more.
#[tokio::test]
async fn who_greets_and_then_is_silent_is_not_waited_for() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let (authenticated, ready) = (b"R\0\0\0\x08\0\0\0\0", b"Z\0\0\0\x05I");
    let _silent = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(&[&authenticated[..], ready].concat()).await;
            held.push(socket);
        }
    }));
    let url = format!("postgres://anybody@127.0.0.1:{port}/any?sslmode=disable");
    let connecting = Database::connect(Config { answer_max: 2 * SECOND, ..Config::new(url) });
    let connected = tokio::time::timeout(30 * SECOND, connecting).await.expect("it is given up");
    let Err(Failure::Unavailable(why)) = connected else { panic!("nobody was asked: {connected:?}") };
    assert!(why.contains("answered nothing for 2 s"), "{why}");
}

#[tokio::test]
async fn who_does_not_answer_is_asked_on_other_connections() {
    let world = World::new("").await;
    world.era().await;
    let (proxy, url) = through_proxy(&world).await;
    let config = Config { answer_max: 3 * SECOND, ..Config::new(url) };
    let db = Database::connect(config).await.expect("connects");
    let lease = TakeLease { holder: "a test".into(), ttl: 60 * SECOND };
    let Ok(LeaseTaken::Taken { token, .. }) = db.take_lease(lease).await else { panic!("it is the same holder") };
    let renew = async || db.renew_lease(RenewLease { token, ttl: 60 * SECOND }).await;
    // As many connections as there may be, all at rest.
    assert!(join_all((0..4).map(|_| db.nudge_source())).await.iter().all(Result::is_ok));
    db.read_head(ReadHead).await.expect("answers");

    assert!(proxy.stall(|| true) >= 5);
    let (limited, endless, shared) =
        tokio::join!(db.in_time(renew()), db.nudge_source(), db.in_time(db.read_head(ReadHead)));
    assert!(matches!(&limited, Err(Failure::Unavailable(why)) if why.contains("not answered")), "{limited:?}");
    assert!(matches!(endless, Err(Failure::Unavailable(_))), "what waits without end is told too: {endless:?}");
    assert!(matches!(shared, Err(Failure::Unavailable(_))), "{shared:?}");

    assert_eq!(db.in_time(renew()).await, Ok(Fenced::Done(())));
    db.in_time(db.read_head(ReadHead)).await.expect("nobody waits for what was asked before");
    assert!(join_all((0..4).map(|_| db.in_time(db.nudge_source()))).await.iter().all(Result::is_ok));
}

/// A read is given up for each command and begun again: a stream that says nothing is silent all the same.
#[tokio::test]
async fn a_stream_is_silent_however_often_its_read_begins_anew() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    let (proxy, url) = through_proxy(&world).await;
    let db = Database::connect(Config::new(url)).await.expect("connects");
    let stream = StreamSource::new(db).patient_for(3 * SECOND);
    stream.start(StartStream { token, from: head.covered }).await.expect("streams");
    assert!(proxy.stall(|| true) >= 2);
    let q = ReadSource { changes_max: 1_000, bytes_max: 1 << 20 };
    let silent = async {
        loop {
            if let Ok(Err(why)) = tokio::time::timeout(SECOND, stream.read(q.clone())).await {
                return why;
            }
        }
    };
    let why = tokio::time::timeout(30 * SECOND, silent).await.expect("it is noticed");
    assert!(why.reason().contains("silent"), "{why:?}");
}
