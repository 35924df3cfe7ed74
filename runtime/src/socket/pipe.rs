//! The stream below tungstenite: reads pass through, everything to be written is queued and leaves in vectored writes.

use super::boundary::Boundary;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many frames one system call writes at most.
const SLICES_MAX: usize = 64;

/// A stream with its queue of frames.
pub(super) struct Pipe<S> {
    stream: S,
    frames: VecDeque<Bytes>,
    /// Answers to the peer's own pings and closes that wait for their turn among the frames.
    answers: Vec<Bytes>,
    /// How many answers are not yet written, at most.
    replies: usize,
    /// Where in the peer's frames all that was read ends.
    boundary: Boundary,
}

impl<S> Pipe<S> {
    /// `read_ahead` was read from the stream before.
    pub(super) fn new(stream: S, read_ahead: &[u8]) -> Self {
        let mut boundary = Boundary::default();
        boundary.pass(read_ahead);
        Self { stream, frames: VecDeque::new(), answers: Vec::new(), replies: 0, boundary }
    }

    pub(super) const fn get_ref(&self) -> &S {
        &self.stream
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Whether all that was read are whole messages.
    pub(super) const fn is_between_messages(&self) -> bool {
        self.boundary.is_between_messages()
    }

    pub(super) const fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.answers.is_empty()
    }

    pub(super) const fn replies(&self) -> usize {
        self.replies
    }

    /// Queues frames behind those that wait.
    pub(super) fn extend(&mut self, frames: Vec<Bytes>) {
        self.frames.extend(frames);
    }

    /// Keeps an answer to what the peer sent; many that wait keep more from being read.
    pub(super) fn reply(&mut self, frame: Bytes) {
        self.replies += 1;
        self.answers.push(frame);
    }

    /// The answers, for their place among the frames.
    pub(super) fn take_answers(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.answers)
    }
}

impl<S: AsyncWrite + Unpin> Pipe<S> {
    /// Writes what is queued. Ready when nothing is left.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frames.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.frames.is_empty() {
            let (slices, used) = slices(&self.frames);
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..used]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        (self.frames, self.replies) = (VecDeque::new(), self.answers.len()); // An idle socket keeps no buffer.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(frame) = self.frames.front_mut().filter(|frame| !frame.is_empty() && written > 0) {
            let of_this = written.min(frame.len());
            frame.advance(of_this);
            written -= of_this;
            if frame.is_empty() {
                self.frames.pop_front();
            }
        }
    }
}

/// The first frames, and how many they are, for one system call.
pub(super) fn slices<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> ([IoSlice<'a>; SLICES_MAX], usize) {
    let (mut slices, mut used) = ([IoSlice::new(&[]); SLICES_MAX], 0);
    for (slice, frame) in slices.iter_mut().zip(frames) {
        *slice = IoSlice::new(frame);
        used += 1;
    }
    (slices, used)
}

/// A pipe while its task is polled, as tungstenite wants it: what cannot be read at once would block.
pub(super) struct Polled<'a, 'b, S> {
    pub pipe: &'a mut Pipe<S>,
    pub cx: &'a mut Context<'b>,
}

impl<S: AsyncRead + Unpin> Read for Polled<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.pipe.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                self.pipe.boundary.pass(buffer.filled());
                Ok(buffer.filled().len())
            }
            Poll::Ready(Err(why)) => Err(why),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// What tungstenite itself writes: answers to pings and closes, whole frames at a time.
impl<S> Write for Polled<'_, '_, S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if !buffer.is_empty() {
            self.pipe.reply(Bytes::copy_from_slice(buffer));
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
