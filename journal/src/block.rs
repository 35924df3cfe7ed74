//! Blocks: records in compressed bunches, each with its own sum, so that a tear or a flipped byte costs no more than one.
//!
//! A block is its length in four bytes (little endian), the same again with every bit flipped, eight bytes of the sum of what
//! follows, then the compressed bytes.

use crate::digest::Digest;

/// Bytes before the compressed ones.
const HEAD: usize = 16;
/// The most bytes that one block unpacks to: a checkpoint is one block.
pub const RAW_MAX: usize = 1 << 30;

/// Appends a block that holds these bytes.
pub fn write(raw: &[u8], out: &mut Vec<u8>) {
    let packed = lz4_flex::block::compress_prepend_size(raw);
    let length = u32::try_from(packed.len()).expect("a block is bounded by RAW_MAX");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(&sum(&packed).to_le_bytes());
    out.extend_from_slice(&packed);
}

/// Why no further block could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The file ends within the block: the process was killed, or still writes.
    Torn,
    /// The bytes are not those that were written.
    Damaged,
}

/// Takes the first block off the front of `bytes`. `None` at the end.
///
/// # Errors
/// When the block is torn or damaged.
pub fn take(bytes: &mut &[u8]) -> Option<Result<Vec<u8>, Fault>> {
    if bytes.is_empty() { None } else { Some(take_one(bytes)) }
}

fn take_one(bytes: &mut &[u8]) -> Result<Vec<u8>, Fault> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(Fault::Torn)?;
    let [l0, l1, l2, l3, n0, n1, n2, n3, check @ ..] = *head;
    let (length, flipped) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([n0, n1, n2, n3]));
    if length != !flipped {
        return Err(Fault::Damaged);
    }
    let (packed, rest) = rest.split_at_checked(length as usize).ok_or(Fault::Torn)?;
    if sum(packed) != u64::from_le_bytes(check) {
        return Err(Fault::Damaged);
    }
    let size = packed.first_chunk::<4>().map_or(usize::MAX, |size| u32::from_le_bytes(*size) as usize);
    if size > RAW_MAX {
        return Err(Fault::Damaged);
    }
    let raw = lz4_flex::block::decompress_size_prepended(packed).map_err(|_| Fault::Damaged)?;
    *bytes = rest;
    Ok(raw)
}

fn sum(bytes: &[u8]) -> u64 {
    let mut digest = Digest::default();
    digest.bytes(bytes);
    digest.low_half()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        let mut out = Vec::new();
        write(b"one one one one one one", &mut out);
        write(b"two", &mut out);
        out
    }

    fn read(mut bytes: &[u8]) -> (usize, Option<Fault>) {
        let mut n = 0;
        while let Some(block) = take(&mut bytes) {
            match block {
                Ok(_) => n += 1,
                Err(fault) => return (n, Some(fault)),
            }
        }
        (n, None)
    }

    #[test]
    fn blocks_are_read_up_to_the_tear() {
        let bytes = two();
        let mut first = Vec::new();
        write(b"one one one one one one", &mut first);
        for length in 0..=bytes.len() {
            let (whole, fault) = read(&bytes[..length]);
            assert_eq!(whole, usize::from(length >= first.len()) + usize::from(length == bytes.len()));
            let at_an_edge = [0, first.len(), bytes.len()].contains(&length);
            assert_eq!(fault, (!at_an_edge).then_some(Fault::Torn), "at {length}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = two();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(read(&bytes).1, Some(Fault::Damaged), "byte {at}, bit {bit}");
            }
        }
    }
}
