//! The lines of `tail`, as JSON for programs or as text for people.

use crate::client::Status;
use dormouse_core::change::{Change, Page, Relation, Transaction};
use dormouse_core::client::ClientPhase;
use dormouse_core::position::{Position, Waypoint};
use dormouse_core::row::Row;
use dormouse_core::wire::json::{key_object, row_object};
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;

/// The most rows of a first sync in one line.
const ROWS_PER_LINE: usize = 500;

pub(super) struct Lines {
    pub(super) json: bool,
}

impl Lines {
    pub(super) fn phase(&self, phase: ClientPhase, status: &Status, out: &mut String) {
        // A new era may have begun since the welcome.
        let era = status.shown.map(|shown| shown.era).or(status.welcome.map(|(era, _)| era));
        let head = status.welcome.map(|(_, head)| head);
        if self.json {
            push(out, &json!({ "phase": phase, "era": era, "head": head }).to_string());
        } else {
            let name = json!(phase);
            let head = head.map(|head| format!(", head {head}")).unwrap_or_default();
            push(out, &format!("-- {}{head}", name.as_str().unwrap_or_default()));
        }
    }

    /// Collects all rows of a first sync, once they are shown: line by line, since together they may be large.
    pub(super) const fn runs(&self, at: Waypoint) -> Runs<'_> {
        Runs { lines: self, at, relation: None, rows: Vec::new() }
    }

    /// Rows of a first sync. A thin client prints them before it knows their place.
    pub(super) fn rows(&self, relation: &Relation, rows: &[Row], at: Option<Waypoint>, out: &mut String) {
        let objects: Vec<_> = rows.iter().map(|row| row_object(relation, row)).collect();
        if self.json {
            let (era, position) = (at.map(|at| at.era), at.map(|at| at.position));
            let head = json!({ "backfill": true, "era": era, "position": position, "relation": relation.full_name() });
            push(out, &with_member(&head.to_string(), "rows", &format!("[{}]", objects.join(","))));
        } else {
            for object in objects {
                push(out, &format!("row    {} {object}", relation.full_name()));
            }
        }
    }

    /// The transactions of a page, or one piece at its own position.
    pub(super) fn page(&self, page: &Page, out: &mut String) {
        for transaction in &page.transactions {
            let changes = transaction.changes.iter().map(|change| (page, change));
            let position = if transaction.complete { boundary(transaction) } else { page.through.position };
            self.transaction(page.through, position, transaction, changes, out);
        }
    }

    /// One transaction from all of its pieces.
    pub(super) fn pieces(&self, pieces: &[Arc<Page>], out: &mut String) {
        let Some((last, transaction)) = pieces.last().and_then(|page| Some((page, page.transactions.last()?))) else {
            return;
        };
        let changes = pieces.iter().flat_map(|page| {
            page.transactions.iter().flat_map(move |piece| piece.changes.iter().map(move |change| (&**page, change)))
        });
        self.transaction(last.through, boundary(transaction), transaction, changes, out);
    }

    fn transaction<'a>(
        &self,
        at: Waypoint,
        position: Position,
        transaction: &Transaction,
        changes: impl Iterator<Item = (&'a Page, &'a Change)>,
        out: &mut String,
    ) {
        let changes = changes.filter_map(|(page, change)| Some((page.relation(change.relation())?, change)));
        if self.json {
            let head = json!({
                "era": at.era,
                "position": position,
                "xid": transaction.xid.to_string(),
                "committed_at_ms": transaction.committed_at.0 / 1_000,
            });
            let changes: Vec<_> = changes.map(|(relation, change)| json_change(relation, change)).collect();
            push(out, &with_member(&head.to_string(), "changes", &format!("[{}]", changes.join(","))));
        } else {
            push(out, &format!("{position} xid {}", transaction.xid));
            for (relation, change) in changes {
                push(out, &text_change(relation, change));
            }
        }
    }
}

/// Rows that come one after the other, to be printed in lines of some hundred.
pub(super) struct Runs<'a> {
    lines: &'a Lines,
    at: Waypoint,
    relation: Option<Arc<Relation>>,
    rows: Vec<Row>,
}

impl Runs<'_> {
    /// Adds a row; gives those before it when they make a line.
    pub(super) fn push(&mut self, relation: &Arc<Relation>, row: &Row) -> Option<String> {
        let goes_on = self.relation.as_ref().is_some_and(|known| known.id == relation.id);
        let line = if goes_on && self.rows.len() < ROWS_PER_LINE { None } else { self.finish() };
        if !goes_on {
            self.relation = Some(Arc::clone(relation));
        }
        self.rows.push(row.clone());
        line
    }

    /// Gives the rows that are left.
    pub(super) fn finish(&mut self) -> Option<String> {
        let rows = std::mem::take(&mut self.rows);
        let relation = self.relation.as_ref().filter(|_| !rows.is_empty())?;
        let mut line = String::new();
        self.lines.rows(relation, &rows, Some(self.at), &mut line);
        Some(line)
    }
}

fn boundary(transaction: &Transaction) -> Position {
    Position::after(transaction.commit_lsn)
}

fn json_change(relation: &Relation, change: &Change) -> String {
    let head = json!({ "op": operation(change), "relation": relation.full_name() }).to_string();
    match change {
        Change::Insert { row, .. } | Change::Update { row, .. } => {
            let with_key = with_member(&head, "key", &key_object(relation, &relation.key_of(row)));
            with_member(&with_key, "row", &row_object(relation, row))
        }
        Change::Move { old_key, row, .. } => {
            let with_key = with_member(&head, "key", &key_object(relation, &relation.key_of(row)));
            let with_old = with_member(&with_key, "old_key", &key_object(relation, old_key));
            with_member(&with_old, "row", &row_object(relation, row))
        }
        Change::Delete { key, .. } => with_member(&head, "key", &key_object(relation, key)),
        Change::Truncate { .. } => head,
    }
}

fn text_change(relation: &Relation, change: &Change) -> String {
    let name = relation.full_name();
    let mut text = format!("  {:<8} {name}", operation(change));
    let _ = match change {
        Change::Insert { row, .. } | Change::Update { row, .. } => write!(text, " {}", row_object(relation, row)),
        Change::Move { old_key, row, .. } => {
            write!(text, " {} -> {}", key_object(relation, old_key), row_object(relation, row))
        }
        Change::Delete { key, .. } => write!(text, " {}", key_object(relation, key)),
        Change::Truncate { .. } => Ok(()),
    };
    text
}

const fn operation(change: &Change) -> &'static str {
    match change {
        Change::Insert { .. } => "insert",
        Change::Update { .. } => "update",
        Change::Move { .. } => "move",
        Change::Delete { .. } => "delete",
        Change::Truncate { .. } => "truncate",
    }
}

/// An object with one more member, whose value is JSON already.
fn with_member(object: &str, name: &str, value: &str) -> String {
    let open = object.strip_suffix('}').unwrap_or(object);
    format!("{open},\"{name}\":{value}}}")
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}
