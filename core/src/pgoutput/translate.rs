//! Follows a stream: knows its relations, and gives changes in the project's own words.

use super::{DecodeError, Message, Old, RelationMessage, decode};
use crate::change::{Change, Column, Relation};
use crate::row::{Row, RowBuilder, Value};
use crate::source::SourceItem;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The schema of our own tables, whose changes would feed history with itself.
const OWN_SCHEMA: &str = "dormouse";

/// Turns the messages of one stream into [`SourceItem`]s.
///
/// Relations of our own schema are dropped here, before anything counts changes.
#[derive(Debug, Default, Clone)]
pub struct Translator {
    /// By oid; `None` for those of our own schema.
    relations: BTreeMap<u32, Option<Arc<Relation>>>,
    types: BTreeMap<u32, String>,
    keys: BTreeMap<u32, Vec<String>>,
}

impl Translator {
    /// The oid of the table whose key columns must be given before this message can be translated: with identity FULL the
    /// stream does not tell the key. Ask for each message; the answer may have changed since it was last given.
    #[must_use]
    pub fn needs_keys(message: &Bytes) -> Option<u32> {
        match message.first()? {
            b'R' => match decode(message) {
                Ok(Message::Relation(relation)) if relation.identity == b'f' => Some(relation.oid),
                _ => None,
            },
            _ => None,
        }
    }

    /// Gives the key columns of a table.
    pub fn set_keys(&mut self, oid: u32, columns: Vec<String>) {
        self.keys.insert(oid, columns);
    }

    /// The tables that the stream has told of, by oid, each as it was told last; those of our own schema are left out.
    pub fn tables(&self) -> impl Iterator<Item = (u32, &Arc<Relation>)> {
        self.relations.iter().filter_map(|(oid, relation)| Some((*oid, relation.as_ref()?)))
    }

    /// Translates one message, adding what it says to `out`.
    ///
    /// # Errors
    /// When the bytes are no message, or speak of a relation that the stream did not introduce.
    pub fn translate(&mut self, message: &Bytes, out: &mut Vec<SourceItem>) -> Result<(), DecodeError> {
        let kind = message.first().map_or('?', |byte| char::from(*byte));
        let wrong = |what| DecodeError { what, kind };
        match decode(message)? {
            Message::Begin { final_lsn, committed_at, xid } => {
                out.push(SourceItem::Begin { commit_lsn: final_lsn, committed_at, xid });
            }
            Message::Commit { end_lsn, .. } => out.push(SourceItem::Commit { end_lsn }),
            Message::Type { oid, name } => {
                self.types.insert(oid, name);
            }
            Message::Relation(relation) => out.extend(self.introduce(relation).map(SourceItem::Relation)),
            Message::Insert { relation, new } => {
                if let Some(relation) = self.known(relation).map_err(wrong)? {
                    check_width(relation, &new).map_err(wrong)?;
                    out.push(SourceItem::Change(Change::Insert { relation: relation.id, row: new }));
                }
            }
            Message::Update { relation, old, new } => {
                if let Some(relation) = self.known(relation).map_err(wrong)? {
                    check_width(relation, &new).map_err(wrong)?;
                    out.push(SourceItem::Change(update(relation, old.as_ref(), new).map_err(wrong)?));
                }
            }
            Message::Delete { relation, old } => {
                if let Some(relation) = self.known(relation).map_err(wrong)? {
                    check_width(relation, old.row()).map_err(wrong)?;
                    let key = relation.key_of(old.row());
                    out.push(SourceItem::Change(Change::Delete { relation: relation.id, key }));
                }
            }
            Message::Truncate { relations } => {
                for oid in relations {
                    if let Some(relation) = self.known(oid).map_err(wrong)? {
                        out.push(SourceItem::Change(Change::Truncate { relation: relation.id }));
                    }
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    fn known(&self, oid: u32) -> Result<Option<&Arc<Relation>>, &'static str> {
        let relation = self.relations.get(&oid).ok_or("its relation was not introduced")?;
        Ok(relation.as_ref())
    }

    fn introduce(&mut self, message: RelationMessage) -> Option<Arc<Relation>> {
        if message.namespace == OWN_SCHEMA {
            self.relations.insert(message.oid, None);
            return None;
        }
        let keys = if message.identity == b'f' { self.keys.get(&message.oid) } else { None };
        let columns = message.columns.into_iter().map(|column| Column {
            key: keys.map_or(column.key, |keys| keys.contains(&column.name)),
            type_name: self.type_name(column.type_oid),
            type_oid: column.type_oid,
            name: column.name,
        });
        let relation = Arc::new(Relation::new(message.namespace, message.name, columns.collect()));
        self.relations.insert(message.oid, Some(Arc::clone(&relation)));
        Some(relation)
    }

    fn type_name(&self, oid: u32) -> String {
        self.types.get(&oid).map_or_else(|| builtin_type_name(oid), Clone::clone)
    }
}

fn check_width(relation: &Relation, row: &Row) -> Result<(), &'static str> {
    let fits = row.values().count() == relation.columns.len();
    if fits { Ok(()) } else { Err("a row has another number of values than its relation has columns") }
}

fn update(relation: &Relation, old: Option<&Old>, new: Row) -> Result<Change, &'static str> {
    let Some(old) = old else { return Ok(Change::Update { relation: relation.id, row: new }) };
    check_width(relation, old.row())?;
    let row = fill_from(relation, old, new);
    let old_key = relation.key_of(old.row());
    if relation.key_of(&row) == old_key {
        Ok(Change::Update { relation: relation.id, row })
    } else {
        Ok(Change::Move { relation: relation.id, old_key, row })
    }
}

/// Values that an update left alone are taken from the old row where that tells them.
fn fill_from(relation: &Relation, old: &Old, new: Row) -> Row {
    if !new.leaves_some_unchanged() {
        return new;
    }
    let all = matches!(old, Old::Full(_));
    let mut filled = RowBuilder::default();
    for ((column, new), old) in relation.columns.iter().zip(new.values()).zip(old.row().values()) {
        filled.push(if new == Value::Unchanged && (all || column.key) { old } else { new });
    }
    filled.finish()
}

/// Names of the built-in types that the stream does not name; `oid 1234` for the rest.
#[must_use]
fn builtin_type_name(oid: u32) -> String {
    let name = match oid {
        16 => "bool",
        17 => "bytea",
        18 => "char",
        19 => "name",
        20 => "int8",
        21 => "int2",
        23 => "int4",
        25 => "text",
        26 => "oid",
        114 => "json",
        142 => "xml",
        600 => "point",
        650 => "cidr",
        700 => "float4",
        701 => "float8",
        790 => "money",
        829 => "macaddr",
        869 => "inet",
        1000 => "_bool",
        1005 => "_int2",
        1007 => "_int4",
        1009 => "_text",
        1015 => "_varchar",
        1016 => "_int8",
        1021 => "_float4",
        1022 => "_float8",
        1042 => "bpchar",
        1043 => "varchar",
        1082 => "date",
        1083 => "time",
        1114 => "timestamp",
        1184 => "timestamptz",
        1186 => "interval",
        1266 => "timetz",
        1560 => "bit",
        1562 => "varbit",
        1700 => "numeric",
        2950 => "uuid",
        3614 => "tsvector",
        3802 => "jsonb",
        3904 => "int4range",
        _ => return format!("oid {oid}"),
    };
    name.to_owned()
}
