//! One row's values: Postgres' text, in one shared buffer, never parsed on the way through.

use bytes::{BufMut, Bytes};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// Postgres' text.
    Text(&'a str),
    /// An update left this large value alone (TOAST); the replica keeps what it has.
    Unchanged,
    /// Left out because it is over `max_value_bytes`: its size.
    Omitted(u32),
}

/// The values of one row, in the order of their relation's columns.
///
/// A cheap clone of a slice of the bytes it came in. Layout: per value a kind (`n`, `t`, `u`, `o`), then for `t` and `o`
/// four bytes of length, big endian, then for `t` the text. This is the layout of `pgoutput`'s tuples after their count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Row {
    bytes: Bytes,
}

impl Row {
    /// Takes bytes of the layout above.
    ///
    /// # Errors
    /// What is wrong with them; text must be UTF-8.
    pub fn parse(bytes: Bytes) -> Result<Self, &'static str> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let written;
            (written, rest) = split_written(rest)?;
            read(written)?;
        }
        Ok(Self { bytes })
    }

    /// A row of these values.
    #[must_use]
    pub fn of<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Self {
        let mut builder = RowBuilder::default();
        values.into_iter().for_each(|value| builder.push(value));
        builder.finish()
    }

    /// The values in order.
    #[must_use]
    pub fn values(&self) -> Values<'_> {
        Values { rest: &self.bytes }
    }

    /// Whether an update left some of its values alone.
    pub(crate) fn leaves_some_unchanged(&self) -> bool {
        self.written().any(|value| value == b"u")
    }

    /// The values as they are written, in order: the kind, then for `t` and `o` four bytes, then for `t` the text. For what
    /// copies, counts or hashes and does not read.
    pub(crate) fn written(&self) -> impl Iterator<Item = &[u8]> {
        written(&self.bytes)
    }

    /// The bytes, to be stored or to measure.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Collects values into a row.
#[derive(Debug)]
pub struct RowBuilder {
    bytes: Vec<u8>,
}

impl Default for RowBuilder {
    fn default() -> Self {
        const MOST: usize = 64; // Of many rows.
        Self::with_capacity(MOST)
    }
}

impl RowBuilder {
    /// A builder of a row whose values take so many bytes as they are written.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Adds a value at the end.
    ///
    /// # Panics
    /// When a text is 4 GiB or longer, which Postgres' own limit of 1 GiB excludes.
    pub fn push(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.bytes.push(b'n'),
            Value::Unchanged => self.bytes.push(b'u'),
            Value::Omitted(size) => {
                self.bytes.push(b'o');
                self.bytes.put_u32(size);
            }
            Value::Text(text) => {
                self.bytes.reserve(LENGTH_END + text.len());
                self.bytes.push(b't');
                self.bytes.put_u32(u32::try_from(text.len()).expect("a Postgres value is at most 1 GiB"));
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// Adds a value of another row, as it is written there.
    pub(crate) fn push_written(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// The row.
    #[must_use]
    pub fn finish(self) -> Row {
        Row { bytes: self.bytes.into() }
    }
}

/// Walks the values of a row.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let mut written = Written { rest: self.rest };
        let value = read(written.next()?).expect(VALIDATED);
        self.rest = written.rest;
        Some(value)
    }

    fn count(self) -> usize {
        Written { rest: self.rest }.count()
    }
}

/// The values of the layout above, as they are written. Its bytes must be whole values.
pub(crate) fn written(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    Written { rest: bytes }
}

struct Written<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Written<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (value, rest) = split_written(self.rest).expect(VALIDATED);
        self.rest = rest;
        Some(value)
    }
}

const VALIDATED: &str = "a row's bytes were validated when it was made";
/// Where the length of a value ends that has one.
const LENGTH_END: usize = 5;

/// The first value as it is written, and what follows it.
fn split_written(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let (kind, rest) = bytes.split_first().ok_or("a value's kind is missing")?;
    let length =
        || rest.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)).ok_or("a value's length is missing");
    let end = match kind {
        b'n' | b'u' => 1,
        b'o' => length().map(|_| LENGTH_END)?,
        b't' => LENGTH_END + length()? as usize,
        _ => return Err("a value is of an unknown kind"),
    };
    bytes.split_at_checked(end).ok_or("a value is cut off")
}

fn read(written: &[u8]) -> Result<Value<'_>, &'static str> {
    Ok(match (written[0], written.get(1..LENGTH_END), written.get(LENGTH_END..)) {
        (b'n', ..) => Value::Null,
        (b't', _, Some(text)) => Value::Text(std::str::from_utf8(text).map_err(|_| "a value is not UTF-8")?),
        (b'o', Some(size), _) => Value::Omitted(u32::from_be_bytes(size.try_into().expect("four bytes"))),
        _ => Value::Unchanged,
    })
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (n, value) in self.values().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            match value {
                Value::Null => f.write_str("null")?,
                Value::Unchanged => f.write_str("unchanged")?,
                Value::Omitted(size) => write!(f, "omitted {size}")?,
                Value::Text(text) => f.write_str(text)?,
            }
        }
        f.write_str(")")
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Bytes::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_what_was_put_in() {
        let values = [Value::Null, Value::Text("a"), Value::Text(""), Value::Unchanged, Value::Omitted(9)];
        let row = Row::of(values);
        assert!(row.values().eq(values));
        assert_eq!(Row::parse(row.bytes().clone()), Ok(row));
    }

    #[test]
    fn broken_bytes_are_refused() {
        for bytes in [&b"x"[..], b"t", b"t\0\0\0", b"t\0\0\0\x02a", b"t\0\0\0\x01\xff", b"o\0\0"] {
            assert!(Row::parse(Bytes::from_static(bytes)).is_err());
        }
    }
}
