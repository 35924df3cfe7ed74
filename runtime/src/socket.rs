//! One open WebSocket: whole text messages in, frames encoded once for all sockets out.
//!
//! tungstenite reads and answers control frames; what the server sends goes past it, because a server's frames are not masked:
//! their bytes are the same for every recipient, are shared, and leave in vectored writes without a copy.

mod frame;
mod outbox;
mod pack;
mod pipe;

pub use frame::{ChunkBody, encode_close, encode_message, encode_text};
pub use outbox::{Outbox, Overflow};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use bytes::Bytes;
use dormouse_core::hub::ClosedReason;
use dormouse_core::limits::CLIENT_FRAME_BYTES_MAX;
use dormouse_core::wire::Format;
use futures::StreamExt;
use pipe::Pipe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

/// How many of a peer's pings and closes may wait for their answer before nothing more is read from it.
const REPLIES_MAX: usize = 64;
/// How long a closed socket may take to send its last frames and to be closed by its peer too.
const LINGER: Duration = Duration::from_secs(2);

/// What was heard on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message, in a format that has them.
    Binary(Bytes),
    /// A frame over [`CLIENT_FRAME_BYTES_MAX`].
    TooLarge,
    /// Bytes that are no WebSocket frames, or frames that carry no text.
    Garbage(String),
    /// The connection ended.
    Gone(ClosedReason),
    /// This side closed it: what is left is to [`Socket::finish`].
    Finished,
}

/// One open WebSocket, owned by its task.
pub struct Socket<S> {
    stream: WebSocketStream<Pipe<S>>,
    outbox: Arc<Outbox>,
    heard_at: Instant,
    silence: Duration,
    timer: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket<S> {
    /// Takes over a connection after its upgrade, which agreed on a format; `read_ahead` came with the request. Silence longer than
    /// `silence` ends it.
    pub async fn new(stream: S, read_ahead: Vec<u8>, format: Format, silence: Duration) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_message_size(Some(CLIENT_FRAME_BYTES_MAX))
            .max_frame_size(Some(CLIENT_FRAME_BYTES_MAX));
        let pipe = Pipe::new(stream);
        let stream = WebSocketStream::from_partially_read(pipe, read_ahead, Role::Server, Some(config)).await;
        let timer = Box::pin(tokio::time::sleep(silence));
        Self { stream, outbox: Arc::new(Outbox::new(format)), heard_at: Instant::now(), silence, timer }
    }

    /// Where frames for this socket are put.
    #[must_use]
    pub const fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The next thing heard. Frames are written while it waits. The text `ping` is answered here. Cancelling loses nothing.
    pub async fn next(&mut self) -> Heard {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Writes what is left, then waits a moment for the peer to close too, so that it reads the last frames.
    pub async fn finish(mut self) {
        let outbox = Arc::clone(&self.outbox);
        outbox.close([]);
        let ended = async {
            let written = std::future::poll_fn(|cx| self.poll_write(cx)).await;
            let stream = self.stream.get_mut().get_mut();
            if written.is_ok() && stream.shutdown().await.is_ok() {
                let mut rest = [0; 512];
                while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
            }
        };
        let _ = tokio::time::timeout(LINGER, ended).await; // A peer that takes longer loses the last frames.
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        loop {
            let written = self.poll_write(cx);
            if self.outbox.is_closed() {
                return Poll::Ready(Heard::Finished);
            }
            if let Poll::Ready(Err(_)) = written {
                return Poll::Ready(Heard::Gone(ClosedReason::Broken));
            }
            if self.stream.get_ref().replies() < REPLIES_MAX {
                match self.stream.poll_next_unpin(cx) {
                    Poll::Ready(message) => {
                        self.heard_at = Instant::now();
                        if let Some(heard) = self.on_message(message) {
                            return Poll::Ready(heard);
                        }
                        continue;
                    }
                    Poll::Pending if written.is_ready() && !self.stream.get_ref().is_empty() => continue,
                    Poll::Pending => {}
                }
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let due = self.heard_at + self.silence;
            if due <= Instant::now() {
                return Poll::Ready(Heard::Gone(ClosedReason::Silent));
            }
            self.timer.as_mut().reset(due);
        }
    }

    /// Ready when nothing is left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.outbox.register(cx.waker());
        loop {
            let pipe = self.stream.get_mut();
            std::task::ready!(pipe.poll_drain(cx))?;
            let frames = self.outbox.take();
            if frames.is_empty() {
                return Poll::Ready(Ok(()));
            }
            pipe.extend(frames);
        }
    }

    fn on_message(&mut self, message: Option<Result<Message, Error>>) -> Option<Heard> {
        match message {
            Some(Ok(Message::Text(text))) if text.as_str() == "ping" => {
                self.stream.get_mut().reply(encode_text("pong"));
                None
            }
            Some(Ok(Message::Text(text))) => Some(Heard::Text(text)),
            Some(Ok(Message::Binary(bytes))) if self.outbox.format().is_binary() => Some(Heard::Binary(bytes)),
            Some(Ok(Message::Binary(_))) => Some(Heard::Garbage("binary frames are not part of this protocol".into())),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => None,
            Some(Ok(Message::Close(_))) | None => Some(Heard::Gone(ClosedReason::Peer)),
            Some(Err(Error::Capacity(_))) => Some(Heard::TooLarge),
            Some(Err(why @ (Error::Protocol(_) | Error::Utf8(_)))) => Some(match why {
                // A connection that ends without a close frame is broken, not wrong.
                Error::Protocol(async_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                    Heard::Gone(ClosedReason::Broken)
                }
                why => Heard::Garbage(why.to_string()),
            }),
            Some(Err(_)) => Some(Heard::Gone(ClosedReason::Broken)),
        }
    }
}

#[cfg(test)]
mod tests;
