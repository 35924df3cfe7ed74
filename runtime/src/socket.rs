//! One open WebSocket: whole text messages in, frames encoded once for all sockets out.
//!
//! tungstenite reads and answers control frames; what the server sends goes past it, because a server's frames are not masked:
//! their bytes are the same for every recipient, are shared, and leave in vectored writes without a copy. Where nothing encrypts
//! them, whoever has a frame writes it to the connection at once ([`Outbox::flush`]); the socket's task writes what did not fit.
//!
//! A socket that waits has no buffers and no codec. One on which nothing has happened for a moment can rest: what is left of it
//! is the connection, the way to its outbox, and when it was last heard.

mod boundary;
mod budget;
mod codec;
mod frame;
mod line;
mod outbox;
mod pipe;
mod resting;

pub use budget::Budget;
pub use frame::{Frame, encode_close, encode_message, encode_text};
pub use line::{Line, Plain};
pub use outbox::{Due, Outbox, Overflow};
pub use resting::Resting;

use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use bytes::Bytes;
use codec::Codec;
use dormouse_core::hub::ClosedReason;
use frame::encode_close_answer;
use pipe::Pipe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
    /// A frame over `CLIENT_FRAME_BYTES_MAX`.
    TooLarge,
    /// Bytes that are no WebSocket frames, or frames that carry no text.
    Garbage(String),
    /// The connection ended.
    Gone(ClosedReason),
    /// Nothing for the time that [`Patience::quiet`] says, nothing is half read and all is written: it should [`Socket::rest`].
    Nothing,
    /// This side closed it: what is left is to [`Socket::finish`].
    Finished,
}

/// One open WebSocket, owned by its task.
pub struct Socket<S> {
    pipe: Pipe<S>,
    codec: Codec,
    outbox: Arc<Outbox>,
    heard_at: Instant,
    /// When something was last heard, or written here.
    busy_at: Instant,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
}

/// How long nothing may happen on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// So long after it was last heard, a peer is taken for gone.
    pub silence: Duration,
    /// So long after anything was heard, or written by its task, a socket that can rest should; `None` never asks for that.
    pub quiet: Option<Duration>,
}

impl<S: Line> Socket<S> {
    /// Takes over a connection after its upgrade, which agreed on the outbox's format; `read_ahead` came with the request.
    pub fn new(stream: S, read_ahead: Vec<u8>, outbox: Outbox, patience: Patience) -> Self {
        let now = Instant::now();
        let outbox = Arc::new(outbox.of_line(&stream));
        let pipe = Pipe::new(stream, &read_ahead);
        let socket = Self {
            pipe,
            codec: Codec::new(read_ahead),
            outbox,
            heard_at: now,
            busy_at: now,
            patience,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        };
        socket.timed()
    }

    fn timed(mut self) -> Self {
        let due = self.due();
        self.timer.as_mut().reset(due);
        self
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
            let stream = self.pipe.get_mut();
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
            if self.pipe.replies() < REPLIES_MAX {
                match self.codec.poll_next(&mut self.pipe, cx) {
                    Poll::Ready(message) => {
                        self.heard_at = Instant::now();
                        self.busy_at = self.heard_at;
                        if let Some(heard) = self.on_message(message) {
                            return Poll::Ready(heard);
                        }
                        continue;
                    }
                    Poll::Pending if written.is_ready() && !self.pipe.is_empty() => continue,
                    Poll::Pending => {}
                }
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if self.heard_at + self.patience.silence <= now {
                return Poll::Ready(Heard::Gone(ClosedReason::Silent));
            }
            if self.quiet_at().is_some_and(|at| at <= now) {
                self.busy_at = now; // Whoever does not let it rest, or cannot because of what is half read, is asked again later.
                if self.can_rest() {
                    return Poll::Ready(Heard::Nothing);
                }
            }
            let due = self.due();
            self.timer.as_mut().reset(due);
        }
    }

    /// When the timer has something to do, as far as is known now.
    fn due(&self) -> Instant {
        let silent_at = self.heard_at + self.patience.silence;
        self.quiet_at().map_or(silent_at, |at| at.min(silent_at))
    }

    fn quiet_at(&self) -> Option<Instant> {
        self.patience.quiet.filter(|_| S::TELLS).map(|quiet| self.busy_at + quiet)
    }

    /// Ready when nothing is left to write.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.outbox.register(cx.waker());
        loop {
            std::task::ready!(self.pipe.poll_drain(cx))?;
            let frames = self.outbox.take(self.pipe.take_answers());
            if frames.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.busy_at = Instant::now();
            self.pipe.extend(frames);
        }
    }

    fn on_message(&mut self, message: Result<Message, Error>) -> Option<Heard> {
        match message {
            Ok(Message::Text(text)) if text.as_str() == "ping" => {
                self.pipe.reply(encode_text("pong"));
                None
            }
            Ok(Message::Text(text)) => Some(Heard::Text(text)),
            Ok(Message::Binary(bytes)) if self.outbox.format().is_binary() => Some(Heard::Binary(bytes)),
            Ok(Message::Binary(_)) => Some(Heard::Garbage("binary frames are not part of this protocol".into())),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => None,
            Ok(Message::Close(frame)) => {
                // Behind what waits: nothing may follow it. Whoever gets no answer takes the connection for broken.
                self.outbox.close([encode_close_answer(frame.map(|frame| frame.code.into()))]);
                Some(Heard::Gone(ClosedReason::Peer))
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => Some(Heard::Gone(ClosedReason::Peer)),
            Err(Error::Capacity(_)) => Some(Heard::TooLarge),
            // A connection that ends without a close frame is broken, not wrong.
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                Some(Heard::Gone(ClosedReason::Broken))
            }
            Err(why @ (Error::Protocol(_) | Error::Utf8(_))) => Some(Heard::Garbage(why.to_string())),
            Err(_) => Some(Heard::Gone(ClosedReason::Broken)),
        }
    }
}

#[cfg(test)]
mod tests;
