//! Drops contents on the way into a recording, and keeps lengths.
//!
//! The machines never look into rows, and of other texts they only ask whether they are equal. So what they decide is the
//! same when every value of a row is replaced by as many `x`, every sentence of a failure likewise, and every definition of a
//! column by a number that stands for it. It is done while a value is serialized, by the names of its types, so that inputs,
//! commands and whole machines are treated alike: [`wrap`] a value, and serialize that.
//!
//! What stays: names of tables and columns, client ids, positions, times, lengths, which values are NULL.

mod adapter;

use adapter::Adapter;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Begins a text that stands for another. Postgres' own texts hold no NUL.
const STANDS_FOR: char = '\0';

/// Which numbers stand for which texts. One serves a whole recording: equal texts stay equal in it.
#[derive(Debug, Default)]
pub struct Redaction {
    /// Grows by each distinct definition of a column that the server meets.
    numbers: Mutex<BTreeMap<String, usize>>,
}

/// A value whose contents are dropped when it is serialized.
#[derive(Debug)]
pub struct Redacted<'a, T> {
    value: &'a T,
    redaction: &'a Redaction,
}

/// Wraps a value. Redacting twice is the same as once.
pub const fn wrap<'a, T: Serialize>(value: &'a T, redaction: &'a Redaction) -> Redacted<'a, T> {
    Redacted { value, redaction }
}

impl<T: Serialize> Serialize for Redacted<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Adapter { inner: serializer, texts: Texts::Stay, redaction: self.redaction })
    }
}

/// What becomes of the texts in a part of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    /// Names, ids, codes.
    Stay,
    /// Sentences that may quote a row: as many `x` as they have bytes.
    Fill,
    /// What is compared with its like: a number that stands for it.
    Number,
}

impl Texts {
    /// In a field of a struct.
    fn of_field(name: &str, field: &str) -> Self {
        match (name, field) {
            // Postgres quotes values in its errors, and the machines carry its errors on.
            ("Malformed", "why") | ("PeerFault" | "Halt", "message") | ("Outside", "trouble") => Self::Fill,
            // Defaults and the values that stand in for missing ones are SQL, with literals.
            ("TableFingerprint", "columns" | "defaults") => Self::Number,
            _ => Self::Stay,
        }
    }

    /// In a variant of an enum.
    fn of_variant(name: &str) -> Self {
        if name == "Failure" { Self::Fill } else { Self::Stay }
    }

    /// The stricter of what holds around and what holds here.
    const fn within(self, outer: Self) -> Self {
        match outer {
            Self::Stay => self,
            Self::Fill | Self::Number => outer,
        }
    }
}

impl Redaction {
    fn text<'t>(&self, text: &'t str, texts: Texts) -> Cow<'t, str> {
        match texts {
            Texts::Stay => text.into(),
            Texts::Fill => "x".repeat(text.len()).into(),
            Texts::Number if text.starts_with(STANDS_FOR) => text.into(),
            Texts::Number => {
                let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
                let next = numbers.len();
                let number = numbers.entry(text.to_owned()).or_insert(next);
                format!("{STANDS_FOR}{number}").into()
            }
        }
    }
}

/// A row's bytes with every text filled. Rows are the only byte strings that the machines hold.
fn row(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some(kind) = out.get(at) {
        let length = |at: usize| out.get(at + 1..at + 5).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        at = match (kind, length(at)) {
            (b't', Some(length)) => {
                let end = (at + 5).saturating_add(length as usize).min(out.len());
                out[at + 5..end].fill(b'x');
                end
            }
            (b'o', Some(_)) => at + 5,
            (b'n' | b'u', _) => at + 1,
            _ => {
                out[at..].fill(b'n'); // No row: keep nothing of it.
                out.len()
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_core::ask::{Answer, AskId, Incarnation};
    use dormouse_core::change::{Change, RelationId};
    use dormouse_core::fault::{Failure, FaultCode, Halt, Malformed, PeerFault};
    use dormouse_core::replication::{Input, ReadSource};
    use dormouse_core::row::{Row, Value};
    use dormouse_core::source::{SourceItem, TableFingerprint};
    use serde::de::DeserializeOwned;

    fn redacted<T: Serialize + DeserializeOwned>(value: &T, redaction: &Redaction) -> T {
        let bytes = postcard::to_stdvec(&wrap(value, redaction)).expect("it has a form");
        postcard::from_bytes(&bytes).expect("it is of the same type")
    }

    fn read(reply: Result<Vec<SourceItem>, Failure>) -> Input {
        Input::SourceRead(Answer::<ReadSource> { id: AskId { incarnation: Incarnation(1), n: 2 }, reply })
    }

    #[test]
    fn a_row_keeps_its_lengths_and_nothing_else() {
        let row = Row::of([Value::Text("sécret"), Value::Null, Value::Omitted(9), Value::Unchanged, Value::Text("")]);
        let dropped =
            Row::of([Value::Text("xxxxxxx"), Value::Null, Value::Omitted(9), Value::Unchanged, Value::Text("")]);
        let insert = |row: &Row| {
            read(Ok(vec![SourceItem::Change(Change::Insert { relation: RelationId(3), row: row.clone() })]))
        };
        assert_eq!(redacted(&insert(&row), &Redaction::default()), insert(&dropped));
    }

    #[test]
    fn sentences_that_may_quote_a_row_are_filled() {
        let redaction = Redaction::default();
        let failure = redacted(&read(Err(Failure::Refused("Key (email)=(a@b)".into()))), &redaction);
        assert_eq!(failure, read(Err(Failure::Refused("x".repeat(17)))));
        let fault = PeerFault::new(FaultCode::Malformed, "a@b");
        assert_eq!(redacted(&fault, &redaction), PeerFault::new(FaultCode::Malformed, "xxx"));
        let halt = Halt { code: "refused".into(), message: "a@b".into() };
        assert_eq!(redacted(&halt, &redaction), Halt { code: "refused".into(), message: "xxx".into() });
        assert_eq!(redacted(&Malformed { why: "a@b".into() }, &redaction), Malformed { why: "xxx".into() });
    }

    #[test]
    fn definitions_stay_as_equal_as_they_were() {
        let table = |default: &str| TableFingerprint {
            oid: 1,
            relfilenode: 1,
            definitions: 1,
            membership: 1,
            shape: 1,
            columns: vec!["id 23".into(), format!("name 25 {default}")],
            key: vec!["id".into()],
            defaults: vec![format!("name='{default}'")],
        };
        let redaction = Redaction::default();
        let (one, same, other) =
            (redacted(&table("a"), &redaction), redacted(&table("a"), &redaction), redacted(&table("b"), &redaction));
        assert_eq!(one, same);
        assert_ne!(one.defaults, other.defaults);
        assert_ne!(one.columns, other.columns);
        assert_eq!(one.columns[0], other.columns[0]);
        assert!(!format!("{one:?}").contains("name="), "{one:?}");
        assert_eq!(redacted(&one, &Redaction::default()), one, "what stands for something stays");
    }

    #[test]
    fn what_is_no_row_is_dropped_whole() {
        assert_eq!(row(b"zsecret"), b"nnnnnnn");
        assert_eq!(row(b"t\0\0\0\xffcut"), b"t\0\0\0\xffxxx");
        assert_eq!(row(b"nt\0\0"), b"nnnn");
    }
}
