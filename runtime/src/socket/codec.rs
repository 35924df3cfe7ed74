//! tungstenite, for as long as it holds anything.

use super::line::Line;
use super::pipe::{Pipe, Polled};
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use async_tungstenite::tungstenite::{Error, Message};
use dormouse_core::limits::CLIENT_FRAME_BYTES_MAX;
use std::io::ErrorKind;
use std::task::{Context, Poll};

/// How much is read at once.
const READ_BYTES: usize = 4_096;

/// A codec that is made when there is something to read, and dropped once all that came were whole messages: it holds nothing
/// then that a new one would not, and an idle socket has no buffer.
#[derive(Debug, Default)]
pub(super) struct Codec(Option<Box<WebSocketContext>>);

impl Codec {
    /// A codec that begins with bytes that were read before.
    pub(super) fn new(read_ahead: Vec<u8>) -> Self {
        if read_ahead.is_empty() {
            return Self::default();
        }
        Self(Some(Box::new(WebSocketContext::from_partially_read(read_ahead, Role::Server, Some(config())))))
    }

    /// Whether it holds nothing.
    pub(super) const fn is_at_rest(&self) -> bool {
        self.0.is_none()
    }

    /// The next message.
    pub(super) fn poll_next<S: Line>(
        &mut self,
        pipe: &mut Pipe<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Message, Error>> {
        if self.0.is_none() && pipe.get_ref().poll_readable(cx).is_pending() {
            return Poll::Pending;
        }
        let context = self.0.get_or_insert_with(|| Box::new(WebSocketContext::new(Role::Server, Some(config()))));
        match context.read(&mut Polled { pipe, cx }) {
            // All that was read has been looked at, and what was to be answered is queued.
            Err(Error::Io(why)) if why.kind() == ErrorKind::WouldBlock => {
                if pipe.is_between_messages() {
                    self.0 = None;
                }
                Poll::Pending
            }
            heard => Poll::Ready(heard),
        }
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(CLIENT_FRAME_BYTES_MAX))
        .max_frame_size(Some(CLIENT_FRAME_BYTES_MAX))
}
