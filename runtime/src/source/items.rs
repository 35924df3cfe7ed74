//! From messages of `pgoutput` to items: what both sources do alike.

use crate::db::Database;
use bytes::Bytes;
use dormouse_core::change::{Change, RelationId};
use dormouse_core::fault::Failure;
use dormouse_core::history::ReadHead;
use dormouse_core::pgoutput::Translator;
use dormouse_core::position::Lsn;
use dormouse_core::replication::ReadSource;
use dormouse_core::row::{Row, Value};
use dormouse_core::source::SourceItem;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long it is waited for what was told to be recorded, and how often that is looked at.
const RECORDING_MAX: Duration = Duration::from_secs(30);
const RECORDING_PAUSE: Duration = Duration::from_millis(20);

/// Translates the messages of one decoding, and gathers the items until they are taken.
pub(super) struct Items {
    translator: Translator,
    /// Tables without a key, whose rows no replica could tell apart.
    keyless: BTreeSet<RelationId>,
    /// The look at the tables with whose names those of this decoding were compared last.
    compared: u64,
    value_bytes_max: usize,
    items: Vec<SourceItem>,
    changes: usize,
    bytes: usize,
}

impl Items {
    /// For a decoding from its start: it introduces each table before its first row.
    pub(super) fn new(database: &Database) -> Self {
        Self {
            translator: Translator::default(),
            keyless: BTreeSet::new(),
            compared: 0,
            value_bytes_max: database.config().value_bytes_max,
            items: Vec::new(),
            changes: 0,
            bytes: 0,
        }
    }

    /// Adds an item that needs no translation.
    pub(super) fn push(&mut self, item: SourceItem) {
        self.items.push(item);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a read has what it asked for. Transactions without changes count too, or a busy source could keep it for ever.
    pub(super) fn is_full(&self, q: &ReadSource) -> bool {
        let (changes_max, bytes_max) = (q.changes_max as usize, q.bytes_max as usize);
        self.changes >= changes_max || self.bytes >= bytes_max || self.items.len() >= 4 * changes_max
    }

    /// Whether this decoding goes on to tell a table by a name that it no longer had when a transaction committed that now begins.
    /// Another decoding, from here on, would tell the present one.
    pub(super) fn are_outdated(&mut self, database: &Database, commit_lsn: Lsn) -> bool {
        let names = database.names();
        if names.look == self.compared || commit_lsn < names.as_of {
            return false;
        }
        self.compared = names.look;
        let outdated = self.translator.tables().find(|(oid, relation)| names.contradict(*oid, relation));
        if let Some((oid, relation)) = outdated {
            tracing::info!(oid, table = relation.full_name(), "a table is told by a name that it no longer has");
        }
        outdated.is_some()
    }

    /// Takes what was gathered.
    pub(super) fn take(&mut self) -> Vec<SourceItem> {
        (self.changes, self.bytes) = (0, 0);
        std::mem::take(&mut self.items)
    }

    /// Translates one message. When it is given up or fails, nothing was gathered, and the same message may come again.
    pub(super) async fn decode(&mut self, database: &Database, message: &Bytes) -> Result<(), Failure> {
        if let Some(oid) = Translator::needs_keys(message) {
            let keys = database.table_key(oid).await?;
            self.translator.set_keys(oid, keys);
        }
        self.translate(message)
    }

    fn translate(&mut self, message: &Bytes) -> Result<(), Failure> {
        let from = self.items.len();
        self.translator.translate(message, &mut self.items).map_err(|why| {
            Failure::Refused(format!("the stream could not be decoded ({why}): report this as a defect"))
        })?;
        for n in from..self.items.len() {
            match &mut self.items[n] {
                SourceItem::Relation(relation) if !relation.columns.iter().any(|column| column.key) => {
                    self.keyless.insert(relation.id);
                }
                SourceItem::Change(change) => {
                    omit_large_values(change, self.value_bytes_max);
                    self.changes += 1;
                    self.bytes += change.weight();
                }
                _ => {}
            }
        }
        if !self.keyless.is_empty() {
            self.drop_keyless(from);
        }
        Ok(())
    }

    fn drop_keyless(&mut self, from: usize) {
        let keyless = &self.keyless;
        let tail: Vec<_> = self.items.drain(from..).collect();
        self.items.extend(tail.into_iter().filter(|item| match item {
            SourceItem::Relation(relation) => !keyless.contains(&relation.id),
            SourceItem::Change(change) => !keyless.contains(&change.relation()),
            SourceItem::Begin { .. } | SourceItem::Commit { .. } | SourceItem::Keepalive { .. } => true,
        }));
    }
}

/// Waits until history holds all that was told through here: then what follows can be decoded anew without coming upon it again.
pub(super) async fn recorded(database: &Database, through: Lsn) -> Result<(), Failure> {
    let deadline = Instant::now() + RECORDING_MAX;
    loop {
        if database.read_head(ReadHead).await?.covered >= through {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::Unavailable("what a table was told under its old name is not recorded yet".into()));
        }
        tokio::time::sleep(RECORDING_PAUSE).await;
    }
}

fn omit_large_values(change: &mut Change, max: usize) {
    let row = match change {
        Change::Insert { row, .. } | Change::Update { row, .. } | Change::Move { row, .. } => row,
        Change::Delete { .. } | Change::Truncate { .. } => return,
    };
    let large = |value: &Value<'_>| matches!(value, Value::Text(text) if text.len() > max);
    if row.bytes().len() > max && row.values().any(|value| large(&value)) {
        *row = Row::of(row.values().map(|value| match value {
            Value::Text(text) if text.len() > max => Value::Omitted(u32::try_from(text.len()).unwrap_or(u32::MAX)),
            other => other,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_value_becomes_a_marker() {
        let row = Row::of([Value::Text("1"), Value::Text("12345"), Value::Unchanged]);
        let mut change = Change::Insert { relation: RelationId(1), row };
        omit_large_values(&mut change, 5);
        assert!(format!("{change:?}").contains("(1, 12345, unchanged)"));
        omit_large_values(&mut change, 4);
        assert!(format!("{change:?}").contains("(1, omitted 5, unchanged)"));
    }
}
