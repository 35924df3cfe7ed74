//! The client against a small scripted server.

use super::BackfillProgress;
use super::{Client, Options};
use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::{TokioAdapter, accept_hdr_async};
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use async_tungstenite::tungstenite::http::HeaderValue;
use dormouse_core::change::{Change, Chunk, Column, Page, Relation, Transaction};
use dormouse_core::client::Notice;
use dormouse_core::fault::{FaultCode, PeerFault};
use dormouse_core::position::{CommitTime, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::row::{Row, Value};
use dormouse_core::session::{BackfillId, ClientId};
use dormouse_core::store::MemoryStore;
use dormouse_core::wire::json::{decode_client, encode_server};
use dormouse_core::wire::{ClientMessage, Format, Resume, ServerMessage};
use dormouse_core::xid::Xid;
use futures::StreamExt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

struct Socket(WebSocketStream<TokioAdapter<TcpStream>>);

impl Socket {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.expect("a client dials");
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let answer = |request: &Request, mut response: Response| {
            assert_eq!(request.headers()["authorization"], "Bearer secret");
            // This server speaks plain JSON only, like one from before there were other formats.
            assert_eq!(request.headers()["sec-websocket-protocol"], "dormouse.v1.binary, dormouse.v1.json");
            let json = HeaderValue::from_static(Format::Json.subprotocol());
            response.headers_mut().insert("sec-websocket-protocol", json);
            Ok(response)
        };
        Self(accept_hdr_async(stream, answer).await.expect("it is a WebSocket"))
    }

    async fn send(&mut self, message: ServerMessage) {
        self.0.send(Message::text(encode_server(&message))).await.expect("the client listens");
    }

    async fn next(&mut self) -> Option<ClientMessage> {
        loop {
            match self.0.next().await? {
                Ok(Message::Text(text)) if text.as_str() == "ping" => {
                    self.0.send(Message::text("pong")).await.ok()?;
                }
                Ok(Message::Text(text)) => return Some(decode_client(&text).expect("a message of the protocol")),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    async fn welcome(&mut self, head: Waypoint, from: Option<Waypoint>) -> Resume {
        let Some(ClientMessage::Hello(hello)) = self.next().await else { panic!("a greeting comes first") };
        assert_eq!(hello.token, None, "the credential is in the header alone");
        let client = ClientId::new("c").expect("valid");
        let (era, schema, head) = (head.era, head.schema, head.position);
        self.send(ServerMessage::Welcome { client, era, schema, head, from, credential_expires_in_ms: None }).await;
        hello.resume
    }
}

fn at(lsn: u64) -> Waypoint {
    let position = Position::after(Lsn(lsn));
    Waypoint { position, schema: SchemaVersion(1), xid: Xid(lsn), committed_at: CommitTime(1), ..Waypoint::default() }
}

fn relation() -> Arc<Relation> {
    let column = |name: &str, key| Column { name: name.into(), type_oid: 23, type_name: "int4".into(), key };
    Arc::new(Relation::new("public", "t", vec![column("id", true), column("n", false)]))
}

fn row(id: &str, n: &str) -> Row {
    Row::of([Value::Text(id), Value::Text(n)])
}

fn page(after: u64, through: u64, n: &str) -> Arc<Page> {
    let change = Change::Update { relation: relation().id, row: row("1", n) };
    let transaction = Transaction {
        commit_lsn: Lsn(through),
        end_lsn: Lsn(through + 1),
        xid: Xid(through),
        committed_at: CommitTime(1),
        first: 0,
        complete: true,
        changes: [change].into(),
    };
    Arc::new(Page {
        after: Position::after(Lsn(after)),
        through: at(through),
        relations: [relation()].into(),
        transactions: vec![transaction],
    })
}

async fn backfill(socket: &mut Socket) {
    socket.send(ServerMessage::Schema(relation())).await;
    let chunk = Arc::new(Chunk { relation: relation(), rows: vec![row("1", "0"), row("2", "0")] });
    socket.send(ServerMessage::Chunk { backfill: BackfillId(7), n: 0, of: 2, chunk }).await;
    let complete = Some(at(10));
    socket.send(ServerMessage::Seam { backfill: BackfillId(7), n: 1, page: None, complete }).await;
}

fn options(port: u16) -> Options {
    let mut options = Options::new(&format!("ws://127.0.0.1:{port}"), "c").expect("valid");
    options.config.backoff_first = Duration::from_millis(5);
    options.with_credential(Some("secret".into()))
}

/// However much is on its way in when it ends, its last words go out. The client has threads of its own, one of which waits for the
/// store meanwhile.
#[tokio::test]
async fn a_client_that_is_forgotten_amid_a_flood_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let options = options(listener.local_addr().expect("bound").port());
    let clients = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("threads");
    let client = {
        let _entered = clients.enter();
        Client::connect(options, MemoryStore::default())
    };
    let mut socket = Socket::accept(&listener).await;
    socket.welcome(at(10), None).await;
    backfill(&mut socket).await;
    client.wait_for(|status| status.shown.is_some()).await.expect("it syncs");
    let (mut sending, mut hearing) = socket.0.split();
    let store = client.store();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (hold, held) = tokio::sync::oneshot::channel();
    let busy = std::thread::spawn(move || {
        let _held = store.lock();
        hold.send(()).expect("waited for");
        released.recv().expect("released");
    });
    held.await.expect("held");
    let (fill, filled) = tokio::sync::oneshot::channel();
    let flood = tokio::spawn(async move {
        let mut fill = Some(fill);
        for n in 10.. {
            let message = encode_server(&ServerMessage::Page(page(n, n + 1, "1")));
            let mut sent = pin!(sending.send(Message::text(message)));
            if tokio::time::timeout(Duration::from_millis(200), &mut sent).await.is_err() {
                let _ = fill.take().map(|fill| fill.send(())); // Nothing more goes: the client and all between are full.
                if sent.await.is_err() {
                    break;
                }
            }
        }
    });
    let heard = tokio::spawn(async move {
        while let Some(Ok(message)) = hearing.next().await {
            if let Message::Text(text) = message
                && decode_client(&text) == Ok(ClientMessage::Bye)
            {
                return true;
            }
        }
        false
    });
    filled.await.expect("it is sent");
    tokio::join!(client.forget(), async { release.send(()).expect("held") });
    busy.join().expect("no defect");
    assert!(heard.await.expect("no defect"), "the server is told to forget it");
    flood.abort();
    clients.shutdown_background();
}

#[tokio::test]
async fn a_replica_syncs_loses_its_connection_and_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = Client::connect(options(listener.local_addr().expect("bound").port()), MemoryStore::default());
    let mut notices = client.events();

    let mut socket = Socket::accept(&listener).await;
    assert_eq!(socket.welcome(at(10), None).await, Resume::Nothing);
    socket.send(ServerMessage::Schema(relation())).await;
    let chunk = Arc::new(Chunk { relation: relation(), rows: vec![row("1", "0")] });
    socket.send(ServerMessage::Chunk { backfill: BackfillId(6), n: 0, of: 2, chunk }).await;
    let half = Some(BackfillProgress { rows: 1, of: 2 });
    client.wait_for(|status| status.backfill == half).await.expect("it tells how far it is");
    backfill(&mut socket).await; // Another one, from its beginning.
    socket.send(ServerMessage::Live).await;
    assert_eq!(client.wait_until_live().await, Ok(Some(at(10))));
    assert_eq!(client.status().borrow().backfill, None);
    assert_eq!(client.read(|store| store.table("public.t").map(|table| table.len())), Some(2));
    drop(socket);

    let mut socket = Socket::accept(&listener).await;
    assert_eq!(socket.welcome(at(11), Some(at(10))).await, Resume::At(at(10)));
    socket.send(ServerMessage::Schema(relation())).await;
    socket.send(ServerMessage::Page(page(10, 11, "5"))).await;
    socket.send(ServerMessage::Live).await;
    client.wait_for(|status| status.live && status.shown == Some(at(11))).await.expect("applied");
    let held = client.read(|store| store.held());
    assert_eq!((held.shown, held.anomalies), (Some(at(11)), 0));
    let mut applied = 0;
    while let Ok(notice) = notices.try_recv() {
        applied += u32::from(matches!(notice, Notice::Applied { .. }));
    }
    assert_eq!(applied, 2);

    let store = client.store();
    let (closed, rest) = tokio::join!(client.close(), async { while socket.next().await.is_some() {} });
    assert_eq!((closed, rest), ((), ()));
    assert_eq!(store.lock().expect("unharmed").held().shown, Some(at(11)));
}

#[tokio::test]
async fn a_fault_that_is_final_stops_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = Client::connect(options(listener.local_addr().expect("bound").port()), MemoryStore::default());
    let mut socket = Socket::accept(&listener).await;
    socket.next().await;
    let fault = PeerFault::new(FaultCode::Forbidden, "not you");
    socket.send(ServerMessage::Fault(fault.clone())).await;
    assert_eq!(client.wait_until_live().await.map_err(|stopped| stopped.0), Err(Some(fault)));
    assert!(client.status().borrow().stopped);
}

#[tokio::test]
async fn a_refused_handshake_is_a_fault_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = Client::connect(options(listener.local_addr().expect("bound").port()), MemoryStore::default());
    let (mut stream, _) = listener.accept().await.expect("dials");
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await.expect("a request");
    let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 8\r\n\r\nno entry";
    stream.write_all(answer.as_bytes()).await.expect("the client listens");
    let stopped = client.wait_until_live().await.expect_err("it does not get in");
    assert_eq!(stopped.0.map(|fault| fault.code), Some(FaultCode::Unauthorized));
}

/// A store in memory on a thread of its own, which counts what was carried out.
#[derive(Default)]
struct Threaded {
    store: MemoryStore,
    applied: u32,
    told: Option<Notice>,
}

impl super::Store for Threaded {
    fn held(&self) -> dormouse_core::store::Held {
        self.store.held()
    }

    fn apply(
        &mut self,
        request: &dormouse_core::store::StoreRequest,
    ) -> Result<dormouse_core::store::Held, dormouse_core::fault::Failure> {
        self.applied += 1;
        Ok(self.store.apply(request))
    }

    fn blocks(&self) -> bool {
        true
    }

    fn told(&mut self, notice: &Notice, _: &super::Status) {
        self.told = Some(notice.clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_dropped_stores_nothing_more() {
    use std::sync::Mutex;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let store = Arc::new(Mutex::new(Threaded::default()));
    let count = || Arc::strong_count(&store);
    let until = async |met: &dyn Fn() -> bool| {
        while !met() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let options = options(listener.local_addr().expect("bound").port());
    let client = Client::connect_shared(options.clone(), Arc::clone(&store));
    let mut socket = Socket::accept(&listener).await;
    socket.welcome(at(10), None).await;
    let told = Some(Notice::Phase(dormouse_core::client::ClientPhase::Backfill));
    until(&|| store.lock().expect("unharmed").told == told).await;

    // Somebody looks at the store for long; meanwhile a request waits for it, and the client is dropped.
    let (shared, (release, released)) = (Arc::clone(&store), std::sync::mpsc::channel::<()>());
    let (taken, is_taken) = tokio::sync::oneshot::channel();
    let looking = std::thread::spawn(move || {
        let held = shared.lock().expect("unharmed");
        taken.send(()).expect("awaited");
        released.recv().expect("released");
        drop(held);
    });
    is_taken.await.expect("it has the store");
    let before = count();
    socket.send(ServerMessage::Schema(relation())).await;
    let chunk = Arc::new(Chunk { relation: relation(), rows: vec![row("1", "0")] });
    socket.send(ServerMessage::Chunk { backfill: BackfillId(7), n: 0, of: 2, chunk }).await;
    until(&|| count() > before).await;
    drop(client);
    release.send(()).expect("it waits");
    looking.join().expect("unharmed");
    until(&|| count() == 1).await;
    assert_eq!(store.lock().expect("unharmed").applied, 0);

    // The next client has the store to itself.
    let client = Client::connect_shared(options, Arc::clone(&store));
    let mut socket = Socket::accept(&listener).await;
    socket.welcome(at(10), None).await;
    backfill(&mut socket).await;
    socket.send(ServerMessage::Live).await;
    assert_eq!(client.wait_until_live().await, Ok(Some(at(10))));
    assert_eq!(store.lock().expect("unharmed").applied, 2);
}
