//! Messages to bytes.

use super::write::Writer;
use super::{flag, kind, operation, value};
use crate::change::{Change, Chunk, Column, Page, Relation, Transaction};
use crate::position::{CommitTime, Lsn};
use crate::row::{Row, Value};
use crate::session::BackfillId;
use crate::wire::{ClientMessage, ServerMessage};
use std::sync::Arc;

/// A server's message, when it is one that travels in binary.
#[must_use]
pub fn encode_server(message: &ServerMessage) -> Option<Vec<u8>> {
    match message {
        ServerMessage::Page(page) => {
            let mut out = Writer::with_capacity(page.weight());
            out.byte(kind::PAGE);
            out.position(page.after);
            out.waypoint(&page.through);
            push_transactions(&mut out, page, page.after.commit_lsn, page.through.committed_at);
            Some(out.bytes)
        }
        ServerMessage::Chunk { backfill, n, of, chunk } => {
            let mut out = chunk_head(*backfill, *n, *of);
            out.extend_from_slice(&chunk_body(chunk));
            Some(out)
        }
        ServerMessage::Seam { backfill, n, page, complete } => {
            let mut out = Writer::with_capacity(page.as_ref().map_or(0, |page| page.weight()) + 64);
            out.byte(kind::SEAM);
            out.number(backfill.0);
            out.number(u64::from(*n));
            let has = |is, flag| if is { flag } else { 0 };
            out.byte(has(page.is_some(), flag::HAS_PAGE) | has(complete.is_some(), flag::HAS_COMPLETE));
            if let Some(page) = page {
                push_transactions(&mut out, page, Lsn::ZERO, CommitTime(0)); // Where its page stands is not told.
            }
            if let Some(complete) = complete {
                out.waypoint(complete);
            }
            Some(out.bytes)
        }
        ServerMessage::Welcome { .. }
        | ServerMessage::Credential { .. }
        | ServerMessage::Schema(_)
        | ServerMessage::Live
        | ServerMessage::Resync { .. }
        | ServerMessage::Fault(_) => None,
    }
}

/// A client's message, when it is one that travels in binary.
#[must_use]
pub fn encode_client(message: &ClientMessage) -> Option<Vec<u8>> {
    let mut out = Writer::default();
    match message {
        ClientMessage::Ack { through } => {
            out.byte(kind::ACK);
            out.waypoint(through);
        }
        ClientMessage::Staged { backfill, n } => {
            out.byte(kind::STAGED);
            out.number(backfill.0);
            out.number(u64::from(*n));
        }
        ClientMessage::Hello(_) | ClientMessage::Bye | ClientMessage::Credential(_) => return None,
    }
    Some(out.bytes)
}

/// What begins a chunk's message: the part that differs between the sessions that are sent the chunk.
#[must_use]
pub fn chunk_head(backfill: BackfillId, n: u32, of: u64) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(kind::CHUNK);
    out.number(backfill.0);
    out.number(u64::from(n));
    out.number(of);
    out.bytes
}

/// The rest of a chunk's message, the same for all sessions.
#[must_use]
pub fn chunk_body(chunk: &Chunk) -> Vec<u8> {
    let mut out = Writer::with_capacity(chunk.rows.iter().map(|row| row.bytes().len()).sum::<usize>() + 16);
    out.number(chunk.relation.id.0);
    out.number(chunk.rows.len() as u64);
    chunk.rows.iter().for_each(|row| push_row(&mut out, row, chunk.relation.columns.iter()));
    out.bytes
}

fn push_transactions(out: &mut Writer, page: &Page, after: Lsn, through: CommitTime) {
    out.number(page.relations.len() as u64);
    page.relations.iter().for_each(|relation| out.number(relation.id.0));
    out.number(page.transactions.len() as u64);
    let (mut lsn, mut time) = (after.0, through.0);
    for transaction in &page.transactions {
        let Transaction { commit_lsn, xid, committed_at, first, complete, changes, .. } = transaction;
        out.number(commit_lsn.0.wrapping_sub(lsn));
        out.number(xid.0);
        out.signed(committed_at.0.wrapping_sub(time));
        (lsn, time) = (commit_lsn.0, committed_at.0);
        out.byte(if *first > 0 { flag::LATER_PIECE } else { 0 } | if *complete { 0 } else { flag::GOES_ON });
        if *first > 0 {
            out.number(u64::from(*first));
        }
        out.number(changes.len() as u64);
        changes.iter().for_each(|change| push_change(out, change, &page.relations));
    }
}

fn push_change(out: &mut Writer, change: &Change, relations: &[Arc<Relation>]) {
    let index = relations.iter().position(|relation| relation.id == change.relation());
    let index = index.expect("a page carries the shapes that its changes refer to");
    let columns = &relations[index].columns;
    let keys = || columns.iter().filter(|column| column.key);
    let head = |out: &mut Writer, operation| out.number((index as u64) << operation::BITS | operation);
    match change {
        Change::Insert { row, .. } => {
            head(out, operation::INSERT);
            push_row(out, row, columns.iter());
        }
        Change::Update { row, .. } => {
            head(out, operation::UPDATE);
            push_row(out, row, columns.iter());
        }
        Change::Move { old_key, row, .. } => {
            head(out, operation::MOVE);
            push_row(out, old_key, keys());
            push_row(out, row, columns.iter());
        }
        Change::Delete { key, .. } => {
            head(out, operation::DELETE);
            push_row(out, key, keys());
        }
        Change::Truncate { .. } => head(out, operation::TRUNCATE),
    }
}

/// A value for each column, so that a row that is too short could not shift what follows.
fn push_row<'a>(out: &mut Writer, row: &Row, columns: impl Iterator<Item = &'a Column>) {
    let mut values = row.values();
    for _ in columns {
        match values.next().unwrap_or(Value::Null) {
            Value::Null => out.number(value::NULL),
            Value::Unchanged => out.number(value::UNCHANGED),
            Value::Omitted(size) => {
                out.number(value::OMITTED);
                out.number(u64::from(size));
            }
            Value::Text(text) => {
                out.number(text.len() as u64 + value::TEXT);
                out.bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
}
