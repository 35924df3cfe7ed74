//! A wire to Postgres that carries a question and its effect, and loses the answer.
//!
//! It parts what the server says into the answers of the protocol. When it is told to, it lets go of the first one that says
//! that something was committed, and ends the connection: the effect has surely happened, and nobody was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A port on which Postgres is had through the wire. It ends when dropped.
pub struct Wire {
    port: u16,
    loses: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Wire {
    pub async fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let loses = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, Arc::clone(&loses)));
        Self { port, loses, _tasks: tasks }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The next answer that says that something was committed is lost, with its connection; or no longer.
    pub fn lose_next(&self, lose: bool) {
        self.loses.store(lose, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, upstream: u16, loses: Arc<AtomicBool>) {
    let mut carried = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        let loses = Arc::clone(&loses);
        carried.spawn(async move {
            let Ok(far) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
            let (mut near_in, near_out) = near.into_split();
            let (far_in, mut far_out) = far.into_split();
            // Whichever side ends, both connections are dropped.
            tokio::select! {
                _ = tokio::io::copy(&mut near_in, &mut far_out) => {}
                _ = answers(far_in, near_out, &loses) => {}
            }
        });
        while carried.try_join_next().is_some() {}
    }
}

/// Carries whole answers. The session is opened without TLS, so all that the server says is messages.
async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, loses: &AtomicBool) -> std::io::Result<()> {
    let mut heard = Vec::new();
    loop {
        let mut ready = 0;
        while let Some(answer) = first_answer(&heard[ready..]) {
            if says_committed(&heard[ready..ready + answer]) && loses.swap(false, Ordering::SeqCst) {
                to.write_all(&heard[..ready]).await?;
                return Ok(());
            }
            ready += answer;
        }
        to.write_all(&heard[..ready]).await?;
        heard.drain(..ready);
        if from.read_buf(&mut heard).await? == 0 {
            return to.write_all(&heard).await;
        }
    }
}

/// The length of the messages up to the first after which the client speaks: `ReadyForQuery`, or `CopyInResponse`.
fn first_answer(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    for (kind, body) in messages(bytes) {
        end += 5 + body.len();
        if matches!(kind, b'Z' | b'G') {
            return Some(end);
        }
    }
    None
}

/// Whether a command that writes is complete, and no transaction is open behind it.
fn says_committed(answer: &[u8]) -> bool {
    let tags = ["COMMIT", "INSERT", "UPDATE", "DELETE"];
    let writes =
        messages(answer).any(|(kind, body)| kind == b'C' && tags.iter().any(|tag| body.starts_with(tag.as_bytes())));
    writes && messages(answer).last().is_some_and(|(kind, body)| kind == b'Z' && body == b"I")
}

/// The whole messages at the beginning of these bytes: kind and body.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
        let (kind, body) = (bytes[0], bytes.get(5..1 + length)?);
        bytes = &bytes[1 + length..];
        Some((kind, body))
    })
}
