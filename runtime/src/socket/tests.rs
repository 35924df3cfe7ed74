//! Sockets over a pipe in memory, with tungstenite at the other end.

use super::*;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::TokioAdapter;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use bytes::Bytes;
use dormouse_core::fault::FaultCode;
use dormouse_core::limits::CLIENT_FRAME_BYTES_MAX;
use futures::StreamExt;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};

type Peer = WebSocketStream<TokioAdapter<DuplexStream>>;

async fn open(silence: Duration) -> (Socket<DuplexStream>, Peer) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let socket = Socket::new(near, Vec::new(), Outbox::default(), Patience { silence, quiet: None });
    (socket, WebSocketStream::from_raw_socket(TokioAdapter::new(far), Role::Client, None).await)
}

const LONG: Duration = Duration::from_secs(3_600);

/// Both ends of a connection.
pub(super) async fn connection() -> (Plain, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(listener.accept(), TcpStream::connect(address));
    (near.expect("accepted").0.into(), far.expect("connected"))
}

/// Some frames are written by whoever has them, others by the task because they are large or the peer reads late, and between them
/// the task answers pings: all arrive whole and in order. What is pushed waits for the answers, so that each comes between frames.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_frames_arrive_whole_and_in_order() {
    const FRAMES: usize = 4_000;
    const PINGED: usize = 200;
    let text = |n: usize| format!("{n} {}", "x".repeat(5 * n)); // The last are larger than what is written at once.
    let (near, far) = connection().await;
    let mut socket = Socket::new(near, Vec::new(), Outbox::default(), Patience { silence: LONG, quiet: None });
    let mut peer = WebSocketStream::from_raw_socket(TokioAdapter::new(far), Role::Client, None).await;
    let outbox = Arc::clone(socket.outbox());
    let task = tokio::spawn(async move { socket.next().await });
    let (answered, mut answers) = tokio::sync::watch::channel(0);
    let pushing = tokio::spawn(async move {
        let mut flushed = 0;
        for n in 0..FRAMES {
            // Two pings behind at most: there is much to write when the first is answered.
            answers.wait_for(|answered| n < (answered + 2) * PINGED).await.expect("read on");
            if outbox.push(encode_text(&text(n)), 1).expect("little waits") == Due::Flush {
                flushed += 1;
                outbox.flush();
            }
            if n % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        flushed
    });
    let (mut next, mut pings, mut pongs) = (0, 0, 0);
    while next < FRAMES || pongs < pings {
        if next < FRAMES && next >= PINGED * pings {
            pings += 1;
            peer.send(Message::text("ping")).await.expect("open");
            tokio::time::sleep(Duration::from_millis(20)).await; // It reads late.
        }
        match peer.next().await.expect("open").expect("whole") {
            pong if pong == Message::text("pong") => {
                pongs += 1;
                answered.send_replace(pongs);
            }
            message => {
                assert_eq!(message.into_text().expect("text").as_str(), text(next));
                next += 1;
            }
        }
    }
    let flushed = pushing.await.expect("no panic");
    assert!((1..FRAMES).contains(&flushed), "{flushed} of {FRAMES} were not left to the task");
    peer.send(Message::text("end")).await.expect("open");
    assert_eq!(task.await.expect("no panic"), Heard::Text("end".into()));
    assert_eq!(pongs, FRAMES / PINGED, "one for each ping");
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order() {
    let (mut socket, mut peer) = open(LONG).await;
    let outbox = Arc::clone(socket.outbox());
    let texts: Vec<_> = [1, 10, 125, 126, 70_000, 200_000, 5].map(|length| "x".repeat(length)).into();
    for text in &texts {
        outbox.push(encode_text(text), 1).expect("little waits");
    }
    let task = tokio::spawn(async move { socket.next().await });
    for text in &texts {
        let message = peer.next().await.expect("open").expect("whole");
        assert_eq!(message.into_text().expect("text").as_str(), text);
    }
    peer.send(Message::text("hello")).await.expect("open");
    assert_eq!(task.await.expect("no panic"), Heard::Text("hello".into()));
}

#[tokio::test]
async fn ping_is_answered_and_heard_by_nobody() {
    let (mut socket, mut peer) = open(LONG).await;
    peer.send(Message::text("ping")).await.expect("open");
    peer.send(Message::Ping(Bytes::from_static(b"p"))).await.expect("open");
    peer.send(Message::text("next")).await.expect("open");
    assert_eq!(socket.next().await, Heard::Text("next".into()));
    assert_eq!(peer.next().await.expect("open").expect("whole"), Message::text("pong"));
    let further = tokio::spawn(async move { socket.next().await });
    assert_eq!(peer.next().await.expect("open").expect("whole"), Message::Pong(Bytes::from_static(b"p")));
    drop(peer);
    assert_eq!(further.await.expect("no panic"), Heard::Gone(ClosedReason::Broken));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_socket_and_a_ping_is_no_silence() {
    let (mut socket, mut peer) = open(Duration::from_millis(1_500)).await;
    let heard = tokio::spawn(async move { (socket.next().await, Instant::now(), socket) });
    let started = Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        peer.send(Message::text("ping")).await.expect("open");
    }
    let (heard, at, _socket) = heard.await.expect("no panic");
    assert_eq!(heard, Heard::Gone(ClosedReason::Silent));
    let silent_after = (at - started).as_millis();
    assert!((3_000..3_010).contains(&silent_after), "{silent_after} ms"); // The clock stands still while anybody has work.
}

#[tokio::test]
async fn what_is_no_message_is_named() {
    let (mut socket, mut peer) = open(LONG).await;
    peer.send(Message::binary(vec![1, 2, 3])).await.expect("open");
    assert!(matches!(socket.next().await, Heard::Garbage(_)));

    let (mut socket, mut peer) = open(LONG).await;
    let sending = tokio::spawn(async move { peer.send(Message::text("x".repeat(CLIENT_FRAME_BYTES_MAX + 1))).await });
    assert_eq!(socket.next().await, Heard::TooLarge);
    drop(socket);
    let _ = sending.await.expect("no panic");

    let (mut near, mut socket) = {
        let (near, far) = tokio::io::duplex(1 << 16);
        (near, Socket::new(far, Vec::new(), Outbox::default(), Patience { silence: LONG, quiet: None }))
    };
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("open");
    assert!(matches!(socket.next().await, Heard::Garbage(_)));
}

#[tokio::test(start_paused = true)]
async fn the_last_frames_reach_a_peer_that_still_sends() {
    let (mut socket, mut peer) = open(LONG).await;
    let outbox = Arc::clone(socket.outbox());
    outbox.push(encode_text("last page"), 1).expect("little waits");
    outbox.close([encode_text("fault"), encode_close(Some(FaultCode::Replaced))]);
    peer.send(Message::text("late")).await.expect("open");
    let finished = tokio::spawn(async move {
        assert_eq!(socket.next().await, Heard::Finished);
        socket.finish().await;
    });
    assert_eq!(peer.next().await.expect("open").expect("whole"), Message::text("last page"));
    assert_eq!(peer.next().await.expect("open").expect("whole"), Message::text("fault"));
    let Message::Close(Some(frame)) = peer.next().await.expect("open").expect("whole") else {
        panic!("no close frame")
    };
    assert_eq!(frame.reason.as_str(), "replaced");
    assert!(peer.next().await.is_none_or(|ended| ended.is_err()));
    drop(peer);
    finished.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_is_answered_behind_what_waits() {
    for (sent, answered) in [(Some(1000), Some(1000)), (Some(4321), Some(4321)), (Some(1005), Some(1002)), (None, None)]
    {
        let (mut socket, mut peer) = open(LONG).await;
        socket.outbox().push(encode_text("last page"), 1).expect("little waits");
        let frame = sent.map(|code: u16| CloseFrame { code: code.into(), reason: "enough".into() });
        peer.send(Message::Close(frame)).await.expect("open");
        let finished = tokio::spawn(async move {
            assert_eq!(socket.next().await, Heard::Gone(ClosedReason::Peer));
            socket.outbox().push(encode_text("later"), 1).expect("little waits");
            socket.finish().await;
        });
        assert_eq!(peer.next().await.expect("open").expect("whole"), Message::text("last page"));
        let Message::Close(frame) = peer.next().await.expect("open").expect("whole") else { panic!("no close frame") };
        assert_eq!(frame.map(|frame| u16::from(frame.code)), answered, "to {sent:?}");
        assert!(peer.next().await.is_none_or(|ended| ended.is_err()));
        drop(peer);
        finished.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_left_behind() {
    let (socket, peer) = open(LONG).await;
    socket.outbox().push(encode_text(&"x".repeat(1 << 20)), 1).expect("little waits");
    let started = Instant::now();
    socket.finish().await;
    assert!(started.elapsed() >= LINGER);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_only_pings_is_not_read_without_bound() {
    let (mut socket, mut peer) = open(LONG).await;
    let flood = tokio::spawn(async move {
        for _ in 0..1_000_000 {
            if peer.send(Message::Ping(Bytes::from(vec![0; 125]))).await.is_err() {
                break;
            }
        }
        peer
    });
    let heard = tokio::time::timeout(Duration::from_millis(500), socket.next()).await;
    assert!(heard.is_err(), "{heard:?}");
    assert!(!flood.is_finished());
    assert!(socket.pipe.replies() <= REPLIES_MAX + 2);
    drop(socket);
    let _ = flood.await;
}
