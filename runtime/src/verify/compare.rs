//! The difference between two sets of tables.

use dormouse_core::store::{StoredRow, Table, Tables};
use serde::Serialize;
use std::collections::BTreeMap;

/// How one table of a client differs from Postgres'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `schema.table`.
    pub name: String,
    /// How many rows Postgres has.
    pub rows: u64,
    /// How many of them the client lacks.
    pub missing: u64,
    /// How many the client has that Postgres has not.
    pub extra: u64,
    /// How many have the same key and other values.
    pub different: u64,
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.different == 0
    }
}

/// Compares table by table; also those that one side lacks. `names` are listed even when both sides have no row of them.
#[must_use]
pub fn compare<'a>(
    names: impl IntoIterator<Item = String>,
    expected: &'a Tables,
    actual: &'a Tables,
) -> Vec<Difference> {
    let none = Table::default();
    let mut pairs: BTreeMap<String, (&Table, &Table)> = names.into_iter().map(|name| (name, (&none, &none))).collect();
    for (name, table) in expected.iter() {
        pairs.entry(name.into()).or_insert((&none, &none)).0 = table;
    }
    for (name, table) in actual.iter() {
        pairs.entry(name.into()).or_insert((&none, &none)).1 = table;
    }
    pairs.into_iter().map(|(name, (expected, actual))| compare_table(name, expected, actual)).collect()
}

fn compare_table(name: String, expected: &Table, actual: &Table) -> Difference {
    let mut difference = Difference { name, rows: expected.len() as u64, missing: 0, extra: 0, different: 0 };
    for (key, row) in expected.rows() {
        match actual.get(key) {
            None => difference.missing += 1,
            Some(other) if !is_same(row, other) => difference.different += 1,
            Some(_) => {}
        }
    }
    difference.extra = actual.rows().filter(|(key, _)| expected.get(key).is_none()).count() as u64;
    difference
}

fn is_same(one: &StoredRow, other: &StoredRow) -> bool {
    if one.relation.id == other.relation.id {
        return one.row == other.row;
    }
    // Written under another shape of the table: what counts is what each column holds.
    let by_name = |stored: &StoredRow| -> BTreeMap<String, String> {
        let columns = stored.relation.columns.iter().zip(stored.row.values());
        columns.map(|(column, value)| (column.name.clone(), format!("{value:?}"))).collect()
    };
    by_name(one) == by_name(other)
}
