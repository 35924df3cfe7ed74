//! What waits to be written to one socket: filled by its hub, emptied by either.
//!
//! Little is written to the connection by the hub itself, one session after the other: to wake a task for each of a thousand
//! clients costs much beside what is written to them. What is large, or does not fit into the system's buffer, is left to the
//! socket's task, which waits for room; while that has frames in its hands, nobody else writes.

use super::Line;
use super::budget::{Budget, HEAVY_BYTES};
use super::frame::Frame;
use super::pipe::slices;
use bytes::{Buf, Bytes};
use dormouse_core::limits::SESSION_BYTES_MAX;
use dormouse_core::wire::Format;
use futures::task::AtomicWaker;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use tokio::net::TcpStream;

/// A hub keeps to its windows, so only a peer that breaks its own lets more than this wait. JSON may take six bytes for one.
const BYTES_MAX: usize = 6 * SESSION_BYTES_MAX;
/// The most frames that may wait: a window's, and the shapes of very many tables.
const FRAMES_MAX: usize = 16_384;
/// More than this is left to the socket's task: copying it would keep the hub from its other sessions.
const FLUSHED_MAX: usize = 16 * 1024;

/// The frames that wait for one socket. It has no capacity while nothing waits.
#[derive(Debug, Default)]
pub struct Outbox {
    format: Format,
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
    budget: Arc<Budget>,
    /// The connection, for as long as its task has it; `None` where only the task can write.
    line: Option<Weak<TcpStream>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// A frame of two parts has two places.
    frames: Vec<Bytes>,
    /// A part of the first frame is written, which has one place.
    begun: bool,
    bytes: usize,
    closed: bool,
    turn: Turn,
    /// What of the budget waits here, and what was taken to be written.
    charge: usize,
    taken: usize,
    /// The budget knows it as one for which much waits.
    heavy: bool,
}

/// Who writes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Whoever adds frames.
    #[default]
    Hub,
    /// The socket's task. It was woken, and is done once it finds nothing more.
    Task,
}

/// What is to be done about frames that were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// An [`Outbox::flush`], soon.
    Flush,
    /// Nothing: that is on its way.
    Nothing,
}

/// More waits than an honest peer can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl Outbox {
    /// The empty outbox of a connection that agreed on a format.
    #[must_use]
    pub fn new(format: Format, budget: Arc<Budget>) -> Self {
        Self { format, waiting: Mutex::default(), waker: AtomicWaker::default(), budget, line: None }
    }

    /// The same, for this line.
    pub(super) fn of_line(mut self, line: &impl Line) -> Self {
        self.line = line.direct();
        self
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
    pub fn push(self: &Arc<Self>, frame: impl Into<Frame>, shared_by: usize) -> Result<Due, Overflow> {
        let frame = frame.into();
        let mut waiting = self.lock();
        if waiting.closed {
            return Ok(Due::Nothing);
        }
        if waiting.bytes > BYTES_MAX || waiting.frames.len() >= FRAMES_MAX {
            return Err(Overflow);
        }
        waiting.bytes += frame.len();
        let charge = frame.len() / shared_by.max(1);
        waiting.charge += charge;
        self.budget.add(charge);
        let is_first = waiting.frames.is_empty();
        let is_split = frame.is_split();
        waiting.frames.extend(frame.parts());
        // Of two parts only the task writes: else a frame could be begun whose rest is more than one part.
        if self.line.is_none() || waiting.bytes > FLUSHED_MAX || is_split {
            waiting.turn = Turn::Task;
        }
        let grew_heavy = !waiting.heavy && waiting.charge + waiting.taken >= HEAVY_BYTES;
        waiting.heavy |= grew_heavy;
        let turn = waiting.turn;
        drop(waiting);
        if grew_heavy {
            self.budget.note_heavy(self);
        }
        match turn {
            Turn::Hub if is_first => return Ok(Due::Flush),
            Turn::Hub => {}
            Turn::Task => self.waker.wake(),
        }
        Ok(Due::Nothing)
    }

    /// Writes what waits, as far as the connection takes it now; what is left is written by the socket's task.
    pub fn flush(&self) {
        let mut waiting = self.lock();
        if waiting.turn == Turn::Task || waiting.closed || waiting.frames.is_empty() {
            return; // The task was faster, or is needed anyway.
        }
        let count = waiting.frames.len();
        let written = self.line.as_ref().and_then(Weak::upgrade).map_or(0, |line| {
            let written = match &waiting.frames[..] {
                [one] => line.try_write(one),
                several => {
                    let (slices, used) = slices(several);
                    line.try_write_vectored(&slices[..used])
                }
            };
            written.unwrap_or(0) // What is wrong with it is found out by the task.
        });
        if written == waiting.bytes {
            self.budget.give_back(std::mem::take(&mut waiting.charge));
            (waiting.frames, waiting.bytes, waiting.heavy) = (Vec::new(), 0, false);
            drop(waiting);
            self.observe(count);
        } else {
            waiting.advance(written);
            waiting.turn = Turn::Task;
            drop(waiting);
            self.waker.wake();
        }
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
        let begun = usize::from(waiting.begun); // The rest of a frame must follow its beginning.
        let frames = waiting.frames.drain(..begun).chain(last).collect();
        *waiting = Waiting { frames, begun: waiting.begun, closed: true, ..Waiting::default() };
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

    /// All that waits, and these answers to the peer, to be written by the socket's task. What was taken before is written.
    pub(super) fn take(&self, answers: Vec<Bytes>) -> Vec<Bytes> {
        let mut waiting = self.lock();
        let (written, charge) = (waiting.taken, std::mem::take(&mut waiting.charge));
        waiting.taken = charge;
        self.budget.give_back(written);
        waiting.heavy &= waiting.taken >= HEAVY_BYTES;
        waiting.bytes = 0;
        let mut frames = std::mem::take(&mut waiting.frames);
        let begun = usize::from(std::mem::take(&mut waiting.begun));
        frames.splice(begun..begun, answers);
        waiting.turn = if frames.is_empty() { Turn::Hub } else { Turn::Task };
        drop(waiting);
        if !frames.is_empty() {
            self.observe(frames.len());
        }
        frames
    }

    #[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
    fn observe(&self, frames: usize) {
        self.budget.flushes().observe(frames as f64);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner) // No code under this lock panics halfway.
    }
}

impl Waiting {
    /// So many bytes are written, from the start of the first frame on.
    fn advance(&mut self, written: usize) {
        let mut left = written;
        while let Some(first) = self.frames.first().filter(|first| first.len() <= left) {
            left -= first.len();
            self.frames.remove(0); // They are few, and small.
        }
        if let Some(first) = self.frames.first_mut() {
            first.advance(left);
        }
        (self.bytes, self.begun) = (self.bytes - written, left > 0);
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
        assert_eq!(outbox.take(Vec::new()).len(), pushed);
        assert_eq!(outbox.push(frame, 1), Ok(Due::Nothing));
    }

    #[test]
    fn nothing_follows_the_last_frames() {
        let outbox = Arc::new(Outbox::default());
        outbox.close([Bytes::from_static(b"bye")]);
        outbox.close([Bytes::from_static(b"again")]);
        assert_eq!(outbox.push(Bytes::from_static(b"late"), 1), Ok(Due::Nothing));
        assert_eq!(outbox.take(Vec::new()), ["bye"]);
        assert!(outbox.is_closed() && outbox.take(Vec::new()).is_empty());
    }

    /// What is put between frames would else come between the parts of one.
    #[tokio::test]
    async fn a_frame_of_two_parts_is_left_to_the_task() {
        let (near, _far) = super::super::tests::connection().await;
        let outbox = Arc::new(Outbox::default().of_line(&near));
        assert_eq!(outbox.push(Bytes::from_static(b"one"), 1), Ok(Due::Flush));
        assert_eq!(outbox.push(Frame::split(b"two", b"parts"), 1), Ok(Due::Nothing));
        outbox.flush();
        assert_eq!(outbox.take(Vec::new()), ["one", "two", "parts"], "nothing of them was written");
    }

    /// However much of a frame was written, what follows it begins at its end.
    #[tokio::test]
    async fn a_frame_that_was_begun_is_ended() {
        const FRAME: usize = 10_007;
        let (near, far) = super::super::tests::connection().await;
        let outbox = Arc::new(Outbox::default().of_line(&near));
        while outbox.push(Bytes::from(vec![1; FRAME]), 1) == Ok(Due::Flush) {
            outbox.flush();
        }
        assert_eq!(outbox.push(Bytes::from(vec![1; FRAME]), 1), Ok(Due::Nothing), "it is the task's turn");
        outbox.let_go([Bytes::from_static(&[2])]);
        let left = outbox.take(vec![Bytes::from_static(&[3])]).concat();
        let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        drop(near);
        while let Ok(()) = far.readable().await {
            match far.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(why) => assert_eq!(why.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
        all.extend(left);
        assert_eq!(all.iter().filter(|byte| **byte == 1).count() % FRAME, 0, "frames are whole");
        let last: Vec<_> = all.into_iter().skip_while(|byte| *byte == 1).collect();
        assert_eq!(last, [3, 2], "an answer, then the last");
    }
}
