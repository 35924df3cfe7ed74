//! What a source of changes delivers, and what is known of its tables.

use crate::change::{Change, Relation};
use crate::position::{CommitTime, Lsn};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One step of the stream, decoded. Relations of our own schema never appear, and indices do not count them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceItem {
    /// A transaction begins.
    Begin {
        /// Where its commit record will stand: its place in commit order (`final_lsn`).
        commit_lsn: Lsn,
        /// When it committed.
        committed_at: CommitTime,
        /// The low half of its id.
        xid: u32,
    },
    /// A shape, before its first use in this stream and whenever it changed.
    Relation(Arc<Relation>),
    /// A change of the transaction that has begun.
    Change(Change),
    /// The transaction ends.
    Commit {
        /// Where its commit record ends: what may be confirmed once it is recorded.
        end_lsn: Lsn,
    },
    /// All commits below this were sent. Not: recorded.
    Keepalive {
        /// The end of what was sent.
        wal_end: Lsn,
    },
}

/// Evidence for starting a new era. Never the era itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of the cluster.
    pub system_identifier: u64,
    /// Of the database.
    pub database_oid: u32,
    /// A new one with intact continuity keeps the era.
    pub timeline: u32,
}

/// The replication slot as found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotState {
    /// From where it would stream.
    pub confirmed: Lsn,
    /// Ours: plugin `pgoutput`, this database, not invalidated (`wal_status` not lost).
    pub usable: bool,
}

/// What decides the shape and the stored form of one table's rows.
///
/// Compared, because Postgres tells the stream of many changes late or never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFingerprint {
    /// The table itself.
    pub oid: u32,
    /// Its storage: another one after a rewrite, and after a TRUNCATE or VACUUM FULL too, which alter no row in silence.
    pub relfilenode: u32,
    /// Changes with the definition of any column. An ALTER … TYPE that rewrites rows under the same type shows here alone.
    #[serde(default)]
    pub definitions: i64,
    /// By what it is published: another number once it was taken out of the publication and put back, for the stream is silent about what
    /// was written to it meanwhile. 0 in what was noted by a version that did not look.
    #[serde(default)]
    pub membership: i64,
    /// How many columns it ever had, and which constraint or index its key is: what comes and goes between two looks shows here alone. 0 in
    /// what was noted by a version that did not look.
    #[serde(default)]
    pub shape: i64,
    /// Columns with types, labels of enum types, missing values, and which of them the publication sends.
    pub columns: Vec<String>,
    /// The columns of the key, in order.
    pub key: Vec<String>,
    /// Defaults for rows to come. No existing row depends on them.
    pub defaults: Vec<String>,
}

/// The fingerprints of all published tables, by `schema.table`.
pub type Fingerprints = BTreeMap<String, TableFingerprint>;

/// What a difference between fingerprints means for rows that replicas already hold.
#[must_use]
pub fn alters_existing_rows(old: &Fingerprints, new: &Fingerprints) -> Option<String> {
    let gone = old.keys().find(|name| !new.contains_key(*name)).map(|name| format!("{name} is no longer published"));
    gone.or_else(|| {
        new.iter().find_map(|(name, new)| {
            let Some(old) = old.get(name) else { return Some(format!("{name} is newly published")) };
            if old.oid != new.oid {
                Some(format!("{name} was dropped and created again"))
            } else if old.membership != new.membership && old.membership != 0 {
                Some(format!("{name} was taken out of the publication and put back"))
            } else if old.columns != new.columns {
                Some(format!("the columns of {name} changed"))
            } else if old.key != new.key {
                Some(format!("the key of {name} changed"))
            } else if old.shape != new.shape && old.shape != 0 {
                Some(format!("the columns or the key of {name} changed, and changed back"))
            } else if old.relfilenode != new.relfilenode && old.definitions != new.definitions {
                Some(format!("{name} was rewritten"))
            } else {
                None // Defaults are for rows to come.
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_storage_alters_rows_only_where_a_column_was_defined_anew() {
        let table = TableFingerprint {
            oid: 1,
            relfilenode: 1,
            definitions: 1,
            membership: 1,
            shape: 1,
            columns: vec!["id 23".into()],
            key: vec!["id".into()],
            defaults: vec![],
        };
        let of = |table: TableFingerprint| Fingerprints::from([("public.t".to_owned(), table)]);
        let alters = |new| alters_existing_rows(&of(table.clone()), &of(new)).is_some();
        assert!(!alters(TableFingerprint { relfilenode: 2, ..table.clone() }), "a TRUNCATE is in the stream");
        assert!(!alters(TableFingerprint { definitions: 2, ..table.clone() }), "a default is for rows to come");
        assert!(alters(TableFingerprint { relfilenode: 2, definitions: 2, ..table.clone() }), "a rewrite");
        assert!(alters(TableFingerprint { columns: vec!["id 20".into()], ..table.clone() }));
        assert!(alters(TableFingerprint { membership: 2, ..table.clone() }), "what was written meanwhile is not known");
        assert!(
            alters(TableFingerprint { shape: 2, ..table.clone() }),
            "what was written meanwhile was told in another shape"
        );
        let unlooked = TableFingerprint { membership: 0, shape: 0, ..table.clone() };
        assert_eq!(alters_existing_rows(&of(unlooked), &of(table.clone())), None, "noted by an earlier version");
    }
}
