//! One row's values: Postgres' text, in one shared buffer, never parsed on the way through.

use bytes::{BufMut, Bytes, BytesMut};
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
            rest = split_value(rest)?.1;
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

    /// The bytes, to be stored or to measure.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Collects values into a row.
#[derive(Debug, Default)]
pub struct RowBuilder {
    bytes: BytesMut,
}

impl RowBuilder {
    /// Adds a value at the end.
    ///
    /// # Panics
    /// When a text is 4 GiB or longer, which Postgres' own limit of 1 GiB excludes.
    pub fn push(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.bytes.put_u8(b'n'),
            Value::Unchanged => self.bytes.put_u8(b'u'),
            Value::Omitted(size) => {
                self.bytes.put_u8(b'o');
                self.bytes.put_u32(size);
            }
            Value::Text(text) => {
                self.bytes.put_u8(b't');
                self.bytes.put_u32(u32::try_from(text.len()).expect("a Postgres value is at most 1 GiB"));
                self.bytes.put_slice(text.as_bytes());
            }
        }
    }

    /// The row.
    #[must_use]
    pub fn finish(self) -> Row {
        Row { bytes: self.bytes.freeze() }
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
        if self.rest.is_empty() {
            return None;
        }
        let (value, rest) = split_value(self.rest).expect("a row's bytes were validated when it was made");
        self.rest = rest;
        Some(value)
    }
}

fn split_value(bytes: &[u8]) -> Result<(Value<'_>, &[u8]), &'static str> {
    let (kind, rest) = bytes.split_first().ok_or("a value's kind is missing")?;
    let length = |rest: &[u8]| -> Result<u32, &'static str> {
        let length = rest.first_chunk::<4>().ok_or("a value's length is missing")?;
        Ok(u32::from_be_bytes(*length))
    };
    match kind {
        b'n' => Ok((Value::Null, rest)),
        b'u' => Ok((Value::Unchanged, rest)),
        b'o' => Ok((Value::Omitted(length(rest)?), &rest[4..])),
        b't' => {
            let length = length(rest)? as usize;
            let (text, rest) = rest[4..].split_at_checked(length).ok_or("a value is cut off")?;
            let text = std::str::from_utf8(text).map_err(|_| "a value is not UTF-8")?;
            Ok((Value::Text(text), rest))
        }
        _ => Err("a value is of an unknown kind"),
    }
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
