//! Where in commit order something stands.

use crate::xid::Xid;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A byte position in Postgres' WAL, printed `X/X`.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before everything.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no LSN, position or era.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(pub &'static str);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ParseError {}

impl FromStr for Lsn {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError = ParseError("an LSN is two hexadecimal numbers of up to 8 digits, as in 0/16B3748");
        let half = |digits: &str| {
            let fits = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            if fits { u64::from_str_radix(digits, 16).map_err(|_| WRONG) } else { Err(WRONG) }
        };
        let (high, low) = text.split_once('/').ok_or(WRONG)?;
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

/// A place in commit order: changes up to and including `index` of the transaction that committed at `commit_lsn` are held.
///
/// Text: `0/16B3748` at a boundary (the whole transaction), `0/16B3748+17` when changes 0 to 17 are held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// BEGIN's `final_lsn`.
    pub commit_lsn: Lsn,
    /// The last change held, counted from 0 in the whole transaction; [`Position::WHOLE`] for all of it.
    pub index: u32,
}

impl Position {
    /// The index that stands for a whole transaction.
    pub const WHOLE: u32 = u32::MAX;
    /// Before everything.
    pub const ZERO: Self = Self::after(Lsn::ZERO);

    /// The boundary after the transaction that committed at `commit_lsn`.
    #[must_use]
    pub const fn after(commit_lsn: Lsn) -> Self {
        Self { commit_lsn, index: Self::WHOLE }
    }

    /// Whether this is a boundary between transactions.
    #[must_use]
    pub const fn is_boundary(self) -> bool {
        self.index == Self::WHOLE
    }
}

impl Default for Position {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.commit_lsn, f)?;
        if self.is_boundary() { Ok(()) } else { write!(f, "+{}", self.index) }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Position {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError = ParseError("a position is an LSN, or an LSN, '+' and the index of a change");
        match text.split_once('+') {
            None => Ok(Self::after(text.parse()?)),
            Some((lsn, index)) => match index.parse() {
                Ok(index) if index != Self::WHOLE => Ok(Self { commit_lsn: lsn.parse()?, index }),
                _ => Err(WRONG),
            },
        }
    }
}

/// The continuity within which positions can be compared: a counter in our schema and a random id. Text: `3-9f86d081884c7d65`.
#[derive(Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Era {
    /// Grows with each era of one schema.
    pub counter: u32,
    /// Drawn at random, so that no two databases share an era.
    pub id: u64,
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.counter, self.id)
    }
}

impl fmt::Debug for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Era {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError = ParseError("an era is a counter, '-' and 16 hexadecimal digits");
        let (counter, id) = text.split_once('-').ok_or(WRONG)?;
        if id.len() != 16 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(WRONG);
        }
        let id = u64::from_str_radix(id, 16).map_err(|_| WRONG)?;
        Ok(Self { counter: counter.parse().map_err(|_| WRONG)?, id })
    }
}

/// As text for people, and as two numbers for hashes and compact formats.
macro_rules! serde_as_text {
    ($($type:ty: |$value:ident| $words:expr, |$first:ident, $second:ident| $back:expr;)+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    return serializer.collect_str(self);
                }
                let $value = self;
                let words: (u64, u64) = $words;
                words.serialize(serializer)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(stringify!($type))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                if deserializer.is_human_readable() {
                    return deserializer.deserialize_str(Text);
                }
                let ($first, $second) = <(u64, u64)>::deserialize(deserializer)?;
                Ok($back)
            }
        }
    )+};
}

fn narrow<E: serde::de::Error>(number: u64) -> Result<u32, E> {
    u32::try_from(number).map_err(|_| E::custom("a number below 2^32 was expected"))
}

serde_as_text! {
    Lsn: |lsn| (lsn.0, 0), |lsn, _rest| Self(lsn);
    Position: |at| (at.commit_lsn.0, u64::from(at.index)),
        |lsn, index| Self { commit_lsn: Lsn(lsn), index: narrow(index)? };
    Era: |era| (u64::from(era.counter), era.id), |counter, id| Self { counter: narrow(counter)?, id };
}

/// The number of the published tables' shape, raised by each change that may alter existing rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaVersion(pub u32);

/// A commit time: microseconds since the Unix epoch, by Postgres' clock. For people and for naming a transaction, never for order.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitTime(pub i64);

/// A position with all that names it: what `through` and `resume` carry on the wire.
///
/// Within one era waypoints are compared by position alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waypoint {
    /// The continuity it belongs to.
    pub era: Era,
    /// The shape of the tables it was reached with.
    pub schema: SchemaVersion,
    /// The place in commit order.
    pub position: Position,
    /// The transaction at that place; 0 at an era's start.
    pub xid: Xid,
    /// That transaction's commit time; 0 at an era's start.
    pub committed_at: CommitTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_print_and_parse() {
        for text in ["0/16B3748", "0/16B3748+17", "FFFFFFFF/FFFFFFFF", "0/0"] {
            assert_eq!(text.parse::<Position>().expect("valid").to_string(), text);
        }
        for text in ["", "0", "0/", "/0", "0/123456789", "0/+1", "0/1+", "0/1+4294967295", "0/1+-1", "0/1 "] {
            assert!(text.parse::<Position>().is_err(), "{text:?} is no position");
        }
        assert_eq!("3-000000000000000f".parse::<Era>().expect("valid"), Era { counter: 3, id: 15 });
        assert!("3-f".parse::<Era>().is_err());
    }

    #[test]
    fn positions_stand_in_commit_order() {
        let inside = Position { commit_lsn: Lsn(5), index: 17 };
        assert!(Position::after(Lsn(4)) < inside && inside < Position::after(Lsn(5)));
    }
}
