//! The store on disk against the one in memory, against failures, and against strange files.

mod alike;
mod faults;
mod layout;

use super::{SqliteOptions, SqliteStore, Synchronous};
use dormouse_core::change::{Change, Column, Page, Relation, Transaction};
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::xid::Xid;
use std::sync::Arc;
use tempfile::TempDir;

/// The store in a folder, which does not wait for the disk.
fn open(folder: &TempDir) -> SqliteStore {
    let options = SqliteOptions { synchronous: Synchronous::Normal, check: false };
    SqliteStore::open_with(folder.path().join("store.db"), options).unwrap_or_else(|error| panic!("{error}"))
}

fn column(name: &str, type_oid: u32, key: bool) -> Column {
    Column { name: name.into(), type_oid, type_name: "some".into(), key }
}

fn at(lsn: u64) -> Waypoint {
    let (era, position) = (Era { counter: 1, id: 7 }, Position::after(Lsn(lsn)));
    Waypoint { era, schema: SchemaVersion(1), position, xid: Xid(lsn), committed_at: CommitTime(5) }
}

fn transaction(lsn: u64, first: usize, complete: bool, changes: &[Change]) -> Transaction {
    let (commit_lsn, end_lsn, xid, committed_at) = (Lsn(lsn), Lsn(lsn + 1), Xid(lsn), CommitTime(5));
    let first = u32::try_from(first).expect("few");
    Transaction { commit_lsn, end_lsn, xid, committed_at, first, complete, changes: changes.into() }
}

fn page_of(relations: Vec<Arc<Relation>>, transaction: Transaction) -> Arc<Page> {
    let mut through = at(transaction.commit_lsn.0);
    let count = u32::try_from(transaction.changes.len()).expect("few");
    if !transaction.complete {
        through.position.index = transaction.first + count - 1;
    }
    let after = match transaction.first {
        0 => Position::after(Lsn(transaction.commit_lsn.0 - 1)),
        first => Position { commit_lsn: transaction.commit_lsn, index: first - 1 },
    };
    Arc::new(Page { after, through, relations: relations.into(), transactions: vec![transaction] })
}
