//! Rows as arrays, values as Postgres' text or as JSON tokens where those lose nothing.

use crate::change::Column;
use crate::row::{Row, RowBuilder, Value};
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

/// How a type's values travel.
enum Form {
    Bool,
    Int,
    Float,
    Text,
}

const fn form(type_oid: u32) -> Form {
    match type_oid {
        16 => Form::Bool,
        21 | 23 => Form::Int,
        700 | 701 => Form::Float,
        _ => Form::Text,
    }
}

/// Appends a row as a JSON array.
pub(super) fn push_row<'a>(out: &mut Vec<u8>, row: &Row, columns: impl Iterator<Item = &'a Column>) {
    out.push(b'[');
    for (n, (value, column)) in row.values().zip(columns).enumerate() {
        if n > 0 {
            out.push(b',');
        }
        push_value(out, value, column);
    }
    out.push(b']');
}

/// Appends one value.
pub(super) fn push_value(out: &mut Vec<u8>, value: Value<'_>, column: &Column) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Unchanged => out.extend_from_slice(b"{}"),
        Value::Omitted(size) => out.extend_from_slice(format!("{{\"omitted\":{size}}}").as_bytes()),
        Value::Text(text) => push_text(out, text, column.type_oid),
    }
}

fn push_text(out: &mut Vec<u8>, text: &str, type_oid: u32) {
    let token = match form(type_oid) {
        Form::Bool => match text {
            "t" => Some("true"),
            "f" => Some("false"),
            _ => None,
        },
        Form::Int | Form::Float => is_json_number(text.as_bytes()).then_some(text),
        Form::Text => None,
    };
    match token {
        Some(token) => out.extend_from_slice(token.as_bytes()),
        None => push_string(out, text),
    }
}

/// Appends a JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("text into memory always works");
}

/// JSON's grammar of numbers: `-? (0 | [1-9][0-9]*) (\. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
fn is_json_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = &exponent[count..];
    }
    rest.is_empty()
}

/// A row out of a JSON array.
pub(super) struct RowJson(pub(super) Row);

impl<'de> Deserialize<'de> for RowJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cells;
        impl<'de> Visitor<'de> for Cells {
            type Value = RowJson;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of values")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RowJson, A::Error> {
                let mut row = RowBuilder::default();
                while seq.next_element_seed(Cell(&mut row))?.is_some() {}
                Ok(RowJson(row.finish()))
            }
        }
        deserializer.deserialize_seq(Cells)
    }
}

struct Cell<'a>(&'a mut RowBuilder);

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Marker {
            omitted: Option<u32>,
        }
        let token = <&RawValue>::deserialize(deserializer)?.get();
        match token.as_bytes().first() {
            Some(b'n') => self.0.push(Value::Null),
            Some(b't') => self.0.push(Value::Text("t")),
            Some(b'f') => self.0.push(Value::Text("f")),
            Some(b'"') => {
                let text: std::borrow::Cow<'_, str> =
                    serde_json::from_str::<Text<'_>>(token).map_err(D::Error::custom)?.0;
                self.0.push(Value::Text(&text));
            }
            Some(b'{') => match serde_json::from_str::<Marker>(token).map_err(D::Error::custom)?.omitted {
                Some(size) => self.0.push(Value::Omitted(size)),
                None => self.0.push(Value::Unchanged),
            },
            Some(b'-' | b'0'..=b'9') => self.0.push(Value::Text(token)),
            _ => return Err(D::Error::custom("a value is a string, a number, a boolean, null or a marker")),
        }
        Ok(())
    }
}

/// A string that is borrowed when it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::is_json_number;

    #[test]
    fn only_numbers_of_json_are_sent_as_tokens() {
        for text in ["0", "-0", "12", "-3.25", "1e+20", "1.5e-07", "0.1E3"] {
            assert!(is_json_number(text.as_bytes()), "{text}");
        }
        for text in ["", "-", "01", "1.", ".5", "1e", "NaN", "Infinity", "+1", "1 ", "0x1"] {
            assert!(!is_json_number(text.as_bytes()), "{text}");
        }
    }
}
