//! The messages of the stream as the server's plugin writes them, protocol version 1, byte for byte.
//!
//! (Source: PostgreSQL's documentation, "Logical Replication Message Formats".) It shares nothing with the decoder in `core`.

use super::tables::Table;
use super::types;
use super::wal::{Commit, Decoded};
use bytes::{BufMut, Bytes, BytesMut};
use dormouse_core::change::{Change, Relation};
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::row::{Row, Value};

/// Microseconds from the Unix epoch to Postgres' own, 2000-01-01.
const EPOCH_US: i64 = 946_684_800_000_000;
/// One of our own tables, of which the runtime's end must say nothing.
const OWN_OID: u32 = 16_300;
/// How long a commit record of a transaction on our own tables is said to be: shorter than the record of any change.
const OWN_BYTES: u64 = 8;
/// Few messages are longer.
const MOST: usize = 256;

type Heard = Result<(), Failure>;

/// Whether these are shapes of one table.
pub(super) fn is_same(one: &Relation, other: &Relation) -> bool {
    (&one.name, &one.schema) == (&other.name, &other.schema)
}

/// The table of a shape.
pub(super) fn table_of<'a>(relation: &Relation, tables: &'a [Table]) -> &'a Table {
    tables.iter().find(|table| is_same(&table.relation, relation)).expect("tables are never dropped")
}

/// BEGIN; in a world of odd shapes also, before it, a transaction on our own tables alone, and after it an origin, a logical
/// message and a row of one of our own tables.
pub(super) fn begin(commit: &Commit, odd: bool, mut hear: impl FnMut(&Bytes) -> Heard) -> Heard {
    if odd {
        // Its record lies among those of the changes, which it may: all that ends here is whole.
        let own = Lsn(commit.commit_lsn.0 - OWN_BYTES);
        hear(&begins(commit, own))?;
        own_row(&mut hear)?;
        hear(&ends(commit, own, commit.commit_lsn))?;
    }
    hear(&begins(commit, commit.commit_lsn))?;
    if !odd {
        return Ok(());
    }
    let mut origin = of(b'O');
    origin.put_u64(commit.commit_lsn.0);
    put_text(&mut origin, "elsewhere");
    hear(&origin.freeze())?;
    let mut logical = of(b'M');
    logical.put_u8(0);
    logical.put_u64(commit.commit_lsn.0);
    put_text(&mut logical, "dormouse");
    logical.put_u32(4);
    logical.put_slice(b"wake");
    hear(&logical.freeze())?;
    own_row(&mut hear)
}

/// COMMIT.
pub(super) fn commit(commit: &Commit) -> Bytes {
    ends(commit, commit.commit_lsn, commit.end_lsn)
}

fn begins(commit: &Commit, at: Lsn) -> Bytes {
    let mut message = of(b'B');
    message.put_u64(at.0);
    message.put_i64(commit.committed_at.0 - EPOCH_US);
    #[expect(clippy::cast_possible_truncation, reason = "the protocol tells the low half")]
    message.put_u32(commit.xid.0 as u32);
    message.freeze()
}

/// A row of one of our own tables.
fn own_row(hear: &mut impl FnMut(&Bytes) -> Heard) -> Heard {
    let mut own = of(b'R');
    own.put_u32(OWN_OID);
    put_text(&mut own, "dormouse");
    put_text(&mut own, "lease");
    own.put_u8(b'd');
    own.put_u16(1);
    put_column(&mut own, true, "id", types::INT8.0);
    hear(&own.freeze())?;
    let mut row = of(b'I');
    row.put_u32(OWN_OID);
    row.put_u8(b'N');
    put_row(&mut row, &Row::of([Value::Text("1")]));
    hear(&row.freeze())
}

fn ends(commit: &Commit, at: Lsn, end: Lsn) -> Bytes {
    let mut message = of(b'C');
    message.put_u8(0);
    message.put_u64(at.0);
    message.put_u64(end.0);
    message.put_i64(commit.committed_at.0 - EPOCH_US);
    message.freeze()
}

/// A table's shape, after the types in it that an application made.
pub(super) fn relation(table: &Table, relation: &Relation, mut hear: impl FnMut(&Bytes) -> Heard) -> Heard {
    if relation.columns.iter().any(|column| column.type_oid == types::MADE.0) {
        let mut message = of(b'Y');
        message.put_u32(types::MADE.0);
        put_text(&mut message, "public");
        put_text(&mut message, types::MADE.1);
        hear(&message.freeze())?;
    }
    let mut message = of(b'R');
    message.put_u32(table.oid());
    put_text(&mut message, &relation.schema);
    put_text(&mut message, &relation.name);
    message.put_u8(if table.is_full() { b'f' } else { b'd' });
    message.put_u16(u16::try_from(relation.columns.len()).expect("a few columns"));
    for column in &relation.columns {
        put_column(&mut message, column.key || table.is_full(), &column.name, column.type_oid);
    }
    hear(&message.freeze())
}

/// A change of one row, or of a whole table.
/// One statement that empties tables.
pub(super) fn truncate(oids: impl ExactSizeIterator<Item = u32>) -> Bytes {
    let mut message = of(b'T');
    message.put_u32(u32::try_from(oids.len()).expect("a few tables"));
    message.put_u8(0);
    oids.for_each(|oid| message.put_u32(oid));
    message.freeze()
}

pub(super) fn change(table: &Table, decoded: &Decoded) -> Bytes {
    let Decoded { relation, change, old, .. } = decoded;
    let full = old.as_ref().filter(|_| table.is_full());
    let mut message = of(match change {
        Change::Insert { .. } => b'I',
        Change::Update { .. } | Change::Move { .. } => b'U',
        Change::Delete { .. } => b'D',
        Change::Truncate { .. } => b'T',
    });
    match change {
        Change::Truncate { .. } => return truncate(std::iter::once(table.oid())),
        Change::Insert { row, .. } => {
            message.put_u32(table.oid());
            put_new(&mut message, row);
        }
        Change::Update { row, .. } => {
            message.put_u32(table.oid());
            if let Some(old) = full {
                put_old(&mut message, b'O', old);
            }
            let told = full.map(|old| told(relation, row, old, true));
            put_new(&mut message, told.as_ref().unwrap_or(row));
        }
        Change::Move { old_key, row, .. } => {
            message.put_u32(table.oid());
            let key = key_alone(relation, old_key);
            put_old(&mut message, if full.is_some() { b'O' } else { b'K' }, full.unwrap_or(&key));
            put_new(&mut message, &told(relation, row, full.unwrap_or(&key), full.is_some()));
        }
        Change::Delete { key, .. } => {
            message.put_u32(table.oid());
            match full {
                Some(old) => put_old(&mut message, b'O', old),
                None => put_old(&mut message, b'K', &key_alone(relation, key)),
            }
        }
    }
    message.freeze()
}

/// The new row as the stream tells it beside an old one, of which only the key is told unless it is `full`: a large value that stayed is
/// left out, and so is one of the key that is stored apart, as in half of the rows.
fn told(relation: &Relation, row: &Row, old: &Row, full: bool) -> Row {
    let apart = old.bytes().len().is_multiple_of(2);
    let large = |n: usize| full && n == super::tables::LARGE || apart && relation.columns[n].key;
    let values = row.values().zip(old.values()).enumerate();
    Row::of(values.map(|(n, (new, old))| if large(n) && new == old { Value::Unchanged } else { new }))
}

/// A row of the key's values, the others NULL.
fn key_alone(relation: &Relation, key: &Row) -> Row {
    let mut key = key.values();
    let value = |key_column| if key_column { key.next().expect("a key has its columns' values") } else { Value::Null };
    Row::of(relation.columns.iter().map(|column| column.key).map(value))
}

fn of(kind: u8) -> BytesMut {
    let mut message = BytesMut::with_capacity(MOST);
    message.put_u8(kind);
    message
}

fn put_text(message: &mut BytesMut, text: &str) {
    message.put_slice(text.as_bytes());
    message.put_u8(0);
}

fn put_column(message: &mut BytesMut, key: bool, name: &str, type_oid: u32) {
    message.put_u8(u8::from(key));
    put_text(message, name);
    message.put_u32(type_oid);
    message.put_u32(u32::MAX);
}

fn put_new(message: &mut BytesMut, row: &Row) {
    message.put_u8(b'N');
    put_row(message, row);
}

fn put_old(message: &mut BytesMut, kind: u8, row: &Row) {
    message.put_u8(kind);
    put_row(message, row);
}

fn put_row(message: &mut BytesMut, row: &Row) {
    message.put_u16(u16::try_from(row.values().count()).expect("a few columns"));
    for value in row.values() {
        match value {
            Value::Null => message.put_u8(b'n'),
            Value::Unchanged => message.put_u8(b'u'),
            Value::Text(text) => {
                message.put_u8(b't');
                message.put_u32(u32::try_from(text.len()).expect("at most 1 GiB"));
                message.put_slice(text.as_bytes());
            }
            // Nobody but the source ever has the whole of it.
            Value::Omitted(size) => {
                message.reserve(size as usize + MOST);
                message.put_u8(b't');
                message.put_u32(size);
                message.put_bytes(b'x', size as usize);
            }
        }
    }
}
