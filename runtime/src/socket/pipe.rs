//! The stream below tungstenite: reads pass through, everything to be written is queued and leaves in vectored writes.

use bytes::{Buf, Bytes};
use futures::io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// How many frames one system call writes at most.
const SLICES_MAX: usize = 64;

/// A stream with its queue of frames.
pub(super) struct Pipe<S> {
    stream: S,
    frames: VecDeque<Bytes>,
    /// How many of the frames, at most, answer the peer's own pings and closes.
    replies: usize,
}

impl<S> Pipe<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, frames: VecDeque::new(), replies: 0 }
    }

    pub(super) const fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) const fn replies(&self) -> usize {
        self.replies
    }

    /// Queues frames behind those that wait.
    pub(super) fn extend(&mut self, frames: Vec<Bytes>) {
        self.frames.extend(frames);
    }

    /// Queues an answer to what the peer sent; many that wait keep more from being read.
    pub(super) fn reply(&mut self, frame: Bytes) {
        self.replies += 1;
        self.frames.push_back(frame);
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> Pipe<S> {
    /// Writes what is queued. Ready when nothing is left.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frames.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut used = 0;
            for (slice, frame) in slices.iter_mut().zip(&self.frames) {
                *slice = IoSlice::new(frame);
                used += 1;
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..used]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        (self.frames, self.replies) = (VecDeque::new(), 0); // An idle socket keeps no buffer.
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

impl<S: tokio::io::AsyncRead + Unpin> AsyncRead for Pipe<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

/// What tungstenite itself writes: answers to pings and closes, whole frames at a time.
impl<S: Unpin> AsyncWrite for Pipe<S> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        if !buffer.is_empty() {
            self.reply(Bytes::copy_from_slice(buffer));
        }
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
