//! Rows by key, with their content sum.

use crate::change::{Change, Relation};
use crate::row::{Row, Value};
use crate::sum::row_hash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row with the shape in which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// Its table's shape when it was last written.
    pub relation: Arc<Relation>,
    /// Its values, in the order of that shape's columns.
    pub row: Row,
    hash: u128,
}

impl StoredRow {
    fn new(relation: &Arc<Relation>, row: Row) -> Self {
        let hash = row_hash(relation, &row);
        Self { relation: Arc::clone(relation), row, hash }
    }

    fn parts(&self) -> (&Relation, &Row) {
        (&self.relation, &self.row)
    }
}

/// The rows of one table.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PackedTable", into = "PackedTable")]
pub struct Table {
    rows: BTreeMap<Row, StoredRow>,
    sum: u128,
}

impl Table {
    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row with this key (the key columns' values, in order).
    #[must_use]
    pub fn get(&self, key: &Row) -> Option<&StoredRow> {
        self.rows.get(key)
    }

    /// Its rows by key, in the order of the keys' bytes.
    pub fn rows(&self) -> impl Iterator<Item = (&Row, &StoredRow)> {
        self.rows.iter()
    }

    /// Puts a row in; true when there was none of this key.
    fn put(&mut self, key: Row, row: StoredRow) -> bool {
        self.sum = self.sum.wrapping_add(row.hash);
        let old = self.rows.insert(key, row);
        if let Some(old) = &old {
            self.sum = self.sum.wrapping_sub(old.hash);
        }
        old.is_none()
    }

    /// Writes an update over the row of this key and returns how many anomalies that showed (0 or 1).
    fn update(&mut self, key: Row, relation: &Arc<Relation>, row: &Row) -> u64 {
        let Some(old) = self.rows.get_mut(&key) else {
            self.put(key, StoredRow::new(relation, row.clone()));
            return 1;
        };
        let new = StoredRow::new(relation, merge(Some(old.parts()), relation, row));
        self.sum = self.sum.wrapping_sub(old.hash).wrapping_add(new.hash);
        *old = new;
        0
    }

    fn remove(&mut self, key: &Row) -> Option<StoredRow> {
        let old = self.rows.remove(key)?;
        self.sum = self.sum.wrapping_sub(old.hash);
        Some(old)
    }
}

/// Some tables, by full name (`schema.table`). A table without rows is not listed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    by_name: BTreeMap<String, Table>,
}

impl Tables {
    /// The tables that have rows, by full name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Table)> {
        self.by_name.iter().map(|(name, table)| (name.as_str(), table))
    }

    /// A table by its full name; `None` when it has no rows.
    #[must_use]
    pub fn get(&self, full_name: &str) -> Option<&Table> {
        self.by_name.get(full_name)
    }

    /// The wrapping sum of all rows' hashes.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.by_name.values().fold(0, |sum, table| sum.wrapping_add(table.sum))
    }

    /// Inserts a row and returns how many anomalies that showed (0 or 1).
    pub(super) fn insert(&mut self, relation: &Arc<Relation>, row: &Row) -> u64 {
        let key = relation.key_of(row);
        let table = self.by_name.entry(relation.full_name()).or_default();
        u64::from(!table.put(key, StoredRow::new(relation, row.clone())))
    }

    /// Carries out one change and returns how many anomalies it showed: an insert of a row that was there, an update or
    /// delete of one that was not.
    pub(super) fn change(&mut self, relation: &Arc<Relation>, change: &Change) -> u64 {
        match change {
            Change::Insert { row, .. } => self.insert(relation, row),
            Change::Update { row, .. } => {
                let key = relation.key_of(row);
                self.by_name.entry(relation.full_name()).or_default().update(key, relation, row)
            }
            Change::Move { old_key, row, .. } => {
                let table = self.by_name.entry(relation.full_name()).or_default();
                let old = table.remove(old_key);
                let row = merge(old.as_ref().map(StoredRow::parts), relation, row);
                let is_new = table.put(relation.key_of(&row), StoredRow::new(relation, row));
                u64::from(old.is_none()) + u64::from(!is_new)
            }
            Change::Delete { key, .. } => {
                let name = relation.full_name();
                let Some(table) = self.by_name.get_mut(&name) else { return 1 };
                let old = table.remove(key);
                if table.is_empty() {
                    self.by_name.remove(&name);
                }
                u64::from(old.is_none())
            }
            Change::Truncate { .. } => {
                self.by_name.remove(&relation.full_name());
                0
            }
        }
    }
}

/// `new` with what it left unchanged taken from the old row, by column name when their shapes differ. What the old row does
/// not have stays marked as unchanged: it is not known, which is not the same as NULL.
#[must_use]
pub fn merge(old: Option<(&Relation, &Row)>, relation: &Relation, new: &Row) -> Row {
    let Some((old_relation, old_row)) = old else { return new.clone() };
    if old_relation.id == relation.id || !new.leaves_some_unchanged() {
        return Relation::merge(old_row, new);
    }
    let old_value = |name: &str| {
        let mut olds = old_relation.columns.iter().zip(old_row.values());
        olds.find(|(column, _)| column.name == name).map(|(_, value)| value)
    };
    Row::of(relation.columns.iter().zip(new.values()).map(|(column, value)| match value {
        Value::Unchanged => old_value(&column.name).unwrap_or(Value::Unchanged),
        value => value,
    }))
}

/// A table as it is written down: each shape once, keys and sums left out because they follow from the rows.
#[derive(Serialize, Deserialize)]
struct PackedTable {
    relations: Vec<Arc<Relation>>,
    rows: Vec<(u32, Row)>,
}

impl From<Table> for PackedTable {
    fn from(table: Table) -> Self {
        let mut packed = Self { relations: Vec::new(), rows: Vec::with_capacity(table.len()) };
        for (_, StoredRow { relation, row, .. }) in table.rows {
            let known = packed.relations.iter().rposition(|known| known.id == relation.id);
            let shape = known.unwrap_or_else(|| {
                packed.relations.push(relation);
                packed.relations.len() - 1
            });
            packed.rows.push((u32::try_from(shape).expect("a table has few shapes"), row));
        }
        packed
    }
}

impl From<PackedTable> for Table {
    fn from(packed: PackedTable) -> Self {
        let mut table = Self::default();
        for (shape, row) in packed.rows {
            if let Some(relation) = packed.relations.get(shape as usize) {
                table.put(relation.key_of(&row), StoredRow::new(relation, row));
            }
        }
        table
    }
}
