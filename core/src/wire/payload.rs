//! What one WebSocket message carries, in each format.

use super::deflate::{pack, stored, unpack};
use super::json::ServerDecoder;
use super::{ClientMessage, Format, ServerMessage, binary, json};
use crate::change::Chunk;
use crate::fault::Malformed;
use crate::limits::SERVER_FRAME_BYTES_MAX;
use crate::session::BackfillId;
use bytes::Bytes;
use std::borrow::Cow;

/// In the binary formats, the first byte of a message of which the rest is deflated.
const DEFLATED: u8 = 0;
/// What is shorter is not deflated: it would gain a few bytes and cost every recipient.
const DEFLATE_BYTES_MIN: usize = 512;

/// A text message or a binary one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload<'a> {
    /// JSON.
    Text(Cow<'a, str>),
    /// Binary, or something deflated.
    Binary(Cow<'a, [u8]>),
}

impl Payload<'_> {
    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes.into())
    }
}

impl ServerMessage {
    /// The message in a format. Done once per message and format, however many sessions receive it.
    #[must_use]
    pub fn encode(&self, format: Format) -> Payload<'static> {
        if let Some(plain) = format.is_binary().then(|| binary::encode_server(self)).flatten() {
            let packed = deflated(&plain, format).map(|packed| [&[DEFLATED], &*packed].concat());
            return Payload::Binary(packed.unwrap_or(plain).into());
        }
        let text = json::encode_server(self);
        // In the binary formats a text stays one: only its kind tells the two apart.
        let packed = (!format.is_binary()).then(|| deflated(text.as_bytes(), format)).flatten();
        packed.map_or(Payload::Text(text.into()), |packed| Payload::Binary(packed.into()))
    }
}

impl ClientMessage {
    /// The message in a format.
    #[must_use]
    pub fn encode(&self, format: Format) -> Payload<'static> {
        match format.is_binary().then(|| binary::encode_client(self)).flatten() {
            Some(bytes) => Payload::Binary(bytes.into()),
            None => Payload::Text(json::encode_client(self).into()),
        }
    }

    /// Reads a message in a format.
    ///
    /// # Errors
    /// What is wrong with it, without repeating what the client sent.
    pub fn decode<'a>(payload: impl Into<Payload<'a>>, format: Format) -> Result<Self, Malformed> {
        match payload.into() {
            Payload::Text(text) => json::decode_client(&text),
            Payload::Binary(bytes) if format.is_binary() => binary::decode_client(&bytes),
            Payload::Binary(_) => Err(malformed("a binary message, where the format agreed on has only texts")),
        }
    }
}

/// Reads the messages of one connection to a server: remembers its shapes, so that pages come out whole.
#[derive(Debug, Default, Clone)]
pub struct Decoder {
    format: Format,
    shapes: ServerDecoder,
}

impl Decoder {
    /// For a connection that agreed on a format.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// Reads a server's message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode<'a>(&mut self, payload: impl Into<Payload<'a>>) -> Result<ServerMessage, Malformed> {
        let inflate = |packed: &[u8]| unpack(packed, SERVER_FRAME_BYTES_MAX).map_err(malformed);
        match (self.format, payload.into()) {
            (_, Payload::Text(text)) => self.shapes.decode(&text),
            (Format::Json, Payload::Binary(_)) => {
                Err(malformed("a binary message, where the format agreed on has only texts"))
            }
            (Format::JsonDeflate, Payload::Binary(packed)) => {
                let text = String::from_utf8(inflate(&packed)?).map_err(|_| malformed("a text is not UTF-8"))?;
                self.shapes.decode(&text)
            }
            (Format::Binary | Format::BinaryDeflate, Payload::Binary(bytes)) => match &*bytes {
                [DEFLATED, packed @ ..] if self.format.deflates() => {
                    binary::decode_server(&inflate(packed)?, &self.shapes)
                }
                plain => binary::decode_server(plain, &self.shapes),
            },
        }
    }
}

/// What a chunk's messages have in common, whatever the session: encoded and deflated once.
#[derive(Debug, Clone)]
pub struct ChunkBody {
    format: Format,
    bytes: Bytes,
    is_deflated: bool,
}

impl ChunkBody {
    /// Encodes a chunk.
    #[must_use]
    pub fn new(chunk: &Chunk, format: Format) -> Self {
        let plain = if format.is_binary() { binary::chunk_body(chunk) } else { json::chunk_body(chunk).into_bytes() };
        let packed = deflated(&plain, format);
        let is_deflated = packed.is_some();
        Self { format, bytes: packed.unwrap_or(plain).into(), is_deflated }
    }

    /// How one session's message begins; [`ChunkBody::bytes`] follow.
    #[must_use]
    pub fn head(&self, backfill: BackfillId, n: u32, of: u64) -> Payload<'static> {
        let is_binary = self.format.is_binary();
        if !self.is_deflated && !is_binary {
            return Payload::Text(json::chunk_head(backfill, n, of).into());
        }
        let head = match is_binary {
            true => binary::chunk_head(backfill, n, of),
            false => json::chunk_head(backfill, n, of).into_bytes(),
        };
        // A block that is stored as it is, then the blocks that are shared: one stream.
        let head = match (self.is_deflated, is_binary) {
            (false, _) => head,
            (true, false) => stored(&head),
            (true, true) => [&[DEFLATED], &*stored(&head)].concat(),
        };
        Payload::Binary(head.into())
    }

    /// What all sessions share.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
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

fn malformed(why: &str) -> Malformed {
    Malformed { why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Column, Relation};
    use crate::row::{Row, Value};
    use std::sync::Arc;

    #[test]
    fn a_chunk_is_the_same_from_its_parts_in_every_format() {
        let column = |name: &str, key| Column { name: name.into(), type_oid: 25, type_name: "text".into(), key };
        let relation = Arc::new(Relation::new("public", "a", vec![column("id", true), column("text", false)]));
        let row = |n: u32| Row::of([Value::Text(&n.to_string()), Value::Text("much the same")]);
        for rows in [1, 100] {
            let chunk = Arc::new(Chunk { relation: Arc::clone(&relation), rows: (0..rows).map(row).collect() });
            let (backfill, n, of) = (BackfillId(7), 3, 100);
            let message = ServerMessage::Chunk { backfill, n, of, chunk: Arc::clone(&chunk) };
            for format in Format::ALL {
                let body = ChunkBody::new(&chunk, format);
                assert_eq!(body.is_deflated, format.deflates() && rows > 1);
                let head = body.head(backfill, n, of);
                let bytes = [head.bytes(), body.bytes()].concat();
                let joined = match head {
                    Payload::Text(_) => Payload::Text(String::from_utf8(bytes).expect("UTF-8").into()),
                    Payload::Binary(_) => Payload::Binary(bytes.into()),
                };
                for payload in [joined, message.encode(format)] {
                    let mut decoder = Decoder::new(format);
                    let shape = ServerMessage::Schema(Arc::clone(&relation)).encode(format);
                    decoder.decode(shape).expect("a schema");
                    assert_eq!(decoder.decode(payload).as_ref(), Ok(&message), "{format}");
                }
            }
        }
    }

    #[test]
    fn what_a_format_has_not_is_refused() {
        let rubbish = &[DEFLATED, 1, 2, 3][..];
        for format in Format::ALL {
            assert!(Decoder::new(format).decode(rubbish).is_err(), "{format}");
            assert!(ClientMessage::decode(rubbish, format).is_err(), "{format}");
        }
    }
}
