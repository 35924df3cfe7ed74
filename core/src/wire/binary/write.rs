//! Numbers, texts and places as bytes.

use crate::position::{Position, Waypoint};

/// Appends to bytes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits in each byte, the lowest first; the highest bit says that more follow.
    pub fn number(&mut self, mut number: u64) {
        const MORE: u8 = 0x80;
        while number >= u64::from(MORE) {
            self.bytes.push(low_bits(number) | MORE);
            number >>= 7;
        }
        self.bytes.push(low_bits(number));
    }

    /// 0, -1, 1, -2, … as 0, 1, 2, 3, …
    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// The LSN, and the index plus one; 0 for a whole transaction.
    pub fn position(&mut self, position: Position) {
        self.number(position.commit_lsn.0);
        self.number(if position.is_boundary() { 0 } else { u64::from(position.index) + 1 });
    }

    pub fn waypoint(&mut self, waypoint: &Waypoint) {
        let Waypoint { era, schema, position, xid, committed_at } = waypoint;
        self.number(u64::from(era.counter));
        self.bytes.extend_from_slice(&era.id.to_be_bytes());
        self.number(u64::from(schema.0));
        self.position(*position);
        self.number(xid.0);
        self.signed(committed_at.0);
    }
}

const fn low_bits(number: u64) -> u8 {
    (number & 0x7f) as u8
}
