//! Bytes to numbers, texts and places.

use crate::fault::Malformed;
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use crate::xid::Xid;

/// Walks bytes from front to back.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Nothing may follow.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed("bytes follow a message's end")) }
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or_else(too_short)?;
        self.rest = rest;
        Ok(*byte)
    }

    pub fn bytes(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| too_short())?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(too_short)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(malformed("a number has more than 64 bits"))
    }

    pub fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| malformed("a number has more than 32 bits"))
    }

    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// How many follow. Each takes a byte or more, so that what is set aside for them is bounded by what came.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= self.rest.len());
        count.ok_or_else(too_short)
    }

    pub fn text(&mut self, length: u64) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(length)?).map_err(|_| malformed("a text is not UTF-8"))
    }

    pub fn position(&mut self) -> Result<Position, Malformed> {
        let commit_lsn = Lsn(self.number()?);
        Ok(match self.small()? {
            0 => Position::after(commit_lsn),
            index => Position { commit_lsn, index: index - 1 },
        })
    }

    pub fn waypoint(&mut self) -> Result<Waypoint, Malformed> {
        let counter = self.small()?;
        let id = self.bytes(8)?.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(too_short)?;
        Ok(Waypoint {
            era: Era { counter, id },
            schema: SchemaVersion(self.small()?),
            position: self.position()?,
            xid: Xid(self.number()?),
            committed_at: CommitTime(self.signed()?),
        })
    }
}

fn too_short() -> Malformed {
    malformed("a message ends too early")
}

pub(super) fn malformed(why: &str) -> Malformed {
    Malformed { why: why.into() }
}
