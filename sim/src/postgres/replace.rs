//! Tables that are replaced: created again, given another key, taken out of the publication and put back. The stream says nothing of it.

use super::tables::VALUE;
use super::wal::{Alteration, Sums, TABLES_MAX};
use super::xids::low_half;
use super::{Postgres, WriteError};
use dormouse_core::change::Relation;
use dormouse_core::row::Value;
use std::sync::Arc;

impl Postgres {
    /// `DROP TABLE`, and `CREATE TABLE` with the same name and columns: another table, without rows.
    ///
    /// # Errors
    /// While another transaction or a snapshot holds a lock on the table.
    pub fn recreate_table(&mut self, table: usize) -> Result<(), WriteError> {
        self.replaceable(table, true)?;
        let before = self.sum_of(table);
        let xid = self.own_write();
        let created = &mut self.tables[table];
        created.rows.clear();
        created.oid += u32::try_from(TABLES_MAX).expect("a few");
        created.definitions += low_half(xid);
        created.stored_anew(xid);
        self.replaced_rows = true;
        self.became(table, before, false);
        Ok(())
    }

    /// The key is dropped, and another made: of the value too, or of what it was before. Whether it was before.
    ///
    /// # Errors
    /// While a lock is held; while a value is NULL, which a key has none of; and when the identity is FULL, whose key the stream does not tell.
    pub fn rekey_table(&mut self, table: usize) -> Result<bool, WriteError> {
        self.replaceable(table, true)?;
        let keyed = &self.tables[table];
        let has_null = keyed.rows.values().any(|row| row.values().nth(VALUE) == Some(Value::Null));
        let back = keyed.relation.columns[VALUE].key;
        if has_null || keyed.is_full() {
            return Err(WriteError::Locked);
        }
        let (before, xid) = (self.sum_of(table), self.own_write());
        let keyed = &mut self.tables[table];
        let mut columns = keyed.relation.columns.clone();
        columns[VALUE].key = !back;
        keyed.relation = Arc::new(Relation::new(keyed.relation.schema.clone(), keyed.relation.name.clone(), columns));
        keyed.definitions += low_half(xid);
        keyed.rekeyed += 1;
        self.became(table, before, true);
        Ok(back)
    }

    /// `ALTER PUBLICATION … DROP TABLE`: nobody is told of its rows any more.
    ///
    /// # Errors
    /// While a lock is held, and when it is the last.
    pub fn unpublish_table(&mut self, table: usize) -> Result<(), WriteError> {
        self.replaceable(table, true)?;
        if self.tables.iter().filter(|table| table.published).count() < 2 {
            return Err(WriteError::NoSuchTable);
        }
        let before = self.sum_of(table);
        self.own_write();
        self.tables[table].published = false;
        self.became(table, before, false);
        Ok(())
    }

    /// `ALTER PUBLICATION … ADD TABLE`, perhaps after its rows were deleted, of which the stream said nothing either.
    ///
    /// # Errors
    /// While a lock is held.
    pub fn publish_table(&mut self, table: usize, emptied: bool) -> Result<(), WriteError> {
        self.replaceable(table, false)?;
        let before = self.sum_of(table);
        let xid = self.own_write();
        let published = &mut self.tables[table];
        published.published = true;
        published.membership = low_half(xid);
        if emptied {
            published.rows.clear();
        }
        self.replaced_rows = true;
        self.became(table, before, false);
        Ok(())
    }

    /// Whether a table is published.
    #[must_use]
    pub fn is_published(&self, table: usize) -> bool {
        self.tables.get(table).is_some_and(|table| table.published)
    }

    /// Whether a table has another key than at first.
    #[must_use]
    pub fn is_rekeyed(&self, table: usize) -> bool {
        self.tables.get(table).is_some_and(|table| table.relation.columns[VALUE].key)
    }

    /// Whether a table ever had other rows than the stream and the snapshots of before told.
    #[must_use]
    pub const fn has_replaced_rows(&self) -> bool {
        self.replaced_rows
    }

    fn replaceable(&self, table: usize, published: bool) -> Result<(), WriteError> {
        let table = self.tables.get(table).ok_or(WriteError::NoSuchTable)?;
        if table.published != published {
            return Err(WriteError::NoSuchTable);
        }
        if table.is_locked() { Err(WriteError::Locked) } else { Ok(()) }
    }

    /// What a published table adds to the content; nothing, when it is not published.
    fn sum_of(&self, table: usize) -> u128 {
        let table = &self.tables[table];
        let rows = table.rows.values().filter(|_| table.published);
        rows.fold(0, |sum, row| sum.wrapping_add(table.hash(row)))
    }

    /// Notes what became of a table, which had that content before.
    fn became(&mut self, table: usize, before: u128, reshaped: bool) {
        self.catalogue_changes();
        let mut delta = Sums([0; TABLES_MAX]);
        delta.0[table] = self.sum_of(table).wrapping_sub(before);
        let altered = &self.tables[table];
        let rows = altered.rows.values().filter(|_| altered.published).cloned().collect();
        if let Some(stream) = &mut self.stream {
            stream.shapes.remove(&altered.relation.full_name()); // What Postgres knew of the table is void: it tells its shape again.
        }
        let alteration = Alteration { relation: Arc::clone(&altered.relation), reshaped, rows: Some(rows) };
        self.wal.alter(&delta, alteration);
    }
}
