//! The pure decoder of `pgoutput`, protocol version 1: any bytes give messages or an error, never a panic.
//!
//! [`decode`] reads one message; [`Translator`] follows a stream and turns its messages into [`SourceItem`]s. Rows are slices
//! of the bytes that came in. (Source: PostgreSQL's documentation, "Logical Replication Message Formats".)

mod cursor;
#[cfg(test)]
mod tests;
mod translate;

pub use translate::Translator;

#[cfg(doc)]
use crate::source::SourceItem;

use crate::position::{CommitTime, Lsn};
use crate::row::Row;
use bytes::Bytes;
use cursor::Cursor;
use std::fmt;

/// Microseconds from the Unix epoch to Postgres' own, 2000-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// One message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A transaction begins.
    Begin {
        /// Where its commit record stands.
        final_lsn: Lsn,
        /// When it committed.
        committed_at: CommitTime,
        /// The low half of its id.
        xid: u32,
    },
    /// The transaction ends.
    Commit {
        /// The same as BEGIN's `final_lsn`.
        commit_lsn: Lsn,
        /// Where its commit record ends.
        end_lsn: Lsn,
    },
    /// A table's shape.
    Relation(RelationMessage),
    /// The name of a type that is not built in.
    Type {
        /// Its oid.
        oid: u32,
        /// Its name.
        name: String,
    },
    /// A new row.
    Insert {
        /// The table's oid.
        relation: u32,
        /// All values.
        new: Row,
    },
    /// A changed row.
    Update {
        /// The table's oid.
        relation: u32,
        /// What it was, when the identity requires it.
        old: Option<Old>,
        /// What it is.
        new: Row,
    },
    /// A row that is gone.
    Delete {
        /// The table's oid.
        relation: u32,
        /// What it was.
        old: Old,
    },
    /// Emptied tables.
    Truncate {
        /// Their oids.
        relations: Vec<u32>,
    },
    /// Something that concerns no row: an origin, a logical message.
    Other,
}

/// A table's shape as the stream tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationMessage {
    /// The table's oid.
    pub oid: u32,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `d`, `n`, `f` or `i`.
    pub identity: u8,
    /// In order.
    pub columns: Vec<ColumnMessage>,
}

/// A column as the stream tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMessage {
    /// Part of the replica identity; with identity FULL, every column is.
    pub key: bool,
    /// Its name.
    pub name: String,
    /// Its type's oid.
    pub type_oid: u32,
}

/// What a row was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Old {
    /// Only the identity's columns are told; the others read NULL.
    Key(Row),
    /// All columns are told (identity FULL).
    Full(Row),
}

impl Old {
    /// The values, those not told as NULL.
    #[must_use]
    pub const fn row(&self) -> &Row {
        match self {
            Self::Key(row) | Self::Full(row) => row,
        }
    }
}

/// Bytes that are no `pgoutput` message, or one that does not fit the stream so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub what: &'static str,
    /// The message's kind, `?` when there is none.
    pub kind: char,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot decode a pgoutput message of kind {:?}: {}", self.kind, self.what)
    }
}

impl std::error::Error for DecodeError {}

/// Reads one message.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &Bytes) -> Result<Message, DecodeError> {
    let kind = bytes.first().map_or('?', |byte| char::from(*byte));
    let mut cursor = Cursor::new(bytes);
    message(&mut cursor).map_err(|what| DecodeError { what, kind })
}

fn message(cursor: &mut Cursor<'_>) -> Result<Message, &'static str> {
    let message = match cursor.u8()? {
        b'B' => Message::Begin {
            final_lsn: Lsn(cursor.u64()?),
            committed_at: CommitTime(cursor.i64()?.saturating_add(POSTGRES_EPOCH_US)),
            xid: cursor.u32()?,
        },
        b'C' => {
            cursor.u8()?; // Flags, unused.
            let (commit_lsn, end_lsn) = (Lsn(cursor.u64()?), Lsn(cursor.u64()?));
            cursor.i64()?;
            Message::Commit { commit_lsn, end_lsn }
        }
        b'R' => Message::Relation(relation(cursor)?),
        b'Y' => {
            let oid = cursor.u32()?;
            cursor.text()?;
            Message::Type { oid, name: cursor.text()? }
        }
        b'I' => {
            let relation = cursor.u32()?;
            cursor.expect(b'N', "an insert without its new row")?;
            Message::Insert { relation, new: cursor.row()? }
        }
        b'U' => update(cursor)?,
        b'D' => {
            let relation = cursor.u32()?;
            let old = match cursor.u8()? {
                b'K' => Old::Key(cursor.row()?),
                b'O' => Old::Full(cursor.row()?),
                _ => return Err("a delete without its old row"),
            };
            Message::Delete { relation, old }
        }
        b'T' => {
            let count = cursor.u32()?;
            cursor.u8()?; // CASCADE, RESTART IDENTITY: the tables concerned are all named.
            let relations = (0..count).map(|_| cursor.u32()).collect::<Result<_, _>>()?;
            Message::Truncate { relations }
        }
        b'O' | b'M' => return Ok(Message::Other),
        _ => return Err("an unknown kind"),
    };
    if cursor.is_empty() { Ok(message) } else { Err("bytes are left over") }
}

fn update(cursor: &mut Cursor<'_>) -> Result<Message, &'static str> {
    let relation = cursor.u32()?;
    let old = match cursor.u8()? {
        b'K' => Some(Old::Key(cursor.row()?)),
        b'O' => Some(Old::Full(cursor.row()?)),
        b'N' => return Ok(Message::Update { relation, old: None, new: cursor.row()? }),
        _ => return Err("an update without its new row"),
    };
    cursor.expect(b'N', "an update without its new row")?;
    Ok(Message::Update { relation, old, new: cursor.row()? })
}

fn relation(cursor: &mut Cursor<'_>) -> Result<RelationMessage, &'static str> {
    let oid = cursor.u32()?;
    let (mut namespace, name) = (cursor.text()?, cursor.text()?);
    if namespace.is_empty() {
        namespace = "pg_catalog".to_owned();
    }
    let identity = cursor.u8()?;
    let count = cursor.u16()?;
    let column = |_| {
        let key = cursor.u8()? & 1 == 1;
        let (name, type_oid) = (cursor.text()?, cursor.u32()?);
        cursor.u32()?; // The type's modifier is part of the fingerprint, not of the stream.
        Ok(ColumnMessage { key, name, type_oid })
    };
    let columns = (0..count).map(column).collect::<Result<_, &'static str>>()?;
    Ok(RelationMessage { oid, namespace, name, identity, columns })
}
