//! Rows as objects, for people and scripts: each value under its column's name, in the form that it has on the wire.

use super::rows::{push_string, push_value};
use crate::change::Relation;
use crate::row::{Row, Value};

/// A row as a JSON object. A value that an update left unchanged is absent.
#[must_use]
pub fn row_object(relation: &Relation, row: &Row) -> String {
    object(relation.columns.iter(), row)
}

/// A key (the key columns' values only) as a JSON object.
#[must_use]
pub fn key_object(relation: &Relation, key: &Row) -> String {
    object(relation.columns.iter().filter(|column| column.key), key)
}

fn object<'a>(columns: impl Iterator<Item = &'a crate::change::Column>, row: &Row) -> String {
    let mut out = vec![b'{'];
    let present = columns.zip(row.values()).filter(|(_, value)| *value != Value::Unchanged);
    for (n, (column, value)) in present.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        push_string(&mut out, &column.name);
        out.push(b':');
        push_value(&mut out, value, column);
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON of text is text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Column;

    #[test]
    fn values_stand_under_their_names() {
        let column = |name: &str, type_oid, key| Column { name: name.into(), type_oid, type_name: String::new(), key };
        let columns = vec![column("id", 20, true), column("n", 23, false), column("big", 25, false)];
        let relation = Relation::new("public", "t", columns);
        let row = Row::of([Value::Text("9007199254740993"), Value::Text("7"), Value::Unchanged]);
        assert_eq!(row_object(&relation, &row), r#"{"id":"9007199254740993","n":7}"#);
        assert_eq!(key_object(&relation, &relation.key_of(&row)), r#"{"id":"9007199254740993"}"#);
    }
}
