//! The shapes in which rows came, remembered under their ids.

use super::trouble::Trouble;
use dormouse_core::change::{Relation, RelationId};
use dormouse_core::wire::ServerMessage;
use dormouse_core::wire::json::{ServerDecoder, encode_server};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// All shapes that this file has met.
#[derive(Debug, Default, Clone)]
pub(super) struct Shapes {
    by_key: BTreeMap<i64, Arc<Relation>>,
}

impl Shapes {
    pub(super) fn load(connection: &Connection) -> Result<Self, Trouble> {
        let mut shapes = Self::default();
        let mut select = connection.prepare("select relation from dormouse_shapes")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            match ServerDecoder::default().decode(&text) {
                Ok(ServerMessage::Schema(relation)) => {
                    shapes.by_key.insert(Self::key(relation.id), relation);
                }
                _ => return Err(Trouble::Foreign("dormouse_shapes holds what is no shape".into())),
            }
        }
        Ok(shapes)
    }

    /// The id as SQLite's integer: it has 53 bits.
    pub(super) const fn key(id: RelationId) -> i64 {
        id.0.cast_signed()
    }

    pub(super) fn get(&self, key: i64) -> Result<Arc<Relation>, Trouble> {
        let found = self.by_key.get(&key).cloned();
        found.ok_or_else(|| Trouble::Foreign(format!("dormouse_shapes lacks the shape {key}")))
    }

    /// Remembers a shape.
    pub(super) fn remember(&mut self, connection: &Connection, relation: &Arc<Relation>) -> Result<(), Trouble> {
        let key = Self::key(relation.id);
        if let Entry::Vacant(place) = self.by_key.entry(key) {
            let text = encode_server(&ServerMessage::Schema(Arc::clone(relation)));
            connection
                .execute("insert or ignore into dormouse_shapes (id, relation) values (?, ?)", params![key, text])?;
            place.insert(Arc::clone(relation));
        }
        Ok(())
    }
}
