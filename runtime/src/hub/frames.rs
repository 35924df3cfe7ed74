//! Frames of recent messages: what several sessions are sent one after the other is encoded once for each format.

use crate::socket::{Frame, encode_message};
use bytes::Bytes;
use dormouse_core::change::Chunk;
use dormouse_core::wire::{ChunkBody, Format, ServerMessage};
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
    /// How many frames of pages and chunks were sent again as they were kept, since that was last asked.
    reused: u64,
}

#[derive(Debug)]
enum Kept {
    Frame(Arc<ServerMessage>, Bytes),
    /// Each session is sent it under a number of its own.
    Chunk(Arc<Chunk>, ChunkBody),
}

impl Kept {
    fn len(&self) -> usize {
        match self {
            Self::Frame(_, frame) => frame.len(),
            Self::Chunk(_, body) => body.bytes().len(),
        }
    }
}

impl Frames {
    /// The frame of a message, kept when it is `shared` by several recipients or anybody else holds the message.
    pub(super) fn of(&mut self, message: &Arc<ServerMessage>, format: Format, shared: bool) -> Frame {
        if let ServerMessage::Chunk { backfill, n, of, chunk } = &**message {
            return Frame::of_chunk(&self.body(chunk, format), *backfill, *n, *of);
        }
        let known = self.recent.iter().rev().find_map(|(kept, of)| match kept {
            Kept::Frame(recent, frame) if *of == format && Arc::ptr_eq(recent, message) => Some(frame.clone()),
            _ => None,
        });
        self.reused += u64::from(known.is_some());
        let frame = known.unwrap_or_else(|| {
            let frame = encode_message(message, format);
            self.encoded += 1;
            if shared || Arc::strong_count(message) > 1 {
                self.keep(Kept::Frame(Arc::clone(message), frame.clone()), format);
            }
            frame
        });
        frame.into()
    }

    fn body(&mut self, chunk: &Arc<Chunk>, format: Format) -> ChunkBody {
        let known = self.recent.iter().rev().find_map(|(kept, of)| match kept {
            Kept::Chunk(recent, body) if *of == format && Arc::ptr_eq(recent, chunk) => Some(body.clone()),
            _ => None,
        });
        self.reused += u64::from(known.is_some());
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

    /// How many kept frames were sent again since this was last asked.
    pub(super) fn take_reused(&mut self) -> u64 {
        std::mem::take(&mut self.reused)
    }

    /// Forgets all frames, as when the machine sleeps.
    pub(super) fn clear(&mut self) {
        *self = Self { encoded: self.encoded, reused: self.reused, ..Self::default() };
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
        let at = |frame: Frame| frame.parts().next().expect("no frame is empty").as_ptr();
        let mut frames = Frames::default();
        let shared: Vec<_> = (0..100).map(|_| Arc::new(ServerMessage::Live)).collect();
        let copies = shared.clone();
        let first = at(frames.of(&shared[0], Format::Json, false));
        assert_eq!(first, at(frames.of(&copies[0], Format::Json, false)));
        assert_ne!(first, at(frames.of(&copies[0], Format::Binary, false)), "each format has its own");
        for message in &shared {
            frames.of(message, Format::Json, false);
        }
        assert_eq!(frames.recent.len(), FRAMES_MAX);
        assert_ne!(first, at(frames.of(&copies[0], Format::Json, false)));
        frames.clear();
        frames.of(&Arc::new(ServerMessage::Live), Format::Json, false);
        assert!(frames.recent.is_empty(), "a message that nobody else holds will not come again");
    }

    #[test]
    fn sessions_share_the_bytes_of_a_chunk() {
        let column =
            dormouse_core::change::Column { name: "id".into(), type_oid: 23, type_name: "int4".into(), key: true };
        let relation = Arc::new(dormouse_core::change::Relation::new("public", "a", vec![column]));
        let row = dormouse_core::row::Row::of([dormouse_core::row::Value::Text("1")]);
        let chunk = Arc::new(Chunk { relation, rows: vec![row; 1_000] });
        let message = |id: u64| {
            let backfill = dormouse_core::session::BackfillId(id);
            Arc::new(ServerMessage::Chunk { backfill, n: 0, of: 1_000, chunk: Arc::clone(&chunk) })
        };
        let (one, other) = (message(1), message(2));
        let mut frames = Frames::default();
        let parts = |frame: Frame| frame.parts().collect::<Vec<_>>();
        let (one, other) = (parts(frames.of(&one, Format::Json, false)), parts(frames.of(&other, Format::Json, false)));
        assert_ne!(one[0], other[0], "each has a number of its own");
        assert!(one[0].len() < 100 && one[1].len() > 1_000, "and little else");
        assert_eq!(one[1].as_ptr(), other[1].as_ptr());
    }
}
