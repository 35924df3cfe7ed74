//! Bytes to messages.

use super::read::{Reader, malformed};
use super::{flag, kind, operation, value};
use crate::change::{Change, Chunk, Page, Relation, RelationId, Transaction};
use crate::fault::Malformed;
use crate::position::{CommitTime, Lsn, Position, Waypoint};
use crate::row::{Row, RowBuilder, Value};
use crate::session::BackfillId;
use crate::wire::json::ServerDecoder;
use crate::wire::{ClientMessage, ServerMessage};
use crate::xid::Xid;
use std::sync::Arc;

/// Reads a client's binary message.
///
/// # Errors
/// What is wrong with it, without repeating what the client sent.
pub fn decode_client(bytes: &[u8]) -> Result<ClientMessage, Malformed> {
    let mut reader = Reader::new(bytes);
    let message = match reader.byte()? {
        kind::ACK => ClientMessage::Ack { through: reader.waypoint()? },
        kind::STAGED => ClientMessage::Staged { backfill: BackfillId(reader.number()?), n: reader.small()? },
        _ => return Err(malformed("a client's binary message is an ack (4) or staged (5)")),
    };
    reader.finish()?;
    Ok(message)
}

/// Reads a server's binary message, with the shapes that the connection's decoder knows from its text messages.
///
/// # Errors
/// What is wrong with it.
pub fn decode_server(bytes: &[u8], shapes: &ServerDecoder) -> Result<ServerMessage, Malformed> {
    let mut reader = Reader::new(bytes);
    let message = match reader.byte()? {
        kind::PAGE => {
            let (after, through) = (reader.position()?, reader.waypoint()?);
            ServerMessage::Page(Arc::new(page(&mut reader, after, through, shapes)?))
        }
        kind::CHUNK => {
            let (backfill, n, of) = (BackfillId(reader.number()?), reader.small()?, reader.number()?);
            let relation = Arc::clone(shapes.relation(reader.number()?)?);
            let count = reader.count()?;
            let width = relation.columns.len();
            let rows = (0..count).map(|_| row(&mut reader, width)).collect::<Result<_, _>>()?;
            ServerMessage::Chunk { backfill, n, of, chunk: Arc::new(Chunk { relation, rows }) }
        }
        kind::SEAM => {
            let (backfill, n) = (BackfillId(reader.number()?), reader.small()?);
            let flags = reader.byte()?;
            let page = (flags & flag::HAS_PAGE != 0)
                .then(|| page(&mut reader, Position::ZERO, Waypoint::default(), shapes).map(Arc::new))
                .transpose()?;
            let complete = (flags & flag::HAS_COMPLETE != 0).then(|| reader.waypoint()).transpose()?;
            ServerMessage::Seam { backfill, n, page, complete }
        }
        _ => return Err(malformed("a server's binary message is a chunk (1), a seam (2) or a page (3)")),
    };
    reader.finish()?;
    Ok(message)
}

fn page(
    reader: &mut Reader<'_>,
    after: Position,
    through: Waypoint,
    shapes: &ServerDecoder,
) -> Result<Page, Malformed> {
    let count = reader.count()?;
    let relations = (0..count).map(|_| Ok(Arc::clone(shapes.relation(reader.number()?)?)));
    let relations: Arc<[Arc<Relation>]> = relations.collect::<Result<_, Malformed>>()?;
    let count = reader.count()?;
    let mut transactions = Vec::with_capacity(count.min(1_024));
    let (mut lsn, mut time) = (after.commit_lsn.0, through.committed_at.0);
    for _ in 0..count {
        lsn = lsn.wrapping_add(reader.number()?);
        let xid = Xid(reader.number()?);
        time = time.wrapping_add(reader.signed()?);
        let flags = reader.byte()?;
        let first = if flags & flag::LATER_PIECE == 0 { 0 } else { reader.small()? };
        let changes = (0..reader.count()?).map(|_| change(reader, &relations)).collect::<Result<_, _>>()?;
        transactions.push(Transaction {
            commit_lsn: Lsn(lsn),
            end_lsn: Lsn::ZERO,
            xid,
            committed_at: CommitTime(time),
            first,
            complete: flags & flag::GOES_ON == 0,
            changes,
        });
    }
    Ok(Page { after, through, relations, transactions })
}

fn change(reader: &mut Reader<'_>, relations: &[Arc<Relation>]) -> Result<Change, Malformed> {
    let head = reader.number()?;
    let index = usize::try_from(head >> operation::BITS).ok();
    let shape = index.and_then(|index| relations.get(index));
    let shape = shape.ok_or_else(|| malformed("a change of a shape that its page does not list"))?;
    let width = shape.columns.len();
    let key_width = || shape.columns.iter().filter(|column| column.key).count();
    let relation: RelationId = shape.id;
    Ok(match head & ((1 << operation::BITS) - 1) {
        operation::INSERT => Change::Insert { relation, row: row(reader, width)? },
        operation::UPDATE => Change::Update { relation, row: row(reader, width)? },
        operation::MOVE => Change::Move { relation, old_key: row(reader, key_width())?, row: row(reader, width)? },
        operation::DELETE => Change::Delete { relation, key: row(reader, key_width())? },
        operation::TRUNCATE => Change::Truncate { relation },
        _ => return Err(malformed("a change of an unknown operation")),
    })
}

fn row(reader: &mut Reader<'_>, width: usize) -> Result<Row, Malformed> {
    let mut row = RowBuilder::default();
    for _ in 0..width {
        row.push(match reader.number()? {
            value::NULL => Value::Null,
            value::UNCHANGED => Value::Unchanged,
            value::OMITTED => Value::Omitted(reader.small()?),
            text => Value::Text(reader.text(text - value::TEXT)?),
        });
    }
    Ok(row.finish())
}
