//! What travels: relations, changes, transactions, pages.

use crate::position::{CommitTime, Lsn, Position, Waypoint};
use crate::row::{Row, RowBuilder, Value};
use crate::sum::Hasher;
use crate::xid::Xid;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Names one shape of one table: 53 bits of a hash of its names, columns, types and key, so that whoever meets the same
/// shape, in the stream or in a snapshot, now or after a restart, gives it the same id. Fits a JSON number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelationId(pub u64);

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The oid of its type, which decides its form in JSON.
    pub type_oid: u32,
    /// Its type's name, for people.
    pub type_name: String,
    /// Whether it is part of the key by which replicas tell rows apart.
    pub key: bool,
}

/// One shape of a published table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// Follows from all the rest but the type names.
    pub id: RelationId,
    /// The namespace.
    pub schema: String,
    /// The table.
    pub name: String,
    /// In order.
    pub columns: Vec<Column>,
}

impl Relation {
    /// A relation with the id that follows from its parts.
    #[must_use]
    pub fn new(schema: impl Into<String>, name: impl Into<String>, columns: Vec<Column>) -> Self {
        let (schema, name) = (schema.into(), name.into());
        let mut hasher = Hasher::default();
        hasher.write(schema.as_bytes());
        hasher.write(name.as_bytes());
        for column in &columns {
            hasher.write(column.name.as_bytes());
            hasher.write(&column.type_oid.to_be_bytes());
            hasher.write(&[u8::from(column.key)]);
        }
        #[expect(clippy::cast_possible_truncation, reason = "53 bits are taken on purpose")]
        let id = RelationId(hasher.finish() as u64 >> 11);
        Self { id, schema, name, columns }
    }

    /// `schema.table`.
    #[must_use]
    pub fn full_name(&self) -> String {
        [&self.schema, ".", &self.name].concat()
    }

    /// The key columns' values of a whole row, in order.
    #[must_use]
    pub fn key_of(&self, row: &Row) -> Row {
        let values = || self.columns.iter().zip(row.written()).filter(|(column, _)| column.key).map(|(_, value)| value);
        let mut key = RowBuilder::with_capacity(values().map(<[u8]>::len).sum());
        values().for_each(|value| key.push_written(value));
        key.finish()
    }

    /// `new` with what it left unchanged taken from `old`.
    #[must_use]
    pub fn merge(old: &Row, new: &Row) -> Row {
        if !new.leaves_some_unchanged() {
            return new.clone();
        }
        let mut olds = old.values();
        Row::of(new.values().map(|new| {
            let old = olds.next().unwrap_or(Value::Null);
            if new == Value::Unchanged { old } else { new }
        }))
    }
}

/// What one row, or one table, went through. A `key` holds the key columns' values only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A new row.
    Insert {
        /// Its table's shape.
        relation: RelationId,
        /// All its values.
        row: Row,
    },
    /// A row whose key stays.
    Update {
        /// Its table's shape.
        relation: RelationId,
        /// Its values now; large ones may be [`Value::Unchanged`].
        row: Row,
    },
    /// A row whose key changes: one change, not a delete and an insert, so that unchanged values can be carried over.
    Move {
        /// Its table's shape.
        relation: RelationId,
        /// The key it had.
        old_key: Row,
        /// Its values now; large ones may be [`Value::Unchanged`].
        row: Row,
    },
    /// A row that is gone.
    Delete {
        /// Its table's shape.
        relation: RelationId,
        /// The key it had.
        key: Row,
    },
    /// A table that was emptied.
    Truncate {
        /// Its shape.
        relation: RelationId,
    },
}

impl Change {
    /// The shape of the table concerned.
    #[must_use]
    pub const fn relation(&self) -> RelationId {
        match self {
            Self::Insert { relation, .. }
            | Self::Update { relation, .. }
            | Self::Move { relation, .. }
            | Self::Delete { relation, .. }
            | Self::Truncate { relation } => *relation,
        }
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 32;
        OVERHEAD
            + match self {
                Self::Insert { row, .. } | Self::Update { row, .. } => row.bytes().len(),
                Self::Move { old_key, row, .. } => old_key.bytes().len() + row.bytes().len(),
                Self::Delete { key, .. } => key.bytes().len(),
                Self::Truncate { .. } => 0,
            }
    }
}

/// The changes of one commit, or a run of them when the transaction travels in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// BEGIN's `final_lsn`: its place in commit order.
    pub commit_lsn: Lsn,
    /// Where its commit record ends; what may be confirmed once it is in history. 0 in all pieces but the last.
    pub end_lsn: Lsn,
    /// Its id.
    pub xid: Xid,
    /// When it committed.
    pub committed_at: CommitTime,
    /// The index, in the whole transaction, of the first change here. More than 0 only in a later piece.
    pub first: u32,
    /// Whether the transaction ends here. False only in a piece that is not the last.
    pub complete: bool,
    /// The changes, in order. In a page cut to a scope some are left out; indices count the whole transaction all the same.
    pub changes: Arc<[Change]>,
}

impl Transaction {
    /// Whether this is but a part of a transaction.
    #[must_use]
    pub const fn is_piece(&self) -> bool {
        self.first > 0 || !self.complete
    }
}

/// A run of whole transactions, or one piece of a transaction that is too large for a page.
///
/// Pages chain: a replica applies one only if `after` ≤ its position < `through`. `through` also moves when nothing in between was
/// in scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// What it follows.
    pub after: Position,
    /// What is held once it is applied.
    pub through: Waypoint,
    /// The shapes that its changes refer to.
    pub relations: Arc<[Arc<Relation>]>,
    /// In commit order. A piece stands alone.
    pub transactions: Vec<Transaction>,
}

impl Page {
    /// Whether this holds one piece of a large transaction.
    #[must_use]
    pub fn is_piece(&self) -> bool {
        self.transactions.first().is_some_and(Transaction::is_piece)
    }

    /// How many changes it holds.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.transactions.iter().map(|transaction| transaction.changes.len()).sum()
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 128;
        let changes = self.transactions.iter().flat_map(|transaction| transaction.changes.iter());
        OVERHEAD + changes.map(Change::weight).sum::<usize>() + self.transactions.len() * OVERHEAD
    }

    /// The shape with this id.
    #[must_use]
    pub fn relation(&self, id: RelationId) -> Option<&Arc<Relation>> {
        self.relations.iter().find(|relation| relation.id == id)
    }
}

/// Rows of a snapshot, all of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Their table's shape.
    pub relation: Arc<Relation>,
    /// Whole rows.
    pub rows: Vec<Row>,
}

/// What a client may and wants to see.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Every published table.
    #[default]
    All,
    /// These tables (`schema.table`), ascending and without repetition.
    Tables(Arc<[String]>),
}

impl Scope {
    /// A scope of these tables, in any order.
    pub fn tables(names: impl IntoIterator<Item = String>) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self::Tables(names.into())
    }

    /// Whether a table is in scope.
    #[must_use]
    pub fn includes(&self, relation: &Relation) -> bool {
        match self {
            Self::All => true,
            Self::Tables(names) => names.binary_search(&relation.full_name()).is_ok(),
        }
    }

    /// The part of a page that is in scope; `after` and `through` stay.
    #[must_use]
    pub fn cut(&self, page: &Arc<Page>) -> Arc<Page> {
        if page.relations.iter().all(|relation| self.includes(relation)) {
            return Arc::clone(page);
        }
        let relations: Arc<[_]> = page.relations.iter().filter(|relation| self.includes(relation)).cloned().collect();
        let known = |id| relations.iter().any(|relation: &Arc<Relation>| relation.id == id);
        let transactions = page.transactions.iter().map(|transaction| Transaction {
            changes: transaction.changes.iter().filter(|change| known(change.relation())).cloned().collect(),
            ..transaction.clone()
        });
        let transactions = transactions.filter(|t| !t.changes.is_empty() || t.is_piece()).collect();
        Arc::new(Page { after: page.after, through: page.through, relations, transactions })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tables(names) => f.write_str(&names.join(",")),
        }
    }
}
