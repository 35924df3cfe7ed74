//! Protocol version 1 in compact form: what is sent often (`page`, `chunk`, `seam`, `ack`, `staged`) in binary, all else as the JSON text that it
//! is in every format.
//!
//! A pure codec; whatever the bytes, the answer is a message or a sentence. Numbers are unsigned LEB128, signed ones zigzag first; a
//! text is its length in bytes and UTF-8. `docs/PROTOCOL.md` has the layout.

mod decode;
mod encode;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use decode::{decode_client, decode_server};
pub use encode::{chunk_body, chunk_head, encode_client, encode_server};

/// The first byte of a message.
mod kind {
    pub(super) const CHUNK: u8 = 1;
    pub(super) const SEAM: u8 = 2;
    pub(super) const PAGE: u8 = 3;
    pub(super) const ACK: u8 = 4;
    pub(super) const STAGED: u8 = 5;
}

/// The lowest three bits of a change; the rest is the index of its shape in the page's list.
mod operation {
    pub(super) const INSERT: u64 = 0;
    pub(super) const UPDATE: u64 = 1;
    pub(super) const MOVE: u64 = 2;
    pub(super) const DELETE: u64 = 3;
    pub(super) const TRUNCATE: u64 = 4;
    pub(super) const BITS: u32 = 3;
}

/// A value's number: 0 to 2 are these, 3 and more is a text three bytes shorter.
mod value {
    pub(super) const NULL: u64 = 0;
    pub(super) const UNCHANGED: u64 = 1;
    pub(super) const OMITTED: u64 = 2;
    pub(super) const TEXT: u64 = 3;
}

/// What a seam carries, and what a transaction is.
mod flag {
    pub(super) const HAS_PAGE: u8 = 1;
    pub(super) const HAS_COMPLETE: u8 = 2;
    pub(super) const LATER_PIECE: u8 = 1;
    pub(super) const GOES_ON: u8 = 2;
}
