//! The tables that are shown, or those that are staged.

use super::names;
use super::shapes::Shapes;
use super::swap::replace;
use super::table::Table;
use super::trouble::Trouble;
use dormouse_core::change::{Change, Page, Relation};
use dormouse_core::row::Row;
use dormouse_core::store::merge;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tables by full name (`schema.table`).
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) are_staged: bool,
    pub(super) by_name: BTreeMap<String, Table>,
}

impl Tables {
    pub(super) fn load(connection: &Connection, shapes: &Shapes, are_staged: bool) -> Result<Self, Trouble> {
        let mut by_name = BTreeMap::new();
        let mut select = connection
            .prepare("select id, full_name, sql_name, shape, sum, rows, exact from dormouse_tables where staged = ?")?;
        let mut rows = select.query([are_staged])?;
        while let Some(row) = rows.next()? {
            let relation = shapes.get(row.get("shape")?)?;
            let sum: String = row.get("sum")?;
            let sum = u128::from_str_radix(&sum, 16);
            let sum = sum.map_err(|_| Trouble::Foreign("dormouse_tables holds what is no content sum".into()))?;
            let count = |name| row.get::<_, i64>(name).map(i64::cast_unsigned);
            let table = Table::new(row.get("id")?, row.get("sql_name")?, &relation);
            let table = Table { sum, rows: count("rows")?, exact: count("exact")?, is_dirty: false, ..table };
            by_name.insert(row.get("full_name")?, table);
        }
        Ok(Self { are_staged, by_name })
    }

    /// Writes down the counts of those that changed.
    pub(super) fn save(&mut self, connection: &Connection) -> Result<(), Trouble> {
        for table in self.by_name.values_mut().filter(|table| table.is_dirty) {
            let Table { id, sql_name, sum, rows, exact, .. } = &*table;
            let counts = (rows.cast_signed(), exact.cast_signed());
            connection
                .prepare_cached(
                    "update dormouse_tables set staged = ?, sql_name = ?, sum = ?, rows = ?, exact = ? where id = ?",
                )?
                .execute(params![self.are_staged, sql_name, format!("{sum:032x}"), counts.0, counts.1, id])?;
            table.is_dirty = false;
        }
        Ok(())
    }

    /// The wrapping sum of all rows' hashes.
    pub(super) fn sum(&self) -> u128 {
        self.by_name.values().fold(0, |sum, table| sum.wrapping_add(table.sum))
    }

    /// Makes sure of the table of this shape, which may be that of a message without rows.
    pub(super) fn of(
        &mut self,
        connection: &Connection,
        shapes: &mut Shapes,
        relation: &Arc<Relation>,
    ) -> Result<&mut Table, Trouble> {
        let name = relation.full_name();
        match self.by_name.get(&name) {
            Some(table) if table.shape.relation.id == relation.id => {}
            old => {
                shapes.remember(connection, relation)?;
                let table = match old {
                    None => self.create(connection, relation)?,
                    Some(old) => reshape(connection, shapes, old, relation, self.are_staged)?,
                };
                self.by_name.insert(name.clone(), table);
            }
        }
        self.by_name.get_mut(&name).ok_or_else(|| Trouble::Foreign(format!("{name} was not made")))
    }

    fn create(&self, connection: &Connection, relation: &Arc<Relation>) -> Result<Table, Trouble> {
        let mut table = register(connection, relation, self.are_staged)?;
        if !self.are_staged {
            table = table.renamed(names::table_name(connection, &relation.schema, &relation.name)?);
        }
        connection.execute_batch(&table.statements.create)?;
        Ok(table)
    }

    /// Inserts a row and returns how many anomalies that showed (0 or 1).
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        shapes: &mut Shapes,
        relation: &Arc<Relation>,
        row: &Row,
    ) -> Result<u64, Trouble> {
        let is_new = self.of(connection, shapes, relation)?.insert(connection, shapes, relation, row)?;
        Ok(u64::from(!is_new))
    }

    /// Carries out a page's changes and returns how many anomalies they showed.
    pub(super) fn play(&mut self, connection: &Connection, shapes: &mut Shapes, page: &Page) -> Result<u64, Trouble> {
        let mut anomalies = 0;
        for change in page.transactions.iter().flat_map(|transaction| transaction.changes.iter()) {
            anomalies += match page.relation(change.relation()) {
                Some(relation) => self.change(connection, shapes, relation, change)?,
                None => 1,
            };
        }
        Ok(anomalies)
    }

    /// Carries out one change and returns how many anomalies it showed: as the store in memory does.
    fn change(
        &mut self,
        connection: &Connection,
        shapes: &mut Shapes,
        relation: &Arc<Relation>,
        change: &Change,
    ) -> Result<u64, Trouble> {
        match change {
            Change::Insert { row, .. } => self.insert(connection, shapes, relation, row),
            Change::Update { row, .. } => {
                let table = self.of(connection, shapes, relation)?;
                let key = relation.key_of(row);
                let old = table.get(connection, shapes, &key)?;
                let row = merge(old.as_ref().map(|old| old.parts()), relation, row);
                table.put(connection, &key, old.as_ref(), relation, &row)?;
                Ok(u64::from(old.is_none()))
            }
            Change::Move { old_key, row, .. } => {
                let table = self.of(connection, shapes, relation)?;
                let old = table.remove(connection, shapes, old_key)?;
                let row = merge(old.as_ref().map(|old| old.parts()), relation, row);
                let is_new = table.insert(connection, shapes, relation, &row)?;
                Ok(u64::from(old.is_none()) + u64::from(!is_new))
            }
            // A table that is emptied, or of which a row goes, keeps its shape: no row comes with a new one.
            Change::Delete { key, .. } => {
                let Some(table) = self.by_name.get_mut(&relation.full_name()) else { return Ok(1) };
                Ok(u64::from(table.remove(connection, shapes, key)?.is_none()))
            }
            Change::Truncate { .. } => {
                if let Some(table) = self.by_name.get_mut(&relation.full_name()) {
                    table.clear(connection)?;
                }
                Ok(0)
            }
        }
    }

    /// Drops all of them.
    pub(super) fn drop_all(&mut self, connection: &Connection) -> Result<(), Trouble> {
        for table in std::mem::take(&mut self.by_name).into_values() {
            connection.execute_batch(&format!("drop table {}", names::quoted(&table.sql_name)))?;
            forget(connection, &table)?;
        }
        Ok(())
    }
}

/// A new table in our own list, under a name of its own until it is shown.
fn register(connection: &Connection, relation: &Arc<Relation>, staged: bool) -> Result<Table, Trouble> {
    connection
        .prepare_cached(
            "insert into dormouse_tables (staged, full_name, sql_name, shape, sum, rows, exact)
             values (?, ?, '', ?, '0', 0, 0)",
        )?
        .execute(params![staged, relation.full_name(), Shapes::key(relation.id)])?;
    let id = connection.last_insert_rowid();
    Ok(Table::new(id, format!("dormouse_staging_{id}"), relation))
}

/// Takes a table and all that is beside it out of our own lists.
pub(super) fn forget(connection: &Connection, table: &Table) -> Result<(), Trouble> {
    connection.execute("delete from dormouse_exact where tbl = ?", [table.id])?;
    connection.execute("delete from dormouse_tables where id = ?", [table.id])?;
    Ok(())
}

/// Gives a table the columns of a new shape. Its rows stay what they were, under the shape in which they came, until they are
/// written again; the new columns show of them what is known.
fn reshape(
    connection: &Connection,
    shapes: &Shapes,
    old: &Table,
    relation: &Arc<Relation>,
    staged: bool,
) -> Result<Table, Trouble> {
    let mut new = register(connection, relation, staged)?;
    connection.execute_batch(&new.statements.create)?;
    old.each(connection, shapes, |key, stored| new.put(connection, &key, None, &stored.relation, &stored.row))?;
    forget(connection, old)?;
    replace(connection, &old.sql_name, &new.sql_name)?;
    Ok(new.renamed(old.sql_name.clone()))
}
