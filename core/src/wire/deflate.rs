//! Raw deflate (RFC 1951), of the large messages that a server sends.

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::io::{Read, Write};

/// The fastest level that makes little of much that is alike: at level 1 the library leaves a megabyte of zeros over 10,000 bytes.
const LEVEL: u32 = 2;

/// Deflates bytes: fast, for the recipients are many and the cores few.
pub(super) fn pack(plain: &[u8]) -> Vec<u8> {
    let out = Vec::with_capacity(plain.len() / 4);
    let mut encoder = DeflateEncoder::new(out, Compression::new(LEVEL));
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("memory takes what is written")
}

/// Bytes as one block that is not the last of its stream, stored as they are. They are fewer than 65,536.
pub(super) fn stored(plain: &[u8]) -> Vec<u8> {
    let length = u16::try_from(plain.len()).expect("only the head of a message is stored");
    let mut block = vec![0]; // Not the last, stored; the rest of the byte is padding.
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend(plain);
    block
}

/// Inflates bytes, to at most `most` of them.
///
/// # Errors
/// When they are no deflated stream, or a longer one.
pub(super) fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, &'static str> {
    let mut plain = Vec::with_capacity(packed.len().saturating_mul(4).min(most));
    let limit = most as u64 + 1;
    DeflateDecoder::new(packed).take(limit).read_to_end(&mut plain).map_err(|_| "bytes that are not deflated")?;
    if plain.len() > most { Err("more than the largest message, deflated") } else { Ok(plain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_and_what_is_packed_are_one_stream() {
        let rest = "and what everybody shares ".repeat(100);
        let mut packed = stored(b"mine, ");
        packed.extend(pack(rest.as_bytes()));
        let plain = unpack(&packed, 1 << 20).expect("one stream");
        assert_eq!(plain, [b"mine, ", rest.as_bytes()].concat());
        assert!(packed.len() < 100);
    }

    #[test]
    fn a_bomb_and_rubbish_are_refused() {
        let bomb = pack(&vec![0; 1 << 20]);
        assert!(bomb.len() < 10_000);
        assert_eq!(unpack(&bomb, 1 << 19), Err("more than the largest message, deflated"));
        assert_eq!(unpack(b"rubbish", 1 << 19), Err("bytes that are not deflated"));
        assert_eq!(unpack(&bomb[..bomb.len() / 2], 1 << 20), Err("bytes that are not deflated"));
    }
}
