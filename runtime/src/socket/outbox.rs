//! What waits to be written to one socket: filled by its hub, emptied by its task.

use super::frame::Frame;
use bytes::Bytes;
use dormouse_core::limits::SESSION_BYTES_MAX;
use dormouse_core::wire::Format;
use futures::task::AtomicWaker;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// A hub keeps to its windows, so only a peer that breaks its own lets more than this wait. JSON may take six bytes for one.
const BYTES_MAX: usize = 6 * SESSION_BYTES_MAX;
/// The most frames that may wait: a window's, and the shapes of very many tables.
const FRAMES_MAX: usize = 16_384;

/// The frames that wait for one socket. It has no capacity while nothing waits.
#[derive(Debug, Default)]
pub struct Outbox {
    format: Format,
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<Bytes>,
    bytes: usize,
    closed: bool,
}

/// More waits than an honest peer can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl Outbox {
    /// The empty outbox of a connection that agreed on a format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// How messages are encoded for it.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Adds a frame, unless the socket is closed.
    ///
    /// # Errors
    /// When too much waits already; nothing is added then.
    pub fn push(&self, frame: impl Into<Frame>) -> Result<(), Overflow> {
        let frame = frame.into();
        let mut waiting = self.lock();
        if waiting.closed {
            return Ok(());
        }
        if waiting.bytes > BYTES_MAX || waiting.frames.len() >= FRAMES_MAX {
            return Err(Overflow);
        }
        waiting.bytes += frame.len();
        waiting.frames.extend(frame.parts());
        drop(waiting);
        self.waker.wake();
        Ok(())
    }

    /// Adds the last frames: nothing follows them.
    pub fn close(&self, last: impl IntoIterator<Item = Bytes>) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.frames.extend(last);
            waiting.closed = true;
        }
        drop(waiting);
        self.waker.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether nothing waits, and something may still come.
    pub(super) fn is_at_rest(&self) -> bool {
        let waiting = self.lock();
        waiting.frames.is_empty() && !waiting.closed
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// All that waits.
    pub(super) fn take(&self) -> Vec<Bytes> {
        let mut waiting = self.lock();
        waiting.bytes = 0;
        std::mem::take(&mut waiting.frames)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner) // No code under this lock panics halfway.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_reads_nothing_is_bounded() {
        let outbox = Outbox::default();
        let frame = Bytes::from(vec![0; 1 << 20]);
        let pushed = (0..1_000).take_while(|_| outbox.push(frame.clone()).is_ok()).count();
        assert!((20..40).contains(&pushed));
        assert_eq!(outbox.take().len(), pushed);
        assert_eq!(outbox.push(frame), Ok(()));
    }

    #[test]
    fn nothing_follows_the_last_frames() {
        let outbox = Outbox::default();
        outbox.close([Bytes::from_static(b"bye")]);
        outbox.close([Bytes::from_static(b"again")]);
        assert_eq!(outbox.push(Bytes::from_static(b"late")), Ok(()));
        assert_eq!(outbox.take(), ["bye"]);
        assert!(outbox.is_closed() && outbox.take().is_empty());
    }
}
