//! WebSocket frames, as a lean client reads and writes them.

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A whole text message.
    Text(&'a [u8]),
    /// The connection ends.
    Close,
    /// Something that needs no answer from a client that measures.
    Other,
}

/// The first frame and its length, or how many bytes are needed at least to tell.
pub(super) fn first(bytes: &[u8]) -> Result<(Frame<'_>, usize), usize> {
    let &[kind, length, ref rest @ ..] = bytes else { return Err(2) };
    let (length, header): (usize, usize) = match (length & 0x7f, rest) {
        (126, &[a, b, ..]) => (usize::from(u16::from_be_bytes([a, b])), 4),
        (127, &[a, b, c, d, e, f, g, h, ..]) => {
            (usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).unwrap_or(usize::MAX), 10)
        }
        (126, _) => return Err(4),
        (127, _) => return Err(10),
        (short, _) => (usize::from(short), 2),
    };
    let end = header.saturating_add(length);
    let Some(body) = bytes.get(header..end) else { return Err(end) };
    let frame = match kind & 0x0f {
        1 => Frame::Text(body),
        8 => Frame::Close,
        _ => Frame::Other,
    };
    Ok((frame, end))
}

/// A client's text frame. Its mask is zero, so that its bytes are the text's.
pub(super) fn masked(text: &str) -> Vec<u8> {
    let mut frame = header(text.len(), 0x80);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// A server's text frame.
pub(super) fn plain(text: &str) -> Vec<u8> {
    let mut frame = header(text.len(), 0);
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn header(length: usize, mask: u8) -> Vec<u8> {
    const TEXT: u8 = 0x81;
    let mut header = Vec::with_capacity(14 + length);
    header.push(TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => header.push(mask | length),
        (_, Ok(length)) => {
            header.push(mask | 126);
            header.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            header.push(mask | 127);
            header.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths_are_read_and_unfinished_ones_waited_for() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(length);
            let mut bytes = plain(&text);
            let end = bytes.len();
            for cut in [1, end / 2, end - 1] {
                assert!(first(&bytes[..cut]).is_err_and(|needed| needed > cut && needed <= end), "{length} at {cut}");
            }
            bytes.push(0x88);
            assert_eq!(first(&bytes), Ok((Frame::Text(text.as_bytes()), end)));
            assert_eq!(masked(&text).len(), end + 4);
        }
        assert_eq!(first(&[0x88, 0]), Ok((Frame::Close, 2)));
    }
}
