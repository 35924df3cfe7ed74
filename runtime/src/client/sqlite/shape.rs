//! One shape of a table as a table of SQLite: its columns, and the statements on it.

use super::names::{quoted, unique};
use super::trouble::Trouble;
use super::value::{Kind, decode, encode};
use dormouse_core::change::Relation;
use dormouse_core::row::{Row, RowBuilder, Value};
use rusqlite::types::ToSqlOutput;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How one shape is laid out in columns.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) relation: Arc<Relation>,
    kinds: Vec<Kind>,
    /// SQLite takes names that differ only in the case of ASCII letters for the same: later ones get `~2`, `~3`, ….
    names: Vec<String>,
    /// Which columns are the key.
    keys: Vec<usize>,
}

impl Shape {
    pub(super) fn of(relation: &Arc<Relation>) -> Self {
        let mut taken = BTreeSet::new();
        let names = relation.columns.iter().map(|column| {
            let name = unique(&column.name, |name| taken.contains(&name.to_ascii_lowercase()));
            taken.insert(name.to_ascii_lowercase());
            name
        });
        Self {
            names: names.collect(),
            kinds: relation.columns.iter().map(|column| Kind::of(column.type_oid)).collect(),
            keys: (0..relation.columns.len()).filter(|n| relation.columns[*n].key).collect(),
            relation: Arc::clone(relation),
        }
    }

    /// Whether rows of another shape have the same key columns, in the same order.
    pub(super) fn same_key(&self, other: &Relation) -> bool {
        let names = |relation: &Relation| -> Vec<String> {
            relation.columns.iter().filter(|column| column.key).map(|column| column.name.clone()).collect()
        };
        names(&self.relation) == names(other)
    }

    /// The key's values as SQLite keeps them. `None` when no row of this key can stand in the table.
    pub(super) fn key_cells<'a>(&self, key: &'a Row) -> Option<Vec<ToSqlOutput<'a>>> {
        let mut values = key.values();
        let cells: Option<Vec<_>> = self.keys.iter().map(|n| key_cell(self.kinds[*n], values.next()?)).collect();
        cells.filter(|cells| !cells.is_empty() && values.next().is_none())
    }

    /// All values of a row of this shape as SQLite keeps them, and whether they come back exactly.
    pub(super) fn cells<'a>(&self, row: &'a Row) -> (Vec<ToSqlOutput<'a>>, bool) {
        let mut exact = true;
        let cells = self.kinds.iter().zip(row.values()).map(|(kind, value)| {
            encode(*kind, value).unwrap_or_else(|| {
                exact = false;
                super::value::nearest(value)
            })
        });
        (cells.collect(), exact)
    }

    /// The values of a row of another shape, by column name, as far as they are known.
    pub(super) fn cells_of_other<'a>(&self, other: &Relation, row: &'a Row) -> Vec<ToSqlOutput<'a>> {
        let value_of = |name: &str| {
            let mut values = other.columns.iter().zip(row.values());
            values.find(|(column, _)| column.name == name).map_or(Value::Null, |(_, value)| value)
        };
        let columns = self.relation.columns.iter().zip(&self.kinds);
        columns
            .map(|(column, kind)| {
                let value = value_of(&column.name);
                encode(*kind, value).unwrap_or_else(|| super::value::nearest(value))
            })
            .collect()
    }

    /// A row as it came, from one that SQLite gives with all columns in order.
    pub(super) fn row(&self, from: &rusqlite::Row<'_>) -> Result<Row, Trouble> {
        let mut row = RowBuilder::default();
        let mut scratch = String::new();
        for (n, kind) in self.kinds.iter().enumerate() {
            if !decode(*kind, from.get_ref(n)?, &mut row, &mut scratch) {
                let (table, column) = (self.relation.full_name(), &self.names[n]);
                return Err(Trouble::Foreign(format!("{table}, column {column}, holds what Dormouse did not write")));
            }
        }
        Ok(row.finish())
    }

    /// The key alone of a row that SQLite gives with all columns in order.
    pub(super) fn key(&self, from: &rusqlite::Row<'_>) -> Result<Row, Trouble> {
        let mut key = RowBuilder::default();
        let mut scratch = String::new();
        for n in &self.keys {
            if !decode(self.kinds[*n], from.get_ref(*n)?, &mut key, &mut scratch) {
                let table = self.relation.full_name();
                return Err(Trouble::Foreign(format!("a key of {table} holds what Dormouse did not write")));
            }
        }
        Ok(key.finish())
    }

    /// Splits the cells of a row into those that are no key, and the key: as [`Statements::update`] takes them.
    pub(super) fn for_update<'a, 'b>(&self, cells: &'b [ToSqlOutput<'a>]) -> impl Iterator<Item = &'b ToSqlOutput<'a>> {
        let others = (0..cells.len()).filter(|n| !self.keys.contains(n));
        others.chain(self.keys.iter().copied()).map(|n| &cells[n])
    }
}

fn key_cell(kind: Kind, value: Value<'_>) -> Option<ToSqlOutput<'_>> {
    if value == Value::Null { None } else { encode(kind, value) }
}

/// The statements on one table.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    pub(super) create: String,
    pub(super) scan: String,
    pub(super) find: String,
    pub(super) insert: String,
    /// Takes the columns that are no key, then the key. `None` when all are key.
    pub(super) update: Option<String>,
    pub(super) delete: String,
}

impl Statements {
    pub(super) fn new(table: &str, shape: &Shape) -> Self {
        let table = quoted(table);
        let names: Vec<_> = shape.names.iter().map(|name| quoted(name)).collect();
        let all = names.join(", ");
        let keys: Vec<_> = shape.keys.iter().map(|n| format!("{} = ?", names[*n])).collect();
        let key = if keys.is_empty() { "false".to_owned() } else { keys.join(" and ") };
        let others: Vec<_> =
            (0..names.len()).filter(|n| !shape.keys.contains(n)).map(|n| format!("{} = ?", names[n])).collect();
        let places = vec!["?"; names.len()].join(", ");
        Self {
            create: create(&table, &names, shape),
            scan: format!("select {all} from {table}"),
            find: format!("select {all} from {table} where {key}"),
            insert: format!("insert into {table} ({all}) values ({places})"),
            update: (!others.is_empty()).then(|| format!("update {table} set {} where {key}", others.join(", "))),
            delete: format!("delete from {table} where {key}"),
        }
    }
}

/// One whole number as the key is the rowid. Otherwise the key's index is the table where rows are short, and stands beside
/// it where they may be long.
fn create(table: &str, names: &[String], shape: &Shape) -> String {
    let is_rowid = matches!(&shape.keys[..], [only] if shape.kinds[*only] == Kind::Int);
    let columns = names.iter().enumerate().map(|(n, name)| {
        let declared = shape.kinds[n].declared();
        match shape.keys.contains(&n) {
            true if is_rowid => format!("{name} INTEGER PRIMARY KEY"),
            true => format!("{name} {declared} NOT NULL"),
            false => format!("{name} {declared}"),
        }
    });
    let mut parts: Vec<_> = columns.collect();
    if parts.is_empty() {
        parts.push("dormouse_no_columns INTEGER".into()); // Postgres has tables without columns, SQLite has not.
    }
    if !is_rowid && !shape.keys.is_empty() {
        let keys: Vec<_> = shape.keys.iter().map(|n| names[*n].as_str()).collect();
        parts.push(format!("PRIMARY KEY ({})", keys.join(", ")));
    }
    let long = |n: usize| matches!(shape.kinds[n], Kind::Bytes | Kind::Text) && !shape.keys.contains(&n);
    let short_rows = !is_rowid && !shape.keys.is_empty() && !(0..names.len()).any(long);
    let options = if short_rows { " WITHOUT ROWID" } else { "" };
    format!("create table {table} ({}){options}", parts.join(", "))
}
