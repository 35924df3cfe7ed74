//! Where in a peer's frames the bytes that were read end: the proof that a codec may be dropped without losing anything.
//!
//! tungstenite does not tell whether it holds a part of a frame. So the bytes on their way to it are followed here, header by
//! header, by its own parser of headers.

use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::OpCode;
use std::io::Cursor;

/// The longest header: two bytes, the longest length, the mask.
const HEADER_BYTES_MAX: usize = 14;

/// Follows frames.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    at: At,
    /// A message was begun whose last frame has not begun yet.
    is_fragmented: bool,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// So many bytes of a header were read; 0 is between frames.
    Header { read: u8, bytes: [u8; HEADER_BYTES_MAX] },
    /// So many bytes of the payload are still to come.
    Payload { left: u64 },
    /// These are no frames, which tungstenite says too: the connection ends.
    Nonsense,
}

impl Default for At {
    fn default() -> Self {
        Self::Header { read: 0, bytes: [0; HEADER_BYTES_MAX] }
    }
}

impl Boundary {
    /// Follows the next bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Header { read, bytes: header } => {
                    header[usize::from(*read)] = first;
                    *read += 1;
                    let length = usize::from(*read);
                    let parsed = FrameHeader::parse(&mut Cursor::new(&header[..length]));
                    self.on_header(parsed.map_err(drop), length);
                    bytes = rest;
                }
                At::Payload { left } => {
                    let of_this = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    *left -= of_this as u64;
                    if *left == 0 {
                        self.at = At::default();
                    }
                    bytes = &bytes[of_this..];
                }
                At::Nonsense => return,
            }
        }
    }

    /// Whether all bytes are whole messages.
    pub(super) const fn is_between_messages(&self) -> bool {
        matches!(self.at, At::Header { read: 0, .. }) && !self.is_fragmented
    }

    fn on_header(&mut self, parsed: Result<Option<(FrameHeader, u64)>, ()>, length: usize) {
        match parsed {
            Ok(Some((header, payload))) => {
                if matches!(header.opcode, OpCode::Data(_)) {
                    self.is_fragmented = !header.is_final;
                }
                self.at = if payload == 0 { At::default() } else { At::Payload { left: payload } };
            }
            Ok(None) if length < HEADER_BYTES_MAX => {}
            Ok(None) | Err(()) => self.at = At::Nonsense,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match (u8::try_from(payload), u16::try_from(payload)) {
            (Ok(short @ ..=125), _) => frame.push(0x80 | short),
            (_, Ok(length)) => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend([7; 4]);
        frame.resize(frame.len() + payload, b'x');
        frame
    }

    const TEXT: u8 = 0x81;
    const TEXT_BEGUN: u8 = 0x01;
    const CONTINUED: u8 = 0x00;
    const LAST: u8 = 0x80;
    const PING: u8 = 0x89;

    /// However the bytes come apart, only the ends of messages are between messages.
    #[test]
    fn only_the_end_of_a_message_is_a_boundary() {
        let frames = [
            (frame(TEXT, 4), true),
            (frame(TEXT, 0), true),
            (frame(TEXT, 126), true),
            (frame(TEXT_BEGUN, 3), false),
            (frame(PING, 5), false),
            (frame(CONTINUED, 0), false),
            (frame(LAST, 0), true),
            (frame(TEXT, 66_000), true),
            (frame(PING, 0), true),
        ];
        let all: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
        let mut end = 0;
        let ends: Vec<_> = frames
            .iter()
            .map(|(frame, is_boundary)| {
                end += frame.len();
                (end, *is_boundary)
            })
            .collect();
        for step in [1, 2, 3, 7, 64, 4_096, all.len()] {
            let (mut boundary, mut passed) = (Boundary::default(), 0);
            for part in all.chunks(step) {
                boundary.pass(part);
                passed += part.len();
                let expected = ends.iter().any(|(end, is_boundary)| *end == passed && *is_boundary);
                assert_eq!(boundary.is_between_messages(), expected, "after {passed} bytes in steps of {step}");
            }
        }
    }

    #[test]
    fn nonsense_never_ends() {
        let mut boundary = Boundary::default();
        boundary.pass(b"GET / HTTP/1.1");
        assert!(!boundary.is_between_messages());
    }
}
