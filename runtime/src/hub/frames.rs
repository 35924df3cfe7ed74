//! Frames of recent messages: what several sessions are sent one after the other is encoded once.

use crate::socket::encode_message;
use bytes::Bytes;
use dormouse_core::wire::ServerMessage;
use std::collections::VecDeque;
use std::sync::Arc;

/// The most frames that are kept.
const FRAMES_MAX: usize = 32;
/// The most bytes of frames that are kept; one frame more may be.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The frames, latest last. A kept message cannot make room for another at its address, so addresses name messages.
#[derive(Debug, Default)]
pub(super) struct Frames {
    recent: VecDeque<(Arc<ServerMessage>, Bytes)>,
    bytes: usize,
}

impl Frames {
    pub(super) fn of(&mut self, message: &Arc<ServerMessage>) -> Bytes {
        if let Some((_, frame)) = self.recent.iter().rev().find(|(recent, _)| Arc::ptr_eq(recent, message)) {
            return frame.clone();
        }
        let frame = encode_message(message);
        if Arc::strong_count(message) > 1 {
            self.keep(Arc::clone(message), frame.clone());
        }
        frame
    }

    /// Forgets all frames, as when the machine sleeps.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn keep(&mut self, message: Arc<ServerMessage>, frame: Bytes) {
        self.bytes += frame.len();
        self.recent.push_back((message, frame));
        while self.recent.len() > FRAMES_MAX || (self.bytes > BYTES_MAX && self.recent.len() > 1) {
            if let Some((_, frame)) = self.recent.pop_front() {
                self.bytes -= frame.len();
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
        let first = frames.of(&shared[0]);
        assert_eq!(first.as_ptr(), frames.of(&copies[0]).as_ptr());
        for message in &shared {
            frames.of(message);
        }
        assert_eq!(frames.recent.len(), FRAMES_MAX);
        assert_ne!(first.as_ptr(), frames.of(&copies[0]).as_ptr());
        frames.clear();
        frames.of(&Arc::new(ServerMessage::Live));
        assert!(frames.recent.is_empty(), "a message that nobody else holds will not come again");
    }
}
