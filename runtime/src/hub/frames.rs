//! Frames of recent messages: what several sessions are sent one after the other is encoded once for each format.

use crate::socket::{ChunkBody, encode_message};
use bytes::Bytes;
use dormouse_core::change::Chunk;
use dormouse_core::wire::{Format, ServerMessage};
use std::collections::VecDeque;
use std::sync::Arc;

/// The most frames that are kept.
const FRAMES_MAX: usize = 32;
/// The most bytes of frames that are kept; one frame more may be.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The frames, latest last. What is kept cannot make room for another at its address, so addresses name messages and chunks.
#[derive(Debug, Default)]
pub(super) struct Frames {
    recent: VecDeque<(Kept, Format)>,
    bytes: usize,
    /// How many messages were encoded, since that was last asked.
    encoded: u64,
}

#[derive(Debug)]
enum Kept {
    Frame(Arc<ServerMessage>, Bytes),
    /// Each session is sent it under a number of its own.
    Chunk(Arc<Chunk>, ChunkBody),
}

impl Kept {
    const fn len(&self) -> usize {
        match self {
            Self::Frame(_, frame) => frame.len(),
            Self::Chunk(_, body) => body.weight(),
        }
    }
}

impl Frames {
    /// The frame of a message, kept when it is `shared` by several recipients or anybody else holds the message.
    pub(super) fn of(&mut self, message: &Arc<ServerMessage>, format: Format, shared: bool) -> Bytes {
        if let ServerMessage::Chunk { backfill, n, of, chunk } = &**message {
            return self.body(chunk, format).frame(*backfill, *n, *of, format);
        }
        let known = self.recent.iter().rev().find_map(|(kept, of)| match kept {
            Kept::Frame(recent, frame) if *of == format && Arc::ptr_eq(recent, message) => Some(frame.clone()),
            _ => None,
        });
        known.unwrap_or_else(|| {
            let frame = encode_message(message, format);
            self.encoded += 1;
            if shared || Arc::strong_count(message) > 1 {
                self.keep(Kept::Frame(Arc::clone(message), frame.clone()), format);
            }
            frame
        })
    }

    fn body(&mut self, chunk: &Arc<Chunk>, format: Format) -> ChunkBody {
        let known = self.recent.iter().rev().find_map(|(kept, of)| match kept {
            Kept::Chunk(recent, body) if *of == format && Arc::ptr_eq(recent, chunk) => Some(body.clone()),
            _ => None,
        });
        known.unwrap_or_else(|| {
            let body = ChunkBody::new(chunk, format);
            self.encoded += 1;
            if Arc::strong_count(chunk) > 2 {
                self.keep(Kept::Chunk(Arc::clone(chunk), body.clone()), format); // More than this message has it.
            }
            body
        })
    }

    /// How many messages were encoded since this was last asked.
    pub(super) fn take_encoded(&mut self) -> u64 {
        std::mem::take(&mut self.encoded)
    }

    /// Forgets all frames, as when the machine sleeps.
    pub(super) fn clear(&mut self) {
        *self = Self { encoded: self.encoded, ..Self::default() };
    }

    fn keep(&mut self, kept: Kept, format: Format) {
        self.bytes += kept.len();
        self.recent.push_back((kept, format));
        while self.recent.len() > FRAMES_MAX || (self.bytes > BYTES_MAX && self.recent.len() > 1) {
            if let Some((kept, _)) = self.recent.pop_front() {
                self.bytes -= kept.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_message_is_encoded_once_and_few_are_kept() {
        let mut frames = Frames::default();
        let shared: Vec<_> = (0..100).map(|_| Arc::new(ServerMessage::Live)).collect();
        let copies = shared.clone();
        let first = frames.of(&shared[0], Format::Json, false);
        assert_eq!(first.as_ptr(), frames.of(&copies[0], Format::Json, false).as_ptr());
        assert_ne!(first.as_ptr(), frames.of(&copies[0], Format::Binary, false).as_ptr(), "each format has its own");
        for message in &shared {
            frames.of(message, Format::Json, false);
        }
        assert_eq!(frames.recent.len(), FRAMES_MAX);
        assert_ne!(first.as_ptr(), frames.of(&copies[0], Format::Json, false).as_ptr());
        frames.clear();
        frames.of(&Arc::new(ServerMessage::Live), Format::Json, false);
        assert!(frames.recent.is_empty(), "a message that nobody else holds will not come again");
    }
}
