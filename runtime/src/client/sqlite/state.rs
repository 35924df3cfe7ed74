//! What a store knows of itself: its own tables, and what of them is kept at hand.

use super::shapes::Shapes;
use super::tables::Tables;
use super::trouble::Trouble;
use dormouse_core::change::Scope;
use dormouse_core::position::{CommitTime, SchemaVersion, Waypoint};
use dormouse_core::session::BackfillId;
use dormouse_core::store::Held;
use dormouse_core::xid::Xid;
use rusqlite::{Connection, OptionalExtension, params};
use std::str::FromStr;

/// Names a file as ours: `DrMs`.
pub(super) const APPLICATION_ID: i32 = 0x4472_4d73;
/// The layout below.
pub(super) const FORMAT: i32 = 1;

/// Our own tables. `dormouse_state` is meant to be read by applications, too.
pub(super) const LAYOUT: &str = "
    -- Where the rows stand: one row. `sum` is the content sum in hexadecimal digits.
    create table dormouse_state (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
        client_id TEXT, scope TEXT, era TEXT, position TEXT, xid INTEGER, committed_at_us INTEGER, schema INTEGER,
        sum TEXT NOT NULL, anomalies INTEGER NOT NULL, backfill TEXT, backfill_next INTEGER);
    insert into dormouse_state (only_one, sum, anomalies) values (1, '00000000000000000000000000000000', 0);
    -- What each published table is called here, for ever.
    create table dormouse_names (full_name TEXT PRIMARY KEY, sql_name TEXT NOT NULL) WITHOUT ROWID;
    -- Which tables there are, shown or staged, with their counts.
    create table dormouse_tables (
        id INTEGER PRIMARY KEY AUTOINCREMENT, staged INTEGER NOT NULL, full_name TEXT NOT NULL, sql_name TEXT NOT NULL,
        shape INTEGER NOT NULL, sum TEXT NOT NULL, rows INTEGER NOT NULL, exact INTEGER NOT NULL);
    -- The shapes in which rows came, as the protocol writes them.
    create table dormouse_shapes (id INTEGER PRIMARY KEY, relation TEXT NOT NULL);
    -- Rows that a table's columns cannot hold exactly; `shown` when the nearest stands in the table.
    create table dormouse_exact (
        tbl INTEGER NOT NULL, key BLOB NOT NULL, shape INTEGER NOT NULL, row BLOB NOT NULL, shown INTEGER NOT NULL,
        PRIMARY KEY (tbl, key)) WITHOUT ROWID;
    -- Pieces of a large transaction that is not complete, as the protocol writes them.
    create table dormouse_pieces (n INTEGER PRIMARY KEY, through TEXT NOT NULL, page TEXT NOT NULL);";

/// What is held, as it stands in the open transaction.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) client_id: Option<String>,
    pub(super) scope: Option<Scope>,
    pub(super) shown: Option<Waypoint>,
    /// Where staged pieces reach, if there are any.
    pub(super) pieces: Option<Waypoint>,
    pub(super) anomalies: u64,
    /// The backfill that is staged, and the number of its next message.
    pub(super) backfill: Option<(BackfillId, u32)>,
    pub(super) tables: Tables,
    pub(super) staging: Tables,
    pub(super) shapes: Shapes,
}

impl State {
    pub(super) fn held(&self) -> Held {
        let staged = self.pieces.or(self.shown);
        Held { shown: self.shown, staged, sum: self.tables.sum(), anomalies: self.anomalies }
    }

    pub(super) fn load(connection: &Connection) -> Result<Self, Trouble> {
        let shapes = Shapes::load(connection)?;
        let pieces: Option<String> = connection
            .query_row("select through from dormouse_pieces order by n desc limit 1", [], |row| row.get(0))
            .optional()?;
        let pieces = pieces.map(|text| serde_json::from_str(&text)).transpose();
        let mut select = connection.prepare("select * from dormouse_state")?;
        let mut rows = select.query([])?;
        let row = rows.next()?.ok_or_else(|| Trouble::Foreign("dormouse_state is empty".into()))?;
        let scope: Option<String> = row.get("scope")?;
        let scope = scope.map(|scope| serde_json::from_str(&scope)).transpose();
        let backfill: Option<String> = row.get("backfill")?;
        let backfill = backfill.map(|id| parse(&id)).transpose()?;
        let next: Option<u32> = row.get("backfill_next")?;
        Ok(Self {
            client_id: row.get("client_id")?,
            scope: scope.map_err(|_| Trouble::Foreign("dormouse_state holds what is no scope".into()))?,
            shown: waypoint(row)?,
            pieces: pieces.map_err(|_| Trouble::Foreign("dormouse_pieces holds what is no place".into()))?,
            anomalies: row.get::<_, i64>("anomalies")?.cast_unsigned(),
            backfill: backfill.map(BackfillId).zip(next),
            tables: Tables::load(connection, &shapes, false)?,
            staging: Tables::load(connection, &shapes, true)?,
            shapes,
        })
    }

    /// Writes down what the open transaction made of it.
    pub(super) fn save(&mut self, connection: &Connection) -> Result<(), Trouble> {
        self.tables.save(connection)?;
        self.staging.save(connection)?;
        let at = self.shown;
        let sum = format!("{:032x}", self.tables.sum());
        connection
            .prepare_cached(
                "update dormouse_state set client_id = ?, scope = ?, era = ?, position = ?, xid = ?, committed_at_us = ?, schema = ?,
                     sum = ?, anomalies = ?, backfill = ?, backfill_next = ?",
            )?
            .execute(params![
                self.client_id,
                self.scope.as_ref().map(|scope| serde_json::to_string(scope).expect("a scope is plain data")),
                at.map(|at| at.era.to_string()),
                at.map(|at| at.position.to_string()),
                at.map(|at| at.xid.0.cast_signed()),
                at.map(|at| at.committed_at.0),
                at.map(|at| i64::from(at.schema.0)),
                sum,
                self.anomalies.cast_signed(),
                self.backfill.map(|(id, _)| id.0.to_string()),
                self.backfill.map(|(_, next)| next),
            ])?;
        Ok(())
    }
}

fn waypoint(row: &rusqlite::Row<'_>) -> Result<Option<Waypoint>, Trouble> {
    let Some(era) = row.get::<_, Option<String>>("era")? else { return Ok(None) };
    let position: String = row.get("position")?;
    Ok(Some(Waypoint {
        era: parse(&era)?,
        schema: SchemaVersion(row.get("schema")?),
        position: parse(&position)?,
        xid: Xid(row.get::<_, i64>("xid")?.cast_unsigned()),
        committed_at: CommitTime(row.get("committed_at_us")?),
    }))
}

fn parse<T: FromStr>(text: &str) -> Result<T, Trouble> {
    text.parse().map_err(|_| Trouble::Foreign(format!("dormouse_state holds {text:?}, which is no place")))
}
