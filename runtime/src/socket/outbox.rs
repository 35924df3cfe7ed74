//! What waits to be written to one socket: filled by its hub, emptied by its task.

use super::budget::{Budget, HEAVY_BYTES};
use super::frame::Frame;
use bytes::Bytes;
use dormouse_core::limits::SESSION_BYTES_MAX;
use dormouse_core::wire::Format;
use futures::task::AtomicWaker;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<Bytes>,
    bytes: usize,
    closed: bool,
    /// What of the budget waits here, and what was taken to be written.
    charge: usize,
    taken: usize,
    /// The budget knows it as one for which much waits.
    heavy: bool,
}

/// More waits than an honest peer can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl Outbox {
    /// The empty outbox of a connection that agreed on a format.
    #[must_use]
    pub fn new(format: Format, budget: Arc<Budget>) -> Self {
        Self { format, waiting: Mutex::default(), waker: AtomicWaker::default(), budget }
    }

    /// How messages are encoded for it.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Adds a frame, which so many sessions share, unless the socket is closed.
    ///
    /// # Errors
    /// When too much waits already; nothing is added then.
    pub fn push(self: &Arc<Self>, frame: impl Into<Frame>, shared_by: usize) -> Result<(), Overflow> {
        let frame = frame.into();
        let mut waiting = self.lock();
        if waiting.closed {
            return Ok(());
        }
        if waiting.bytes > BYTES_MAX || waiting.frames.len() >= FRAMES_MAX {
            return Err(Overflow);
        }
        waiting.bytes += frame.len();
        let charge = frame.len() / shared_by.max(1);
        waiting.charge += charge;
        self.budget.add(charge);
        waiting.frames.extend(frame.parts());
        let grew_heavy = !waiting.heavy && waiting.charge + waiting.taken >= HEAVY_BYTES;
        waiting.heavy |= grew_heavy;
        drop(waiting);
        if grew_heavy {
            self.budget.note_heavy(self);
        }
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

    /// Drops what waits and adds the last frames. False when it was closed already.
    pub(super) fn let_go(&self, last: impl IntoIterator<Item = Bytes>) -> bool {
        let mut waiting = self.lock();
        if waiting.closed {
            // Its task may still have much to write; it has little time for that, and the budget none.
            self.budget.give_back(waiting.charge + waiting.taken);
            (waiting.charge, waiting.taken, waiting.heavy) = (0, 0, false);
            return false;
        }
        self.budget.give_back(waiting.charge + waiting.taken);
        *waiting = Waiting { frames: last.into_iter().collect(), closed: true, ..Waiting::default() };
        drop(waiting);
        self.waker.wake();
        true
    }

    /// What of the budget it takes.
    pub(super) fn charge(&self) -> usize {
        let waiting = self.lock();
        waiting.charge + waiting.taken
    }

    /// Whether the budget knows it as one for which much waits.
    pub(super) fn is_heavy(&self) -> bool {
        self.lock().heavy
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

    /// All that waits, to be written. What was taken before is written.
    pub(super) fn take(&self) -> Vec<Bytes> {
        let mut waiting = self.lock();
        let (written, charge) = (waiting.taken, std::mem::take(&mut waiting.charge));
        waiting.taken = charge;
        self.budget.give_back(written);
        waiting.heavy &= waiting.taken >= HEAVY_BYTES;
        waiting.bytes = 0;
        let frames = std::mem::take(&mut waiting.frames);
        drop(waiting);
        if !frames.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
            self.budget.flushes().observe(frames.len() as f64);
        }
        frames
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner) // No code under this lock panics halfway.
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let waiting = self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budget.give_back(waiting.charge + waiting.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_reads_nothing_is_bounded() {
        let outbox = Arc::new(Outbox::default());
        let frame = Bytes::from(vec![0; 1 << 20]);
        let pushed = (0..1_000).take_while(|_| outbox.push(frame.clone(), 1).is_ok()).count();
        assert!((20..40).contains(&pushed));
        assert_eq!(outbox.take().len(), pushed);
        assert_eq!(outbox.push(frame, 1), Ok(()));
    }

    #[test]
    fn nothing_follows_the_last_frames() {
        let outbox = Arc::new(Outbox::default());
        outbox.close([Bytes::from_static(b"bye")]);
        outbox.close([Bytes::from_static(b"again")]);
        assert_eq!(outbox.push(Bytes::from_static(b"late"), 1), Ok(()));
        assert_eq!(outbox.take(), ["bye"]);
        assert!(outbox.is_closed() && outbox.take().is_empty());
    }
}
