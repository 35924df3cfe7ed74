//! Raw deflate (RFC 1951), of the large messages that a server sends: what their recipients need to know.

use flate2::read::DeflateDecoder;
use std::io::Read;

/// In the binary formats, the first byte of a message of which the rest is deflated.
pub const DEFLATED: u8 = 0;

/// Inflates bytes, to at most `most` of them.
///
/// # Errors
/// When they are no deflated stream, or a longer one.
pub fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, &'static str> {
    let mut plain = Vec::with_capacity(packed.len().saturating_mul(4).min(most));
    let limit = most as u64 + 1;
    DeflateDecoder::new(packed).take(limit).read_to_end(&mut plain).map_err(|_| "bytes that are not deflated")?;
    if plain.len() > most { Err("more than the largest message, deflated") } else { Ok(plain) }
}
