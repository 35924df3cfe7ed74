//! Our integers as Postgres' types, in binary form.

use bytes::{BufMut, BytesMut};
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::xid::Xid;
use std::error::Error;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, PgLsn, ToSql, Type, accepts, to_sql_checked};

pub(super) fn pg_lsn(lsn: Lsn) -> PgLsn {
    PgLsn::from(lsn.0)
}

pub(super) fn lsn(lsn: PgLsn) -> Lsn {
    Lsn(lsn.into())
}

/// `xid8`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Xid8(pub Xid);

impl<'a> FromSql<'a> for Xid8 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Xid(u64::from_be_bytes(raw.try_into()?))))
    }
    accepts!(XID8);
}

impl ToSql for Xid8 {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u64(self.0.0);
        Ok(IsNull::No)
    }
    accepts!(XID8);
    to_sql_checked!();
}

/// `timestamptz`, which Postgres counts in microseconds from the year 2000.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(pub CommitTime);

const EPOCH_2000_US: i64 = 946_684_800_000_000;

impl<'a> FromSql<'a> for Time {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(CommitTime(i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_2000_US))))
    }
    accepts!(TIMESTAMPTZ);
}

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0.0.saturating_sub(EPOCH_2000_US));
        Ok(IsNull::No)
    }
    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

/// A duration, as the number of microseconds that `$n * interval '1 microsecond'` multiplies.
pub(super) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// An index of a position as Postgres' `bigint`.
pub(super) fn index(index: u32) -> i64 {
    i64::from(index)
}

/// A count or id whose bits travel as `bigint`.
#[expect(clippy::cast_possible_wrap, reason = "the bits are kept, and come back by `unsigned`")]
pub(super) const fn signed(number: u64) -> i64 {
    number as i64
}

/// What [`signed`] was given.
#[expect(clippy::cast_sign_loss, reason = "the bits are kept, as `signed` made them")]
pub(super) const fn unsigned(number: i64) -> u64 {
    number as u64
}

/// A small count that Postgres keeps as `integer`.
pub(super) fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// What [`small`] was given.
pub(super) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// Five columns of one row, from `from` on: era counter, era id, schema, commit LSN, index, xid, commit time. `None` when the
/// LSN is NULL.
pub(super) fn waypoint(row: &Row, from: usize) -> Option<Waypoint> {
    let commit_lsn: Option<PgLsn> = row.get(from + 3);
    Some(Waypoint {
        era: Era { counter: count(row.get(from)), id: unsigned(row.get(from + 1)) },
        schema: SchemaVersion(count(row.get(from + 2))),
        position: Position {
            commit_lsn: lsn(commit_lsn?),
            index: u32::try_from(row.get::<_, i64>(from + 4)).unwrap_or(Position::WHOLE),
        },
        xid: row.get::<_, Xid8>(from + 5).0,
        committed_at: row.get::<_, Time>(from + 6).0,
    })
}
