//! A 128-bit content sum: how two replicas are compared without comparing their rows.

use crate::change::Relation;
use crate::row::Row;

/// A 128-bit hash of a sequence of byte strings (FNV-1a with a final mix). Not for adversaries.
#[derive(Debug, Clone)]
pub struct Hasher {
    state: u128,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { state: 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d }
    }
}

impl Hasher {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    /// Adds a byte string; its length counts, so that ("a", "b") and ("ab", "") differ.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.state = (self.state ^ u128::from(*byte)).wrapping_mul(Self::PRIME);
        }
        self.state = (self.state ^ (bytes.len() as u128) << 8 ^ 0xff).wrapping_mul(Self::PRIME);
    }

    /// The hash of all that was written.
    #[must_use]
    pub const fn finish(&self) -> u128 {
        let mut x = self.state;
        x ^= x >> 61;
        x = x.wrapping_mul(0x9fb2_1c65_1e98_df25_a0b4_28db_9e37_79b9);
        x ^= x >> 59;
        x
    }
}

/// The hash of one row of one table, by names and values, whatever the columns' order on the wire.
///
/// A replica's content sum is the wrapping sum of its rows' hashes: not XOR, in which a doubled row cancels out.
#[must_use]
pub fn row_hash(relation: &Relation, row: &Row) -> u128 {
    let mut hasher = Hasher::default();
    hasher.write(relation.schema.as_bytes());
    hasher.write(relation.name.as_bytes());
    let mut sum = hasher.finish();
    for (column, value) in relation.columns.iter().zip(row.written()) {
        let mut hasher = Hasher::default();
        hasher.write(column.name.as_bytes());
        match value {
            [b't', _, _, _, _, text @ ..] => {
                hasher.write(b"t");
                hasher.write(text);
            }
            [b'o', size @ ..] => hasher.write(size),
            kind => hasher.write(kind),
        }
        sum = sum.wrapping_add(hasher.finish());
    }
    let mut hasher = Hasher::default();
    hasher.write(&sum.to_be_bytes());
    hasher.finish()
}
