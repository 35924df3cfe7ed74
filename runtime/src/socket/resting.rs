//! A socket that waits without a task, a timer, a codec or a buffer.

use super::codec::Codec;
use super::line::Line;
use super::pipe::Pipe;
use super::{Outbox, Patience, Socket};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// What is left of a socket at rest.
pub struct Resting<S> {
    stream: S,
    outbox: Arc<Outbox>,
    heard_at: Instant,
}

impl<S: Line> Socket<S> {
    /// Lets the socket rest, unless something is half read, unwritten, or about to be closed.
    ///
    /// # Errors
    /// The socket as it was.
    #[expect(clippy::result_large_err, reason = "the socket goes on, and is moved once")]
    pub fn rest(self) -> Result<Resting<S>, Self> {
        if !self.can_rest() {
            return Err(self);
        }
        Ok(Resting { stream: self.pipe.into_inner(), outbox: self.outbox, heard_at: self.heard_at })
    }

    /// Whether nothing would be lost: all that was read are whole messages that were told, and all there was is written.
    pub(super) fn can_rest(&self) -> bool {
        let nothing_held = self.codec.is_at_rest() && self.pipe.is_between_messages();
        S::TELLS && nothing_held && self.pipe.is_empty() && self.outbox.is_at_rest()
    }
}

impl<S: Line> Resting<S> {
    /// Ready when there may be something to read or to write.
    pub fn poll_roused(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.outbox.register(cx.waker());
        if self.outbox.is_at_rest() { self.stream.poll_readable(cx) } else { Poll::Ready(()) }
    }

    /// Makes whoever polls it poll it again.
    pub fn rouse(&self) {
        self.outbox.wake();
    }

    /// When its peer will have been silent for this long.
    #[must_use]
    pub fn silent_at(&self, silence: Duration) -> Instant {
        self.heard_at + silence
    }

    /// The socket it was.
    #[must_use]
    pub fn wake(self, patience: Patience) -> Socket<S> {
        let Self { stream, outbox, heard_at } = self;
        let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
        let pipe = Pipe::new(stream, &[]);
        Socket { pipe, codec: Codec::default(), outbox, heard_at, busy_at: Instant::now(), patience, timer }.timed()
    }
}
