//! The rows of one table: in columns, and beside them whatever columns cannot hold.
//!
//! A row is *plain* when the table's columns give back exactly what came. Any other row (with a value that was left out or
//! is not known, or of an older shape) has its exact values in `dormouse_exact` as well, under its key; the table then shows
//! the nearest. A row whose key the columns cannot hold stands in `dormouse_exact` alone.

use super::shape::{Shape, Statements};
use super::shapes::Shapes;
use super::trouble::Trouble;
use bytes::Bytes;
use dormouse_core::change::Relation;
use dormouse_core::row::Row;
use dormouse_core::sum::row_hash;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params, params_from_iter};
use std::sync::Arc;

/// A table with its counts. The counts are those of the open transaction; they are written down at its end.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Names it in our own tables; never used again.
    pub(super) id: i64,
    /// What SQLite calls it.
    pub(super) sql_name: String,
    pub(super) shape: Shape,
    pub(super) statements: Statements,
    pub(super) sum: u128,
    pub(super) rows: u64,
    /// How many rows stand in `dormouse_exact`.
    pub(super) exact: u64,
    /// Whether the counts differ from what is written down.
    pub(super) is_dirty: bool,
}

/// A row that is held.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) relation: Arc<Relation>,
    pub(super) row: Row,
    hash: u128,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the table.
    Plain,
    /// In the table as far as it can be shown, and exactly beside it.
    Both,
    /// Beside it alone.
    Beside,
}

impl Stored {
    pub(super) fn parts(&self) -> (&Relation, &Row) {
        (&self.relation, &self.row)
    }
}

impl Table {
    /// A table without rows, which does not exist in SQLite yet.
    pub(super) fn new(id: i64, sql_name: String, relation: &Arc<Relation>) -> Self {
        let shape = Shape::of(relation);
        let statements = Statements::new(&sql_name, &shape);
        Self { id, sql_name, shape, statements, sum: 0, rows: 0, exact: 0, is_dirty: true }
    }

    /// The same table under another name.
    pub(super) fn renamed(self, sql_name: String) -> Self {
        let statements = Statements::new(&sql_name, &self.shape);
        Self { sql_name, statements, is_dirty: true, ..self }
    }

    /// The row of this key.
    pub(super) fn get(&self, connection: &Connection, shapes: &Shapes, key: &Row) -> Result<Option<Stored>, Trouble> {
        if let Some(stored) = self.exact(connection, shapes, key)? {
            return Ok(Some(stored));
        }
        let Some(cells) = self.shape.key_cells(key) else { return Ok(None) };
        let mut find = connection.prepare_cached(&self.statements.find)?;
        let mut found = find.query(params_from_iter(cells))?;
        let Some(row) = found.next()? else { return Ok(None) };
        Ok(Some(self.plain(self.shape.row(row)?)))
    }

    fn plain(&self, row: Row) -> Stored {
        let relation = Arc::clone(&self.shape.relation);
        Stored { hash: row_hash(&relation, &row), relation, row, place: Place::Plain }
    }

    fn exact(&self, connection: &Connection, shapes: &Shapes, key: &Row) -> Result<Option<Stored>, Trouble> {
        if self.exact == 0 {
            return Ok(None);
        }
        let mut find =
            connection.prepare_cached("select shape, row, shown from dormouse_exact where tbl = ? and key = ?")?;
        let found = find.query_row(params![self.id, &key.bytes()[..]], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, bool>(2)?))
        });
        let Some((shape, row, shown)) = found.optional()? else { return Ok(None) };
        let relation = shapes.get(shape)?;
        let row = Row::parse(Bytes::from(row)).map_err(|why| Trouble::Foreign(format!("dormouse_exact: {why}")))?;
        let place = if shown { Place::Both } else { Place::Beside };
        Ok(Some(Stored { hash: row_hash(&relation, &row), relation, row, place }))
    }

    /// Puts a row in; true when there was none of this key.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        shapes: &Shapes,
        relation: &Arc<Relation>,
        row: &Row,
    ) -> Result<bool, Trouble> {
        let key = relation.key_of(row);
        // Mostly there is none: SQLite finds out by inserting, unless the row could be one that stands beside the table.
        if self.exact == 0 && relation.id == self.shape.relation.id {
            let (cells, is_exact) = self.shape.cells(row);
            if is_exact && self.shape.key_cells(&key).is_some() {
                match connection.prepare_cached(&self.statements.insert)?.execute(params_from_iter(cells)) {
                    Ok(_) => {
                        self.count_in(row_hash(relation, row));
                        return Ok(true);
                    }
                    Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let old = self.get(connection, shapes, &key)?;
        self.put(connection, &key, old.as_ref(), relation, row)?;
        Ok(old.is_none())
    }

    /// Writes a row over the one that was found under its key, or where there was none.
    pub(super) fn put(
        &mut self,
        connection: &Connection,
        key: &Row,
        old: Option<&Stored>,
        relation: &Arc<Relation>,
        row: &Row,
    ) -> Result<(), Trouble> {
        let is_own_shape = relation.id == self.shape.relation.id;
        let (cells, is_exact) =
            if is_own_shape { self.shape.cells(row) } else { (self.shape.cells_of_other(relation, row), false) };
        let can_stand = self.shape.same_key(relation) && self.shape.key_cells(key).is_some();
        let stands = old.is_some_and(|old| old.place != Place::Beside);
        if stands {
            if let Some(update) = &self.statements.update {
                connection.prepare_cached(update)?.execute(params_from_iter(self.shape.for_update(&cells)))?;
            }
        } else if can_stand {
            connection.prepare_cached(&self.statements.insert)?.execute(params_from_iter(cells))?;
        }
        let was_beside = old.is_some_and(|old| old.place != Place::Plain);
        if !(is_exact && can_stand) {
            connection
                .prepare_cached(
                    "insert or replace into dormouse_exact (tbl, key, shape, row, shown) values (?, ?, ?, ?, ?)",
                )?
                .execute(params![self.id, &key.bytes()[..], Shapes::key(relation.id), &row.bytes()[..], can_stand])?;
            self.exact += u64::from(!was_beside);
        } else if was_beside {
            self.remove_beside(connection, key)?;
        }
        if let Some(old) = old {
            self.count_out(old.hash);
        }
        self.count_in(row_hash(relation, row));
        Ok(())
    }

    /// Takes the row of this key out.
    pub(super) fn remove(
        &mut self,
        connection: &Connection,
        shapes: &Shapes,
        key: &Row,
    ) -> Result<Option<Stored>, Trouble> {
        let Some(old) = self.get(connection, shapes, key)? else { return Ok(None) };
        if old.place != Place::Beside
            && let Some(cells) = self.shape.key_cells(key)
        {
            connection.prepare_cached(&self.statements.delete)?.execute(params_from_iter(cells))?;
        }
        if old.place != Place::Plain {
            self.remove_beside(connection, key)?;
        }
        self.count_out(old.hash);
        Ok(Some(old))
    }

    fn remove_beside(&mut self, connection: &Connection, key: &Row) -> Result<(), Trouble> {
        let removed = connection
            .prepare_cached("delete from dormouse_exact where tbl = ? and key = ?")?
            .execute(params![self.id, &key.bytes()[..]])?;
        self.exact = self.exact.saturating_sub(removed as u64);
        Ok(())
    }

    /// Takes all rows out.
    pub(super) fn clear(&mut self, connection: &Connection) -> Result<(), Trouble> {
        connection.execute(&format!("delete from {}", super::names::quoted(&self.sql_name)), [])?;
        connection.execute("delete from dormouse_exact where tbl = ?", [self.id])?;
        (self.sum, self.rows, self.exact, self.is_dirty) = (0, 0, 0, true);
        Ok(())
    }

    /// Looks at every row, with its key.
    pub(super) fn each(
        &self,
        connection: &Connection,
        shapes: &Shapes,
        mut look: impl FnMut(Row, Stored) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut scan = connection.prepare(&self.statements.scan)?;
        let mut rows = scan.query([])?;
        while let Some(row) = rows.next()? {
            let key = self.shape.key(row)?;
            let stored = match self.exact(connection, shapes, &key)? {
                Some(stored) => stored,
                None => self.plain(self.shape.row(row)?),
            };
            look(key, stored)?;
        }
        let mut hidden = connection.prepare("select key from dormouse_exact where tbl = ? and not shown")?;
        let mut keys = hidden.query([self.id])?;
        while let Some(key) = keys.next()? {
            let key = Row::parse(Bytes::from(key.get::<_, Vec<u8>>(0)?));
            let key = key.map_err(|why| Trouble::Foreign(format!("dormouse_exact: {why}")))?;
            if let Some(stored) = self.exact(connection, shapes, &key)? {
                look(key, stored)?;
            }
        }
        Ok(())
    }

    fn count_in(&mut self, hash: u128) {
        self.sum = self.sum.wrapping_add(hash);
        self.rows += 1;
        self.is_dirty = true;
    }

    fn count_out(&mut self, hash: u128) {
        self.sum = self.sum.wrapping_sub(hash);
        self.rows = self.rows.saturating_sub(1);
        self.is_dirty = true;
    }
}

impl Stored {
    /// Whether the table's columns hold all of it.
    pub(super) fn is_plain(&self) -> bool {
        self.place == Place::Plain
    }

    /// Its part of the content sum.
    pub(super) const fn hash(&self) -> u128 {
        self.hash
    }
}
