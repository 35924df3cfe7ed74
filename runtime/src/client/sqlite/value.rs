//! How Postgres' text is kept in SQLite's types, and comes back as the same text.

use dormouse_core::row::{RowBuilder, Value};
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use std::fmt::Write;

/// How the values of a column are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `bool`, as 0 or 1.
    Bool,
    /// `int2`, `int4`, `int8` and `oid`.
    Int,
    /// `float4`: its text takes an exponent from 1e+06.
    Float4,
    /// `float8`: its text takes an exponent from 1e+15.
    Float8,
    /// `bytea`, as its bytes.
    Bytes,
    /// Everything else, as Postgres writes it.
    Text,
}

impl Kind {
    pub(super) const fn of(type_oid: u32) -> Self {
        match type_oid {
            16 => Self::Bool,
            17 => Self::Bytes,
            20 | 21 | 23 | 26 => Self::Int,
            700 => Self::Float4,
            701 => Self::Float8,
            _ => Self::Text,
        }
    }

    /// The declared type, which decides SQLite's affinity: none of them alters what [`encode`] gives.
    pub(super) const fn declared(self) -> &'static str {
        match self {
            Self::Bool | Self::Int => "INTEGER",
            Self::Float4 | Self::Float8 => "REAL",
            Self::Bytes => "BLOB",
            Self::Text => "TEXT",
        }
    }

    /// The exponent from which the text of a float is written with one.
    const fn exponent_from(self) -> i32 {
        match self {
            Self::Float4 => 6,
            _ => 15,
        }
    }
}

/// A value as SQLite keeps it. `None` when it would not come back as exactly this text.
pub(super) fn encode(kind: Kind, value: Value<'_>) -> Option<ToSqlOutput<'_>> {
    let text = match value {
        Value::Null => return Some(ToSqlOutput::Borrowed(ValueRef::Null)),
        Value::Text(text) => text,
        Value::Unchanged | Value::Omitted(_) => return None,
    };
    match kind {
        Kind::Text => Some(ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))),
        Kind::Bool => match text {
            "t" => Some(ToSqlOutput::Borrowed(ValueRef::Integer(1))),
            "f" => Some(ToSqlOutput::Borrowed(ValueRef::Integer(0))),
            _ => None,
        },
        Kind::Int => canonical_int(text).map(|number| ToSqlOutput::Borrowed(ValueRef::Integer(number))),
        Kind::Float4 | Kind::Float8 => encode_float(kind, text),
        Kind::Bytes => unhex(text).map(|bytes| ToSqlOutput::Owned(Owned::Blob(bytes))),
    }
}

/// What a person is shown of a value that does not come back exactly: the text, or NULL for what is not here.
pub(super) fn nearest(value: Value<'_>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Null | Value::Unchanged | Value::Omitted(_) => ValueRef::Null,
    })
}

/// Appends a value read from SQLite as Postgres' text. False when nothing that [`encode`] gives looks like this.
pub(super) fn decode(kind: Kind, value: ValueRef<'_>, row: &mut RowBuilder, scratch: &mut String) -> bool {
    scratch.clear();
    match (kind, value) {
        (_, ValueRef::Null) => {
            row.push(Value::Null);
            return true;
        }
        (Kind::Text, ValueRef::Text(text)) => {
            let text = std::str::from_utf8(text);
            text.map(|text| row.push(Value::Text(text))).ok();
            return text.is_ok();
        }
        (Kind::Bool, ValueRef::Integer(number @ 0..=1)) => scratch.push(if number == 1 { 't' } else { 'f' }),
        (Kind::Int, ValueRef::Integer(number)) => drop(write!(scratch, "{number}")),
        (Kind::Float4 | Kind::Float8, ValueRef::Real(number)) => push_float(kind, number, scratch),
        (Kind::Float4 | Kind::Float8, ValueRef::Text(b"NaN")) => scratch.push_str("NaN"),
        (Kind::Bytes, ValueRef::Blob(bytes)) => push_hex(bytes, scratch),
        _ => return false,
    }
    row.push(Value::Text(scratch));
    true
}

/// The number that is written exactly like this: no sign but `-`, no leading zero.
fn canonical_int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

fn encode_float(kind: Kind, text: &str) -> Option<ToSqlOutput<'_>> {
    if text == "NaN" {
        return Some(ToSqlOutput::Borrowed(ValueRef::Text(b"NaN"))); // SQLite has none; text sorts above all numbers.
    }
    let number: f64 = text.parse().ok()?;
    let mut again = String::new();
    push_float(kind, number, &mut again);
    // SQLite may keep a whole number as an integer, which has no negative zero.
    let is_exact = again == text && !(number == 0.0 && number.is_sign_negative());
    is_exact.then_some(ToSqlOutput::Borrowed(ValueRef::Real(number)))
}

/// A float as Postgres writes it: the shortest digits that read back, with an exponent below 1e-04 and from `kind`'s limit.
fn push_float(kind: Kind, number: f64, out: &mut String) {
    if number.is_infinite() {
        out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
        return;
    }
    let shortest = format!("{number:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..kind.exponent_from()).contains(&exponent) {
        let _ = write!(out, "{number}"); // Rust's plain form has the same digits and never an exponent.
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
    }
}

/// The bytes of Postgres' hexadecimal form, `\x` and lower-case digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + bytes.len() * 2);
    out.push_str("\\x");
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_core::row::Row;
    use rusqlite::Connection;

    /// Through a real column and back; `None` when it is not kept in the column.
    fn through(connection: &Connection, kind: Kind, value: Value<'_>) -> Option<Row> {
        let declared = kind.declared();
        connection.execute_batch(&format!("drop table if exists t; create table t (v {declared})")).expect("valid");
        connection.execute("insert into t values (?)", [encode(kind, value)?]).expect("valid");
        let mut row = RowBuilder::default();
        let read = connection
            .query_row("select v from t", [], |got| Ok(decode(kind, got.get_ref(0)?, &mut row, &mut String::new())));
        assert_eq!(read, Ok(true), "{kind:?} {value:?}");
        Some(row.finish())
    }

    #[test]
    fn text_comes_back_as_it_was() {
        let connection = Connection::open_in_memory().expect("opens");
        let kept = [
            (Kind::Bool, &["t", "f"][..]),
            (Kind::Int, &["0", "-1", "32767", "9223372036854775807", "-9223372036854775808"]),
            (Kind::Float8, &["0", "1", "-1.5", "0.1", "1e+15", "123456789012345", "1e-05", "0.0001", "1e+20", "NaN"]),
            (Kind::Float8, &["Infinity", "-Infinity", "1.7976931348623157e+308", "5e-324", "-2.2250738585072014e-308"]),
            (Kind::Float4, &["1e+06", "999999", "0.1", "3.4028235e+38", "1e-45", "1.5e+10", "123456"]),
            (Kind::Bytes, &["\\x", "\\x00ff10"]),
            (Kind::Text, &["", "05", "1e5", " x ", "\u{1f42d}", "{\"a\": 1}", "2026-01-01 00:00:00+00", "1.50"]),
        ];
        for (kind, texts) in kept {
            for text in texts {
                let value = Value::Text(text);
                assert_eq!(through(&connection, kind, value), Some(Row::of([value])), "{kind:?} {text:?}");
            }
            assert_eq!(through(&connection, kind, Value::Null), Some(Row::of([Value::Null])));
        }
    }

    #[test]
    fn what_would_not_come_back_is_told() {
        let connection = Connection::open_in_memory().expect("opens");
        let lost = [
            (Kind::Bool, &["true", ""][..]),
            (Kind::Int, &["05", "+1", "-0", "", "9223372036854775808", "1.0", "x"]),
            (Kind::Float8, &["-0", "1.0", "1e5", "nan", "inf", "", "1e+015", "0.10000000000000001"]),
            (Kind::Float4, &["1000000", "1e+6"]),
            (Kind::Bytes, &["", "x00", "\\x0", "\\xAB", "\\xg0"]),
        ];
        for (kind, texts) in lost {
            for text in texts {
                assert_eq!(through(&connection, kind, Value::Text(text)), None, "{kind:?} {text:?}");
            }
        }
        for kind in [Kind::Text, Kind::Int, Kind::Bytes] {
            assert_eq!(encode(kind, Value::Unchanged), None);
            assert_eq!(encode(kind, Value::Omitted(9)), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_float_and_every_text_comes_back(bits: u64, text in ".{0,12}") {
            let connection = Connection::open_in_memory().expect("opens");
            let mut float = String::new();
            push_float(Kind::Float8, f64::from_bits(bits), &mut float);
            for (kind, text) in [(Kind::Float8, &float), (Kind::Text, &text), (Kind::Int, &text), (Kind::Float8, &text)] {
                let value = Value::Text(text);
                let back = through(&connection, kind, value);
                proptest::prop_assert!(back.is_none() || back == Some(Row::of([value])));
                proptest::prop_assert!(back.is_some() || kind != Kind::Text);
            }
        }
    }
}
