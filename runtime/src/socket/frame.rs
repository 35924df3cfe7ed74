//! A server's frames as bytes: made once, shared by all recipients.

use bytes::{BufMut, Bytes, BytesMut};
use dormouse_core::fault::FaultCode;
use dormouse_core::session::BackfillId;
use dormouse_core::wire::{ChunkBody, Format, Payload, ServerMessage};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// The frame of a message.
#[must_use]
pub fn encode_message(message: &ServerMessage, format: Format) -> Bytes {
    let payload = message.encode(format);
    encode(kind(&payload), &[payload.bytes()])
}

const fn kind(payload: &Payload<'_>) -> u8 {
    match payload {
        Payload::Text(_) => TEXT,
        Payload::Binary(_) => BINARY,
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

    #[cfg(test)]
    pub(super) const fn split(own: &'static [u8], shared: &'static [u8]) -> Self {
        Self { own: Bytes::from_static(own), shared: Bytes::from_static(shared) }
    }

    /// Whether it has two parts.
    pub(super) const fn is_split(&self) -> bool {
        !self.shared.is_empty()
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

impl Frame {
    /// The frame of a chunk, for one session.
    #[must_use]
    pub fn of_chunk(body: &ChunkBody, backfill: BackfillId, n: u32, of: u64) -> Self {
        let head = body.head(backfill, n, of);
        Self { own: encode_before(kind(&head), &[head.bytes()], body.bytes().len()), shared: body.bytes().clone() }
    }
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

/// The frame that answers a peer's own, with its number.
#[must_use]
pub(super) fn encode_close_answer(number: Option<u16>) -> Bytes {
    let number = number.map(u16::to_be_bytes);
    encode(CLOSE, &[number.as_ref().map_or(&[], |number| &number[..])])
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
