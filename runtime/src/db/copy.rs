//! COPY's text format, turned into the layout of our rows.

use bytes::BufMut;

/// Appends one line of COPY's text (without its newline) to `out`, in the layout of [`dormouse_core::row::Row`].
///
/// Returns how many values it had. A value over `value_max` bytes becomes the marker `omitted`.
pub(super) fn append_row(line: &[u8], value_max: usize, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> usize {
    let mut values = 0;
    for field in line.split(|byte| *byte == b'\t') {
        values += 1;
        if field == b"\\N" {
            out.put_u8(b'n');
        } else if field.contains(&b'\\') {
            scratch.clear();
            unescape(field, scratch);
            append_text(scratch, value_max, out);
        } else {
            append_text(field, value_max, out);
        }
    }
    values
}

fn append_text(text: &[u8], value_max: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).expect("a Postgres value is at most 1 GiB");
    if text.len() > value_max {
        out.put_u8(b'o');
        out.put_u32(length);
    } else {
        out.put_u8(b't');
        out.put_u32(length);
        out.put_slice(text);
    }
}

/// Undoes what COPY's output escapes: a backslash and one character. It never writes the octal and hexadecimal forms.
fn unescape(field: &[u8], out: &mut Vec<u8>) {
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
}

/// Cuts a stream of COPY data into lines, whichever way it was cut into messages.
#[derive(Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Calls `each` with every line that is complete now.
    pub(super) fn push<E>(&mut self, data: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = data;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if self.partial.is_empty() {
                each(&rest[..end])?;
            } else {
                self.partial.extend_from_slice(&rest[..end]);
                each(&self.partial)?;
                self.partial.clear();
            }
            rest = &rest[end + 1..];
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_core::row::Row;

    fn check(line: &[u8], expected: &str) {
        let mut out = Vec::new();
        append_row(line, 12, &mut Vec::new(), &mut out);
        assert_eq!(format!("{:?}", Row::parse(out.into()).expect("a row")), expected);
    }

    #[test]
    fn lines_become_rows() {
        check(b"1\t\\N\ta\\tb\\\\c", "(1, null, a\tb\\c)");
        check(b"", "()");
        check(b"\t", "(, )");
        check(br"\\N", "(\\N)");
        check(b"0123456789abc\tx", "(omitted 13, x)");
        check("é\\nü".as_bytes(), "(é\nü)");
    }

    #[test]
    fn lines_are_found_wherever_the_messages_end() {
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut lines = Lines::default();
        for data in [&b"a\nb"[..], b"c", b"\n\nd\n"] {
            let each = |line: &[u8]| -> Result<(), ()> {
                found.push(line.to_vec());
                Ok(())
            };
            lines.push(data, each).expect("never fails");
        }
        assert_eq!(found, [&b"a"[..], b"bc", b"", b"d"]);
    }
}
