//! A second opinion on what clients show: the whole log replayed into a map, row by row, each time.
//!
//! It is slow and stupid on purpose, and shares nothing with the sums that the first oracle compares: neither the hashes, nor what the
//! log says that they are, nor how a store carries out a change. What one of them overlooks because it is wrong itself, the
//! other does not overlook in the same way.

use super::{Checked, Promise, broken, is_in};
use crate::plan::Plan;
use crate::postgres::{Alteration, Postgres, default_of};
use dormouse_core::change::{Change, Page, Relation, Scope};
use dormouse_core::position::{Era, Lsn, Waypoint};
use dormouse_core::row::{Row, Value};
use dormouse_core::store::Tables;
use std::collections::BTreeMap;

/// A row's columns by name, in their order.
type Columns<'a> = Vec<(&'a str, Value<'a>)>;
/// Rows by schema, table and key.
type Rows<'a> = BTreeMap<(&'a str, &'a str, Vec<Value<'a>>), Columns<'a>>;

/// What a thin client was handed, since it had everything last.
#[derive(Debug, Clone, Default)]
struct Handed {
    since: Option<(Era, Lsn)>,
    changes: BTreeMap<Lsn, Vec<(String, Change)>>,
}

/// The second oracle.
#[derive(Debug, Clone)]
pub struct Naive {
    handed: Vec<Handed>,
}

impl Naive {
    /// The second oracle of a run.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self { handed: vec![Handed::default(); plan.clients().into()] }
    }

    /// A client shows these tables, and this is the log of its scope at the place where it stands.
    ///
    /// # Errors
    /// When that is not what the log leads to.
    pub fn shown(postgres: &Postgres, log: &Replayed<'_>, scope: &Scope, at: &Waypoint, tables: &Tables) -> Checked {
        let shown = rows_of(tables);
        let (mut difference, mut rows) = (difference(&shown, &log.rows), Rows::new());
        if difference.is_some() {
            rows.clone_from(&log.rows);
        }
        // An alteration that follows the commit may or may not be seen yet.
        let mut states = 0;
        for alteration in &log.later {
            if difference.is_none() {
                break;
            }
            alter(&mut rows, alteration, scope);
            states += 1;
            difference = self::difference(&shown, &rows);
        }
        let Some(difference) = difference else { return Ok(()) };
        let altered = log.before + states;
        if altered > 0 && postgres.noted_at(at).is_none_or(|noted| noted < altered) {
            return Ok(()); // Nobody knows of the alteration yet; everything will be sent again.
        }
        broken(Promise::Complete, "naive", format!("at {} {difference}", at.position))
    }

    /// The tables hold what the log leads to.
    ///
    /// # Errors
    /// When they do not: then the model itself is wrong.
    pub fn model(&self, postgres: &Postgres) -> Checked {
        let Replayed { mut rows, later, .. } = replay(postgres, &Scope::All, Lsn(u64::MAX));
        later.iter().for_each(|alteration| alter(&mut rows, alteration, &Scope::All));
        let mut held = Rows::new();
        for table in (0..postgres.tables()).filter(|table| postgres.is_published(*table)) {
            let (Some(relation), Some(visible)) = (postgres.relation(table), postgres.visible_rows(table)) else {
                continue;
            };
            held.extend(visible.values().map(|row| (key_of(relation, row), columns(relation, row).collect())));
        }
        match difference(&held, &rows) {
            None => Ok(()),
            Some(difference) => broken(Promise::Complete, "naive", format!("in the database itself {difference}")),
        }
    }

    /// The database became what it was before: what was handed over may never have been.
    pub fn restored(&mut self) {
        self.handed.iter_mut().for_each(|handed| *handed = Handed::default());
    }

    /// A thin client got everything.
    pub fn backfilled(&mut self, client: u8, at: &Waypoint) {
        self.handed[client as usize] =
            Handed { since: Some((at.era, at.position.commit_lsn)), changes: BTreeMap::new() };
    }

    /// A thin client was handed a page.
    pub fn handed_over(&mut self, client: u8, page: &Page) {
        let handed = &mut self.handed[client as usize];
        if handed.since.is_none_or(|(era, _)| era != page.through.era) {
            *handed = Handed { since: Some((page.through.era, page.after.commit_lsn)), changes: BTreeMap::new() };
        }
        for transaction in &page.transactions {
            let all = handed.changes.entry(transaction.commit_lsn).or_default();
            for change in transaction.changes.iter() {
                let name = page.relation(change.relation()).map_or_else(String::new, |relation| relation.full_name());
                all.push((name, change.clone()));
            }
        }
    }

    /// A thin client rests at this place.
    ///
    /// # Errors
    /// When it was never handed something, or something that never was.
    pub fn handed(&self, postgres: &Postgres, client: u8, scope: &Scope, at: &Waypoint) -> Checked {
        let handed = &self.handed[client as usize];
        let Some((_, since)) = handed.since.filter(|(era, _)| *era == at.era) else { return Ok(()) };
        for commit in postgres.commits() {
            let Some(given) = handed.changes.get(&commit.commit_lsn) else {
                let within = commit.commit_lsn > since && commit.commit_lsn <= at.position.commit_lsn;
                if within && commit.changes.iter().any(|change| is_in(scope, &change.relation)) {
                    return broken(Promise::Complete, "naive", format!("{} was never handed over", commit.commit_lsn));
                }
                continue;
            };
            let told = commit.changes.iter().filter(|change| is_in(scope, &change.relation));
            let mut told = told.map(|decoded| (decoded.relation.full_name(), &decoded.change));
            let is_given = |(name, change): &(String, &Change)| given.iter().any(|(n, c)| n == name && c == *change);
            // Of the one in which the first page began, earlier parts were handed to an earlier life.
            if commit.commit_lsn > since && !told.all(|change| is_given(&change)) {
                return broken(
                    Promise::Complete,
                    "naive",
                    format!("part of {} was never handed over", commit.commit_lsn),
                );
            }
        }
        match handed.changes.keys().find(|lsn| postgres.commits().iter().all(|commit| commit.commit_lsn != **lsn)) {
            None => Ok(()),
            Some(lsn) => broken(Promise::Complete, "naive", format!("{lsn} was handed over and never committed")),
        }
    }
}

/// What the log leads to at a place.
#[derive(Debug)]
pub struct Replayed<'a> {
    rows: Rows<'a>,
    /// The alterations that follow its last commit.
    later: Vec<&'a Alteration>,
    /// How many stand before that.
    before: u32,
}

/// What the log leads to after the commit at this place, for whoever has this scope.
#[must_use]
pub fn replay<'a>(postgres: &'a Postgres, scope: &Scope, through: Lsn) -> Replayed<'a> {
    let mut rows = Rows::new();
    let mut alterations = postgres.alterations().iter().peekable();
    let (mut before, mut commits) = (0, 0);
    for (n, commit) in postgres.commits().iter().enumerate().take_while(|(_, commit)| commit.commit_lsn <= through) {
        while let Some((_, alteration)) = alterations.next_if(|(commits, _)| *commits <= n) {
            before += 1;
            alter(&mut rows, alteration, scope);
        }
        commits = n + 1;
        for decoded in commit.changes.iter().filter(|decoded| is_in(scope, &decoded.relation)) {
            carry_out(&mut rows, &decoded.relation, &decoded.change);
        }
    }
    while let Some((_, alteration)) = alterations.next_if(|(before, _)| *before < commits) {
        before += 1;
        alter(&mut rows, alteration, scope);
    }
    let later = alterations.take_while(|(before, _)| *before == commits).map(|(_, alteration)| alteration);
    Replayed { rows, later: later.collect(), before }
}

fn carry_out<'a>(rows: &mut Rows<'a>, relation: &'a Relation, change: &'a Change) {
    let (schema, table) = (relation.schema.as_str(), relation.name.as_str());
    match change {
        Change::Insert { row, .. } => {
            rows.insert(key_of(relation, row), columns(relation, row).collect());
        }
        Change::Update { row, .. } => {
            let key = key_of(relation, row);
            let new = over(rows.get(&key), relation, row);
            rows.insert(key, new);
        }
        Change::Move { old_key, row, .. } => {
            let old = rows.remove(&(schema, table, old_key.values().collect()));
            let new = over(old.as_ref(), relation, row);
            rows.insert(key_of(relation, row), new);
        }
        Change::Delete { key, .. } => {
            rows.remove(&(schema, table, key.values().collect()));
        }
        Change::Truncate { .. } => rows.retain(|(s, t, _), _| (*s, *t) != (schema, table)),
    }
}

/// All rows as they are told; else `ADD COLUMN … DEFAULT`; of a shape that brings no column, the values became NULL.
fn alter<'a>(rows: &mut Rows<'a>, alteration: &'a Alteration, scope: &Scope) {
    let relation = &*alteration.relation;
    if let Some(all) = alteration.rows.as_ref().filter(|_| is_in(scope, relation)) {
        rows.retain(|(schema, table, _), _| (*schema, *table) != (relation.schema.as_str(), relation.name.as_str()));
        rows.extend(all.iter().map(|row| (key_of(relation, row), columns(relation, row).collect())));
        return;
    }
    let Some(added) = relation.columns.last() else { return };
    for ((schema, table, _), columns) in rows.iter_mut() {
        if (*schema, *table) == (relation.schema.as_str(), relation.name.as_str()) {
            match columns.iter().any(|(name, _)| *name == added.name) {
                true => {
                    columns.iter_mut().filter(|(name, _)| *name == "value").for_each(|(_, value)| *value = Value::Null)
                }
                false => columns.push((&added.name, default_of(added.type_oid, &added.name))),
            }
        }
    }
}

fn columns<'a>(relation: &'a Relation, row: &'a Row) -> impl Iterator<Item = (&'a str, Value<'a>)> {
    relation.columns.iter().map(|column| column.name.as_str()).zip(row.values())
}

fn key_of<'a>(relation: &'a Relation, row: &'a Row) -> (&'a str, &'a str, Vec<Value<'a>>) {
    let keys = relation.columns.iter().zip(row.values()).filter(|(column, _)| column.key);
    (&relation.schema, &relation.name, keys.map(|(_, value)| value).collect())
}

/// A new version of a row, with the values that it left alone.
fn over<'a>(old: Option<&Columns<'a>>, relation: &'a Relation, row: &'a Row) -> Columns<'a> {
    let kept = |name: &str| old.and_then(|old| old.iter().find(|(column, _)| *column == name)).map(|(_, value)| *value);
    let value = |(name, value)| match value {
        Value::Unchanged => (name, kept(name).unwrap_or(Value::Unchanged)),
        told => (name, told),
    };
    columns(relation, row).map(value).collect()
}

fn rows_of(tables: &Tables) -> Rows<'_> {
    let all = tables.iter().flat_map(|(_, table)| table.rows());
    all.map(|(_, stored)| (key_of(&stored.relation, &stored.row), columns(&stored.relation, &stored.row).collect()))
        .collect()
}

/// The first row that is not the same.
fn difference(shown: &Rows<'_>, log: &Rows<'_>) -> Option<String> {
    if shown == log {
        return None;
    }
    let missing = log.iter().find(|(key, row)| shown.get(*key) != Some(*row)).map(|(key, _)| key);
    let key = missing.or_else(|| shown.keys().find(|key| !log.contains_key(*key)))?;
    let (schema, table, id) = key;
    Some(format!("{schema}.{table} has for {id:?} {:?}; the log says {:?}", shown.get(key), log.get(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Size;
    use crate::postgres::{Config, Write};
    use crate::trace_file::Setup;
    use crate::world::World;
    use dormouse_core::change::Chunk;
    use dormouse_core::position::{CommitTime, Position};
    use dormouse_core::safeguard::Safeguards;
    use dormouse_core::session::BackfillId;
    use dormouse_core::store::{MemoryStore, StoreRequest};
    use dormouse_core::time::Timestamp;
    use std::sync::Arc;

    fn naive() -> Naive {
        let world = World::new(1, Size::S, Safeguards::ALL, crate::log::Log::default());
        assert_eq!(Setup::new(1, Size::S, Safeguards::ALL).families, world.plan.families);
        Naive::new(&world.plan)
    }

    /// A database with two rows, of which one was moved, and a store that holds what a snapshot of the first table gave.
    fn copied() -> (Postgres, MemoryStore, Waypoint) {
        let mut postgres = Postgres::new(Config::default());
        let writes = [
            Write::Insert { table: 0, key: 1, value: 10 },
            Write::Insert { table: 0, key: 2, value: 20 },
            Write::Move { table: 0, key: 2, to: 3, value: 30 },
            Write::Update { table: 0, key: 1, value: 11, large: false },
        ];
        let committed = postgres.run(Timestamp::ZERO, &writes).expect("it writes");
        let at = Waypoint {
            position: Position::after(committed.commit_lsn),
            xid: committed.xid,
            committed_at: CommitTime(0),
            ..Waypoint::default()
        };
        let mut store = MemoryStore::new();
        let rows = postgres.visible_rows(0).expect("the table").values().cloned().collect();
        let relation = Arc::clone(postgres.relation(0).expect("the table"));
        let (backfill, chunk) = (BackfillId(1), Arc::new(Chunk { relation, rows }));
        store.apply(&StoreRequest::StageChunk { backfill, n: 0, chunk });
        store.apply(&StoreRequest::StageSeam { backfill, n: 1, page: None, complete: Some(at) });
        (postgres, store, at)
    }

    fn shown(postgres: &Postgres, at: &Waypoint, store: &MemoryStore) -> Checked {
        let log = replay(postgres, &Scope::All, at.position.commit_lsn);
        Naive::shown(postgres, &log, &Scope::All, at, store.tables())
    }

    #[test]
    fn what_the_log_leads_to_is_right_and_the_model_agrees() {
        let (postgres, store, at) = copied();
        assert_eq!(naive().model(&postgres), Ok(()));
        assert_eq!(shown(&postgres, &at, &store), Ok(()));
    }

    #[test]
    fn a_row_too_few_or_at_another_place_is_wrong() {
        let (mut postgres, store, at) = copied();
        let none = MemoryStore::new();
        let (promise, oracle, _) = shown(&postgres, &at, &none).expect_err("no rows");
        assert_eq!((promise, oracle), (Promise::Complete, "naive"));
        let deleted = postgres.run(Timestamp::ZERO, &[Write::Delete { table: 0, key: 3 }]).expect("it deletes");
        let later = Waypoint { position: Position::after(deleted.commit_lsn), ..at };
        assert!(shown(&postgres, &later, &store).is_err(), "the old rows at a later place");
        assert_eq!(shown(&postgres, &at, &store), Ok(()), "and still right at theirs");
    }
}
