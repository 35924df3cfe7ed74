//! A server's frames as bytes: made once, shared by all recipients.

use super::pack::{pack, stored};
use crate::deflate::DEFLATED;
use bytes::{BufMut, Bytes, BytesMut};
use dormouse_core::change::Chunk;
use dormouse_core::fault::FaultCode;
use dormouse_core::session::BackfillId;
use dormouse_core::wire::{Format, ServerMessage, binary, json};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// What is shorter is not deflated: it would gain a few bytes and cost every recipient.
const DEFLATE_BYTES_MIN: usize = 512;

/// The frame of a message.
#[must_use]
pub fn encode_message(message: &ServerMessage, format: Format) -> Bytes {
    match format.is_binary().then(|| binary::encode_server(message)).flatten() {
        Some(bytes) => packed(BINARY, &bytes, format),
        None => packed(TEXT, json::encode_server(message).as_bytes(), format),
    }
}

/// A frame, in two parts so that sessions can share the greater one: none has a copy of it.
#[derive(Debug, Clone)]
pub struct Frame {
    own: Bytes,
    /// Empty where nothing is shared but the whole frame.
    shared: Bytes,
}

impl Frame {
    /// How many bytes go over the wire.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub const fn len(&self) -> usize {
        self.own.len() + self.shared.len()
    }

    /// What goes over the wire, one after the other.
    pub fn parts(self) -> impl Iterator<Item = Bytes> {
        [self.own, self.shared].into_iter().filter(|part| !part.is_empty())
    }
}

impl From<Bytes> for Frame {
    fn from(own: Bytes) -> Self {
        Self { own, shared: Bytes::new() }
    }
}

/// What a chunk's frames have in common, whatever the session: encoded and deflated once.
#[derive(Debug, Clone)]
pub struct ChunkBody {
    bytes: Bytes,
    deflated: bool,
}

impl ChunkBody {
    /// Encodes a chunk.
    #[must_use]
    pub fn new(chunk: &Chunk, format: Format) -> Self {
        let plain = if format.is_binary() { binary::chunk_body(chunk) } else { json::chunk_body(chunk).into_bytes() };
        match deflated(&plain, format) {
            Some(bytes) => Self { bytes: bytes.into(), deflated: true },
            None => Self { bytes: plain.into(), deflated: false },
        }
    }

    /// The frame for one session.
    #[must_use]
    pub fn frame(&self, backfill: BackfillId, n: u32, of: u64, format: Format) -> Frame {
        let head = if format.is_binary() {
            binary::chunk_head(backfill, n, of)
        } else {
            json::chunk_head(backfill, n, of).into_bytes()
        };
        let before = |kind: u8, parts: &[&[u8]]| encode_before(kind, parts, self.bytes.len());
        let own = match (self.deflated, format.is_binary()) {
            (false, true) => before(BINARY, &[&head]),
            (false, false) => before(TEXT, &[&head]),
            // A block that is stored as it is, then the blocks that are shared: one stream.
            (true, true) => before(BINARY, &[&[DEFLATED], &stored(&head)]),
            (true, false) => before(BINARY, &[&stored(&head)]),
        };
        Frame { own, shared: self.bytes.clone() }
    }

    /// How many bytes are kept for it.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.bytes.len()
    }
}

fn packed(kind: u8, plain: &[u8], format: Format) -> Bytes {
    match deflated(plain, format) {
        Some(packed) if format.is_binary() && kind == BINARY => encode(BINARY, &[&[DEFLATED], &packed]),
        // In the binary formats a text stays one: only its kind tells the two apart.
        Some(packed) if !format.is_binary() => encode(BINARY, &[&packed]),
        _ => encode(kind, &[plain]),
    }
}

/// The deflated bytes, where the format has that and it saves a tenth or more.
fn deflated(plain: &[u8], format: Format) -> Option<Vec<u8>> {
    if !format.deflates() || plain.len() < DEFLATE_BYTES_MIN {
        return None;
    }
    let packed = pack(plain);
    (packed.len() < plain.len() - plain.len() / 10).then_some(packed)
}

/// The frame of a text.
#[must_use]
pub fn encode_text(text: &str) -> Bytes {
    encode(TEXT, &[text.as_bytes()])
}

/// The frame that closes a socket; its reason is the fault's code. `None` says that all is well.
#[must_use]
pub fn encode_close(code: Option<FaultCode>) -> Bytes {
    const NORMAL: u16 = 1000;
    let number = code.map_or(NORMAL, close_number);
    encode(CLOSE, &[&number.to_be_bytes(), code.map_or("", FaultCode::as_str).as_bytes()])
}

/// The number of RFC 6455 that comes nearest; programs look at the reason.
const fn close_number(code: FaultCode) -> u16 {
    match code {
        FaultCode::GoingAway => 1001,
        FaultCode::TooLarge => 1009,
        FaultCode::Internal => 1011,
        FaultCode::Unavailable => 1013,
        FaultCode::Malformed
        | FaultCode::UnknownVersion
        | FaultCode::Unauthorized
        | FaultCode::Expired
        | FaultCode::TooMany
        | FaultCode::Forbidden
        | FaultCode::UnknownScope
        | FaultCode::FromTheFuture
        | FaultCode::Stale
        | FaultCode::Replaced
        | FaultCode::TooSlow => 1008,
    }
}

fn encode(kind: u8, parts: &[&[u8]]) -> Bytes {
    encode_before(kind, parts, 0)
}

/// The beginning of a frame that so many more bytes belong to.
fn encode_before(kind: u8, parts: &[&[u8]], more: usize) -> Bytes {
    const HEADER_BYTES_MAX: usize = 10;
    let own = parts.iter().map(|part| part.len()).sum::<usize>();
    let length = own + more;
    let mut frame = BytesMut::with_capacity(HEADER_BYTES_MAX + own);
    frame.put_u8(kind);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => frame.put_u8(length),
        (_, Ok(length)) => {
            frame.put_u8(126);
            frame.put_u16(length);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    parts.iter().for_each(|part| frame.put_slice(part));
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::unpack;
    use dormouse_core::change::{Column, Relation};
    use dormouse_core::limits::SERVER_FRAME_BYTES_MAX;
    use dormouse_core::row::{Row, Value};
    use std::sync::Arc;

    #[test]
    fn a_chunk_is_the_same_from_its_parts_in_every_format() {
        let column = |name: &str, key| Column { name: name.into(), type_oid: 25, type_name: "text".into(), key };
        let relation = Arc::new(Relation::new("public", "a", vec![column("id", true), column("text", false)]));
        let rows = (0..100).map(|n: u32| Row::of([Value::Text(&n.to_string()), Value::Text("much the same")]));
        let chunk = Arc::new(Chunk { relation: Arc::clone(&relation), rows: rows.collect() });
        let message = ServerMessage::Chunk { backfill: BackfillId(7), n: 3, of: 100, chunk: Arc::clone(&chunk) };
        let mut shapes = json::ServerDecoder::default();
        shapes.decode(&json::encode_server(&ServerMessage::Schema(relation))).expect("a schema");
        for format in Format::ALL {
            let frame = ChunkBody::new(&chunk, format).frame(BackfillId(7), 3, 100, format);
            let whole = encode_message(&message, format);
            assert_eq!(frame.len(), frame.clone().parts().map(|part| part.len()).sum::<usize>());
            for frame in [frame.parts().flatten().collect::<Vec<u8>>(), whole.to_vec()] {
                let payload = &frame[4..]; // Its length takes two bytes.
                let (text, bytes) = match (format, frame[0]) {
                    (Format::Json, TEXT) => (payload.to_vec(), Vec::new()),
                    (Format::Binary, BINARY) => (Vec::new(), payload.to_vec()),
                    (Format::JsonDeflate, BINARY) => {
                        (unpack(payload, SERVER_FRAME_BYTES_MAX).expect("deflated"), Vec::new())
                    }
                    (Format::BinaryDeflate, BINARY) => {
                        assert_eq!(payload[0], DEFLATED);
                        (Vec::new(), unpack(&payload[1..], SERVER_FRAME_BYTES_MAX).expect("deflated"))
                    }
                    (format, kind) => panic!("a frame of kind {kind} in {format}"),
                };
                let decoded = if text.is_empty() {
                    binary::decode_server(&bytes, &shapes)
                } else {
                    shapes.decode(std::str::from_utf8(&text).expect("UTF-8"))
                };
                assert_eq!(decoded.as_ref(), Ok(&message), "{format}");
            }
        }
    }

    #[test]
    fn the_length_takes_as_little_as_it_can() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frame = encode_text(&"x".repeat(length));
            assert_eq!(frame.len(), header + length);
        }
        assert_eq!(encode_text("hi")[..], [0x81, 2, b'h', b'i']);
        assert_eq!(encode_close(Some(FaultCode::TooLarge))[..4], [0x88, 11, 3, 241]);
        assert_eq!(encode_close(None)[..], [0x88, 2, 3, 232]);
    }

    #[test]
    fn each_code_closes_with_the_status_that_the_protocol_says() {
        let page = include_str!("../../../docs/PROTOCOL.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let statuses = rows.filter_map(|(code, rest)| Some((code, rest.get(..4)?.parse::<u16>().ok()?)));
        let mut told = 0;
        for (code, status) in statuses {
            let parsed: FaultCode = serde_json::from_str(&format!("\"{code}\"")).expect("a code");
            assert_eq!(close_number(parsed), status, "{code}");
            told += 1;
        }
        assert!(told >= 13, "the table was found");
    }
}
