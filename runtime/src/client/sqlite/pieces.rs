//! Pieces of a large transaction wait in the file, not in memory, until its last piece is there.

use super::trouble::Trouble;
use dormouse_core::change::Page;
use dormouse_core::wire::ServerMessage;
use dormouse_core::wire::json::{ServerDecoder, encode_server};
use rusqlite::{Connection, params};
use std::sync::Arc;

/// Adds the next piece: its shapes and itself, as the protocol writes them, one to a line.
pub(super) fn push(connection: &Connection, page: &Arc<Page>) -> Result<(), Trouble> {
    let shapes = page.relations.iter().cloned().map(ServerMessage::Schema);
    let lines: Vec<_> =
        shapes.chain([ServerMessage::Page(Arc::clone(page))]).map(|message| encode_server(&message)).collect();
    let through = serde_json::to_string(&page.through).expect("a place is plain data");
    connection
        .prepare_cached("insert into dormouse_pieces (through, page) values (?, ?)")?
        .execute(params![through, lines.join("\n")])?;
    Ok(())
}

/// Looks at all pieces in order, one at a time.
pub(super) fn each(
    connection: &Connection,
    mut look: impl FnMut(Arc<Page>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut last = 0;
    // A statement that is still open would keep a table from being dropped meanwhile.
    while let Some((n, page)) = after(connection, last)? {
        look(page)?;
        last = n;
    }
    Ok(())
}

fn after(connection: &Connection, last: i64) -> Result<Option<(i64, Arc<Page>)>, Trouble> {
    let mut select = connection.prepare_cached("select n, page from dormouse_pieces where n > ? order by n limit 1")?;
    let mut rows = select.query([last])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let text = row.get_ref(1)?.as_str().map_err(|_| broken())?;
    let mut decoder = ServerDecoder::default();
    let mut message = None;
    for line in text.lines() {
        message = Some(decoder.decode(line).map_err(|_| broken())?);
    }
    let Some(ServerMessage::Page(page)) = message else { return Err(broken()) };
    Ok(Some((row.get(0)?, page)))
}

fn broken() -> Trouble {
    Trouble::Foreign("dormouse_pieces holds what is no piece".into())
}

/// Takes all pieces out.
pub(super) fn clear(connection: &Connection) -> Result<(), Trouble> {
    connection.execute("delete from dormouse_pieces", [])?;
    Ok(())
}
