//! How long the disk takes to make a small write durable: no commit returns sooner.

use super::histogram::{Histogram, Percentiles};
use super::process::now_us;
use std::io::{self, Write};

/// How often it is measured.
const TIMES: usize = 100;
/// As much as Postgres writes for a small transaction: one block of WAL.
const BLOCK: [u8; 8_192] = [7; 8_192];

/// Writes blocks one after the other, each made durable as Postgres does it (`fdatasync`), where temporary files lie.
///
/// # Errors
/// When the folder cannot be written to.
pub(super) fn fsync() -> io::Result<Percentiles> {
    let mut file = tempfile::tempfile()?;
    let mut took = Histogram::default();
    for _ in 0..TIMES {
        let started = now_us();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        took.note(now_us() - started);
    }
    took.percentiles().ok_or_else(|| io::Error::other("nothing was measured"))
}
