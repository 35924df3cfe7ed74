//! The requests of a client, each within one transaction of SQLite: the same as the store in memory does.

use super::pieces;
use super::state::State;
use super::swap::show_staged;
use super::trouble::Trouble;
use dormouse_core::change::{Chunk, Page, Scope};
use dormouse_core::position::Waypoint;
use dormouse_core::session::BackfillId;
use dormouse_core::store::StoreRequest;
use rusqlite::Connection;
use std::sync::Arc;

pub(super) fn apply(state: &mut State, connection: &Connection, request: &StoreRequest) -> Result<(), Trouble> {
    match request {
        StoreRequest::ApplyPage { page } => apply_page(state, connection, page),
        StoreRequest::StageChunk { backfill, n, chunk } => stage_chunk(state, connection, *backfill, *n, chunk),
        StoreRequest::StageSeam { backfill, n, page, complete } => {
            stage_seam(state, connection, *backfill, *n, page.as_deref(), *complete)
        }
        StoreRequest::ReadHeld => Ok(()),
    }
}

/// Notes what the replica shall hold. If that was another scope, everything must come again; what is shown stays until then.
pub(super) fn widen(state: &mut State, connection: &Connection, scope: &Scope) -> Result<(), Trouble> {
    if state.scope.as_ref() != Some(scope) {
        state.scope = Some(scope.clone());
        state.shown = None;
        state.backfill = None;
        state.staging.drop_all(connection)?;
        forget_pieces(state, connection)?;
    }
    Ok(())
}

fn apply_page(state: &mut State, connection: &Connection, page: &Arc<Page>) -> Result<(), Trouble> {
    let first = page.transactions.first();
    if first.is_none_or(|transaction| transaction.first == 0) {
        forget_pieces(state, connection)?;
    }
    if first.is_some_and(|transaction| !transaction.complete) {
        pieces::push(connection, page)?;
        state.pieces = Some(page.through);
        return Ok(());
    }
    if state.pieces.is_some() {
        pieces::each(connection, |piece| {
            state.anomalies += state.tables.play(connection, &mut state.shapes, &piece)?;
            Ok(())
        })?;
        forget_pieces(state, connection)?;
    }
    state.anomalies += state.tables.play(connection, &mut state.shapes, page)?;
    state.shown = Some(page.through);
    Ok(())
}

fn forget_pieces(state: &mut State, connection: &Connection) -> Result<(), Trouble> {
    if state.pieces.take().is_some() {
        pieces::clear(connection)?;
    }
    Ok(())
}

fn stage_chunk(
    state: &mut State,
    connection: &Connection,
    backfill: BackfillId,
    n: u32,
    chunk: &Chunk,
) -> Result<(), Trouble> {
    if !expect(state, connection, backfill, n)? {
        return Ok(());
    }
    state.staging.of(connection, &mut state.shapes, &chunk.relation)?;
    for row in &chunk.rows {
        state.anomalies += state.staging.insert(connection, &mut state.shapes, &chunk.relation, row)?;
    }
    Ok(())
}

fn stage_seam(
    state: &mut State,
    connection: &Connection,
    backfill: BackfillId,
    n: u32,
    page: Option<&Page>,
    complete: Option<Waypoint>,
) -> Result<(), Trouble> {
    if !expect(state, connection, backfill, n)? {
        return Ok(());
    }
    if let Some(page) = page {
        state.anomalies += state.staging.play(connection, &mut state.shapes, page)?;
    }
    if complete.is_some() {
        show_staged(connection, state)?;
        forget_pieces(state, connection)?;
        state.backfill = None;
        state.shown = complete;
    }
    Ok(())
}

/// Whether message `n` of a backfill is the next one. If not, that is an anomaly, and nothing is done with it.
fn expect(state: &mut State, connection: &Connection, backfill: BackfillId, n: u32) -> Result<bool, Trouble> {
    if n == 0 {
        state.staging.drop_all(connection)?;
        state.backfill = Some((backfill, 0));
    }
    if state.backfill != Some((backfill, n)) {
        state.anomalies += 1;
        return Ok(false);
    }
    state.backfill = Some((backfill, n + 1));
    Ok(true)
}
