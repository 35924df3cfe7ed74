//! Reads big-endian fields off the front of a message.

use crate::limits::VALUE_BYTES_MAX;
use crate::row::{Row, RowBuilder, Value, written};
use bytes::Bytes;

pub(super) struct Cursor<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(whole: &'a Bytes) -> Self {
        Self { whole, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.whole.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, _) = self.whole[self.at..].split_at_checked(count).ok_or("it is cut off")?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, &'static str> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, &'static str> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), &'static str> {
        if self.u8()? == byte { Ok(()) } else { Err(what) }
    }

    /// A text that ends with a zero byte.
    pub(super) fn text(&mut self) -> Result<String, &'static str> {
        let rest = &self.whole[self.at..];
        let length = rest.iter().position(|byte| *byte == 0).ok_or("a name has no end")?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "a name is not UTF-8")?;
        self.at += 1;
        Ok(text.to_owned())
    }

    /// A tuple: its count of values, then the layout that a [`Row`] shares with it.
    pub(super) fn row(&mut self) -> Result<Row, &'static str> {
        let count = self.u16()?;
        let start = self.at;
        let mut oversized = false;
        for _ in 0..count {
            match self.u8()? {
                b'n' | b'u' => {}
                b't' => {
                    let length = self.u32()? as usize;
                    oversized |= length > VALUE_BYTES_MAX;
                    self.take(length)?;
                }
                b'b' => return Err("a value is in binary form, which was not asked for"),
                _ => return Err("a value is of an unknown kind"),
            }
        }
        let tuple = self.whole.slice(start..self.at);
        Row::parse(if oversized { without_oversized(&tuple) } else { tuple })
    }
}

/// The same values, where those that are too large to travel are left out unread.
fn without_oversized(tuple: &[u8]) -> Bytes {
    let mut shorter = RowBuilder::default();
    for value in written(tuple) {
        match value {
            [b't', _, _, _, _, text @ ..] if text.len() > VALUE_BYTES_MAX => {
                shorter.push(Value::Omitted(u32::try_from(text.len()).unwrap_or(u32::MAX)));
            }
            value => shorter.push_written(value),
        }
    }
    shorter.finish().bytes().clone()
}
