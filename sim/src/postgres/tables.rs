//! The application's tables: shapes, visible rows, locks, fingerprints.

use super::wal::{Alteration, Sums, TABLES_MAX};
use super::xids::low_half;
use super::{Config, Postgres, TxId, WriteError, types};
use crate::sorted::Sorted;
use dormouse_core::change::{Column, Relation};
use dormouse_core::limits::VALUE_BYTES_MAX;
use dormouse_core::rng::mix;
use dormouse_core::row::{Row, RowBuilder, Value};
use dormouse_core::source::{Fingerprints, TableFingerprint};
use dormouse_core::sum::row_hash;
use dormouse_core::xid::Xid;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The columns that every table begins with: the key, a value, and a large one.
const COLUMNS: usize = 3;
/// Which of them is large.
pub(super) const LARGE: usize = COLUMNS - 1;
/// Which of them is the value.
pub(super) const VALUE: usize = 1;
/// The name of the key.
pub(super) const KEY: &str = "id";
/// What the names of columns begin with that were added later.
const ADDED: &str = "added";
/// A default that a rewrite leaves behind, by which rewrites are counted. No machine takes a default for more than it is.
const REWRITTEN: &str = "rewritten ";
/// The same for all alterations, where tables are replaced: what counts its own may be gone.
const ALTERED: &str = "altered ";
/// Of so many values in a world of odd shapes one is larger than may travel.
const ONE_IS_OVERSIZED: u64 = 128;

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) oid: u32,
    /// Whether its replica identity is FULL.
    pub(super) full: bool,
    /// Whether it is published.
    pub(super) published: bool,
    /// Another number each time it is put into the publication.
    pub(super) membership: i64,
    /// Of a table with columns of odd types, and values over the limit: what decides which.
    odd: Option<u64>,
    relfilenode: u32,
    /// Another one after each change of a column.
    pub(super) definitions: i64,
    /// How often its key was replaced.
    pub(super) rekeyed: u32,
    /// How often it was rewritten with the same columns.
    rewritten: u32,
    pub(super) relation: Arc<Relation>,
    /// What a new snapshot sees, by key.
    pub(super) rows: BTreeMap<u64, Row>,
    /// Rows written by transactions that are not visible yet.
    pub(super) locks: Sorted<u64, TxId>,
    /// Who wrote to it and is not visible yet.
    pub(super) writers: BTreeSet<TxId>,
    /// Who truncated it and is not visible yet.
    pub(super) exclusive: Option<TxId>,
    /// How many snapshots read it at this moment.
    pub(super) readers: u32,
}

impl Table {
    pub(super) fn new(n: usize, config: &Config) -> Self {
        let mut columns = vec![
            column(KEY, types::INT8, true),
            column("value", types::TEXT, false),
            column("large", types::TEXT, false),
        ];
        debug_assert_eq!(columns.len(), COLUMNS);
        let odd = if config.odd_shapes { mix(config.seed ^ n as u64) } else { 0 };
        if config.odd_shapes {
            columns.push(column("odd", types::one_of(odd >> 1), false));
            columns.push(column("odder", types::one_of(odd >> 32), false));
        }
        let (schema, name) = config.name_of(n);
        let oid = 16_384 + u32::try_from(n).expect("a few tables");
        Self {
            oid,
            full: odd & 1 == 1,
            published: true,
            membership: 1,
            odd: config.odd_shapes.then_some(odd),
            relfilenode: oid,
            definitions: 0,
            rekeyed: 0,
            rewritten: 0,
            relation: Arc::new(Relation::new(schema, name, columns)),
            rows: BTreeMap::new(),
            locks: Sorted::default(),
            writers: BTreeSet::new(),
            exclusive: None,
            readers: 0,
        }
    }

    pub(super) const fn oid(&self) -> u32 {
        self.oid
    }

    /// The file that holds its rows.
    pub(super) const fn relfilenode(&self) -> u32 {
        self.relfilenode
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// A whole row of the present shape; columns that were added take their defaults.
    pub(super) fn row(&self, key: u64, value: u64, large_bytes: usize) -> Row {
        let oversized =
            self.odd.filter(|odd| mix(odd ^ value).is_multiple_of(ONE_IS_OVERSIZED)).map(|_| oversized(value));
        let (key, mut large) = (key.to_string(), value.to_string());
        let digits = large.len();
        large.extend(std::iter::repeat_n('~', large_bytes));
        let (value, large) = (Value::Text(&large[..digits]), Value::Text(&large));
        self.finish_row([Value::Text(&key), value, oversized.unwrap_or(large)])
    }

    /// `old` under another key, with another value, and its large column as it was.
    pub(super) fn with(old: &Row, key: u64, value: u64) -> Row {
        let (key, value) = (key.to_string(), value.to_string());
        let heads = [Value::Text(&key), Value::Text(&value)];
        Row::of(heads.into_iter().chain(old.values().skip(heads.len())))
    }

    /// The same row as the stream tells it when the large column was left alone: with the identity FULL, the old row tells it.
    pub(super) fn told(&self, row: &Row) -> Row {
        if self.full {
            return row.clone();
        }
        Row::of(row.values().enumerate().map(|(n, value)| if n == LARGE { Value::Unchanged } else { value }))
    }

    /// Whether somebody holds a lock on it that an alteration would wait for.
    pub(super) fn is_locked(&self) -> bool {
        !self.writers.is_empty() || self.exclusive.is_some() || self.readers > 0
    }

    /// The key columns' names.
    pub(super) fn keys(&self) -> Vec<String> {
        self.relation.columns.iter().filter(|column| column.key).map(|column| column.name.clone()).collect()
    }

    pub(super) fn hash(&self, row: &Row) -> u128 {
        row_hash(&self.relation, row)
    }

    pub(super) fn release(&mut self, tx: TxId) {
        if self.writers.remove(&tx) {
            self.locks.retain(|_, owner| *owner != tx);
        }
        if self.exclusive == Some(tx) {
            self.exclusive = None;
        }
    }

    /// A rewrite or a TRUNCATE by this transaction gave it another file.
    pub(super) fn stored_anew(&mut self, xid: Xid) {
        self.relfilenode = u32::try_from(xid.0 & 0xffff_ffff).expect("32 bits");
    }

    fn finish_row(&self, values: [Value<'_>; COLUMNS]) -> Row {
        let mut row = RowBuilder::default();
        values.into_iter().for_each(|value| row.push(value));
        for column in &self.relation.columns[COLUMNS..] {
            row.push(types::default_of(column.type_oid, &column.name));
        }
        row.finish()
    }

    fn fingerprint(&self, altered: Option<usize>) -> TableFingerprint {
        let rewritten = (0..self.rewritten).map(|n| format!("{REWRITTEN}{n}"));
        TableFingerprint {
            oid: self.oid,
            relfilenode: self.relfilenode,
            definitions: self.definitions,
            membership: self.membership,
            shape: i64::from(self.oid) + self.relation.columns.iter().map(|_| 1).sum::<i64>() + i64::from(self.rekeyed),
            columns: self.relation.columns.iter().map(|c| [&c.name, " ", &c.type_name].concat()).collect(),
            key: self.keys(),
            defaults: rewritten.chain(altered.map(|count| format!("{ALTERED}{count}"))).collect(),
        }
    }
}

impl Postgres {
    /// `ALTER TABLE … ADD COLUMN … DEFAULT`: every row has a new value, and the stream says nothing until the table is written again.
    ///
    /// # Errors
    /// While another transaction or a snapshot holds a lock on the table.
    pub fn alter_table(&mut self, table: usize, rewrite: bool) -> Result<(), WriteError> {
        let altered = self.tables.get_mut(table).ok_or(WriteError::NoSuchTable)?;
        if altered.is_locked() || !altered.published {
            return Err(WriteError::Locked);
        }
        let old = Arc::clone(&altered.relation);
        let mut columns = old.columns.clone();
        let name = format!("{ADDED}{}", columns.len() - COLUMNS);
        let of = if altered.odd.is_some() {
            types::one_of(mix(self.config.seed ^ columns.len() as u64))
        } else {
            types::TEXT
        };
        columns.push(column(&name, of, false));
        let default = types::default_of(of.0, &name);
        altered.relation = Arc::new(Relation::new(old.schema.clone(), old.name.clone(), columns));
        let mut delta = Sums([0; TABLES_MAX]);
        for row in altered.rows.values_mut() {
            let new = Row::of(row.values().chain([default]));
            let change = row_hash(&altered.relation, &new).wrapping_sub(row_hash(&old, row));
            delta.0[table] = delta.0[table].wrapping_add(change);
            *row = new;
        }
        let xid = self.own_write();
        self.catalogue_changes();
        self.tables[table].definitions += low_half(xid);
        if rewrite {
            self.tables[table].stored_anew(xid);
        }
        self.wal.alter(
            &delta,
            Alteration { relation: Arc::clone(&self.tables[table].relation), reshaped: true, rows: None },
        );
        Ok(())
    }

    /// `ALTER TABLE … ALTER COLUMN value TYPE text USING NULL`: every row has another value, the columns are the same, and the stream
    /// says nothing.
    ///
    /// # Errors
    /// While another transaction or a snapshot holds a lock on the table.
    pub fn rewrite_table(&mut self, table: usize) -> Result<(), WriteError> {
        let altered = self.tables.get_mut(table).ok_or(WriteError::NoSuchTable)?;
        if altered.is_locked() || !altered.published || altered.relation.columns[VALUE].key {
            return Err(WriteError::Locked);
        }
        let mut delta = Sums([0; TABLES_MAX]);
        for row in altered.rows.values_mut() {
            let new = Row::of(row.values().enumerate().map(|(n, value)| if n == VALUE { Value::Null } else { value }));
            let change = row_hash(&altered.relation, &new).wrapping_sub(row_hash(&altered.relation, row));
            delta.0[table] = delta.0[table].wrapping_add(change);
            *row = new;
        }
        altered.rewritten += 1;
        let relation = Arc::clone(&altered.relation);
        let xid = self.own_write();
        self.catalogue_changes();
        self.tables[table].definitions += low_half(xid);
        self.tables[table].stored_anew(xid);
        self.wal.alter(&delta, Alteration { relation, reshaped: false, rows: None });
        Ok(())
    }

    /// How many published tables there are.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Whether there is a table of this name, published or not.
    #[must_use]
    pub fn has_table(&self, full_name: &str) -> bool {
        self.tables.iter().any(|table| table.relation.full_name() == full_name)
    }

    /// The shape of a table now.
    #[must_use]
    pub fn relation(&self, table: usize) -> Option<&Arc<Relation>> {
        Some(&self.tables.get(table)?.relation)
    }

    /// The rows that a new snapshot would see, by key.
    #[must_use]
    pub fn visible_rows(&self, table: usize) -> Option<&BTreeMap<u64, Row>> {
        Some(&self.tables.get(table)?.rows)
    }

    pub(super) fn fingerprints(&self) -> Fingerprints {
        let altered = self.config.replaces.then_some(self.wal.alterations().len());
        let published = self.tables.iter().filter(|table| table.published);
        published.map(|table| (table.relation.full_name(), table.fingerprint(altered))).collect()
    }
}

/// How many alterations of tables these fingerprints know.
pub(super) fn alterations_in(fingerprints: &Fingerprints) -> u32 {
    let defaults = fingerprints.values().flat_map(|table| &table.defaults);
    if let Some(all) = defaults.clone().find_map(|default| default.strip_prefix(ALTERED)) {
        return all.parse().expect("a count");
    }
    let added = fingerprints.values().flat_map(|table| &table.columns).filter(|column| column.starts_with(ADDED));
    u32::try_from(added.count() + defaults.count()).expect("runs are short")
}

fn column(name: &str, (type_oid, type_name): (u32, &str), key: bool) -> Column {
    Column { name: name.into(), type_oid, type_name: type_name.into(), key }
}

/// A value that is larger than may travel, as everybody but the source sees it.
fn oversized(value: u64) -> Value<'static> {
    let size = VALUE_BYTES_MAX as u64 + 1 + value % 5;
    Value::Omitted(u32::try_from(size).expect("a few MiB"))
}
