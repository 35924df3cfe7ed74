//! What a lean client takes from a server's message: positions, counts and numbers, no rows.

use dormouse_core::position::Position;
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::rc::Rc;

/// The table whose rows are numbered.
const TABLE: &str = "public.bench";

/// A message, as far as it matters.
#[derive(Debug)]
pub(super) enum Message {
    Welcome,
    Page(Page),
    Chunk {
        backfill: String,
        n: u32,
        rows: u64,
        ids: u64,
    },
    Seam {
        backfill: String,
        n: u32,
        numbers: Vec<u32>,
        complete: Option<Place>,
    },
    Live,
    Resync,
    Fault(String),
    /// The shape of the numbered table.
    Shape(u64),
    Other,
}

/// A waypoint, as it came and as a position.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) text: Rc<str>,
}

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) after: Position,
    pub(super) through: Place,
    pub(super) transactions: Vec<Transaction>,
    /// The numbers of all rows, in order.
    pub(super) numbers: Vec<u32>,
}

/// One transaction of a page, or a piece of it.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Its first change's place.
    pub(super) first: Position,
    /// How many of the page's numbers are its own.
    pub(super) numbers: usize,
}

#[derive(Deserialize)]
struct Json<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    after: Option<&'a str>,
    #[serde(borrow)]
    through: Option<&'a RawValue>,
    #[serde(borrow)]
    complete: Option<&'a RawValue>,
    #[serde(default, borrow)]
    transactions: Vec<TransactionJson<'a>>,
    #[serde(borrow)]
    backfill: Option<&'a str>,
    n: Option<u32>,
    #[serde(default)]
    rows: Rows,
    code: Option<String>,
    id: Option<u64>,
    relation: Option<String>,
}

#[derive(Deserialize)]
struct TransactionJson<'a> {
    commit_lsn: &'a str,
    #[serde(default)]
    first: u32,
    /// Parsed once for all clients that are sent it.
    #[serde(default, borrow)]
    changes: Vec<Vec<&'a RawValue>>,
}

/// Parses a message; `shape` is the numbered table's.
pub(super) fn parse(text: &str, shape: u64) -> Result<Message, String> {
    let json: Json<'_> = serde_json::from_str(text).map_err(|why| format!("a message that is none: {why}"))?;
    let missing = |what: &str| format!("a {} without {what}", json.kind);
    let numbers_of = |one: &TransactionJson<'_>| {
        one.changes.iter().filter_map(|change| number_of(change, shape)).collect::<Vec<_>>()
    };
    let numbers = || json.transactions.iter().flat_map(numbers_of).collect();
    Ok(match json.kind {
        "page" => {
            let transactions = json.transactions.iter().map(|transaction| {
                let first = position(transaction.commit_lsn)?;
                let first = Position { index: transaction.first, ..first };
                Ok(Transaction { first, numbers: numbers_of(transaction).len() })
            });
            Message::Page(Page {
                after: position(json.after.ok_or_else(|| missing("after"))?)?,
                through: place(json.through.ok_or_else(|| missing("through"))?)?,
                transactions: transactions.collect::<Result<_, String>>()?,
                numbers: numbers(),
            })
        }
        "chunk" => Message::Chunk {
            backfill: json.backfill.ok_or_else(|| missing("backfill"))?.to_owned(),
            n: json.n.ok_or_else(|| missing("n"))?,
            rows: json.rows.count,
            ids: json.rows.ids,
        },
        "seam" => Message::Seam {
            backfill: json.backfill.ok_or_else(|| missing("backfill"))?.to_owned(),
            n: json.n.ok_or_else(|| missing("n"))?,
            numbers: numbers(),
            complete: json.complete.map(place).transpose()?,
        },
        "schema" if json.relation.as_deref() == Some(TABLE) => Message::Shape(json.id.ok_or_else(|| missing("id"))?),
        "welcome" => Message::Welcome,
        "live" => Message::Live,
        "resync" => Message::Resync,
        "error" => Message::Fault(json.code.ok_or_else(|| missing("code"))?),
        _ => Message::Other,
    })
}

fn position(text: &str) -> Result<Position, String> {
    text.parse().map_err(|why| format!("{text}: {why}"))
}

fn place(raw: &RawValue) -> Result<Place, String> {
    #[derive(Deserialize)]
    struct Waypoint<'a> {
        position: &'a str,
    }
    let waypoint: Waypoint<'_> = serde_json::from_str(raw.get()).map_err(|why| format!("a waypoint: {why}"))?;
    Ok(Place { position: position(waypoint.position)?, text: raw.get().into() })
}

/// The number in the second column of a change's new row, if the change is of this shape and has one.
fn number_of(change: &[&RawValue], shape: u64) -> Option<u32> {
    let [operation, of, .., row] = change else { return None };
    if operation.get() == "\"d\"" || of.get().parse() != Ok(shape) {
        return None;
    }
    let row: Vec<&RawValue> = serde_json::from_str(row.get()).ok()?;
    row.get(1)?.get().parse().ok()
}

/// Rows of a snapshot: how many, and the sum of what is in their first column, where that is a number.
#[derive(Default)]
struct Rows {
    count: u64,
    ids: u64,
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Rows;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("rows")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rows, A::Error> {
                let mut rows = Rows::default();
                while let Some(id) = seq.next_element_seed(IdentifiedRow)? {
                    rows.count += 1;
                    rows.ids = rows.ids.wrapping_add(id);
                }
                Ok(rows)
            }
        }
        deserializer.deserialize_seq(All)
    }
}

struct IdentifiedRow;

impl<'de> DeserializeSeed<'de> for IdentifiedRow {
    type Value = u64;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for IdentifiedRow {
    type Value = u64;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<u64, A::Error> {
        let id = seq.next_element::<&RawValue>()?.and_then(|token| token.get().trim_matches('"').parse().ok());
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(id.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROUGH: &str = r#"{"era":"1-00000000000000e1","schema":1,"position":"0/20","xid":"7","committed_at_us":1}"#;

    #[test]
    fn of_a_page_the_places_and_the_numbers_of_one_table_are_taken() {
        let text = format!(
            r#"{{"type":"page","after":"0/10","through":{THROUGH},"new":[1],"transactions":[
            {{"commit_lsn":"0/20","xid":"7","committed_at_us":1,"changes":[["i",5,["1",41,"a\"],["]],
            ["m",5,["1"],["2",42,{{}}]],["d",5,["2"]],["t",5],["u",6,["1",43]]]}}]}}"#
        );
        let Ok(Message::Page(page)) = parse(&text, 5) else { panic!("a page") };
        assert_eq!((page.after.to_string(), page.through.position.to_string()), ("0/10".into(), "0/20".into()));
        assert_eq!(&*page.through.text, THROUGH);
        assert_eq!(page.numbers, [41, 42]);
        assert_eq!(page.transactions.iter().map(|one| one.numbers).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn of_a_backfill_rows_are_counted_and_the_end_is_found() {
        let chunk = r#"{"type":"chunk","backfill":"7","n":3,"schema":5,"rows":[["1",0,"x"],["20",0,"]"]]}"#;
        let Ok(Message::Chunk { rows, ids, n, .. }) = parse(chunk, 5) else { panic!("a chunk") };
        assert_eq!((rows, ids, n), (2, 21, 3));
        let seam = format!(r#"{{"type":"seam","backfill":"7","n":4,"complete":{THROUGH}}}"#);
        let Ok(Message::Seam { complete: Some(place), .. }) = parse(&seam, 5) else { panic!("its end") };
        assert_eq!(place.position.to_string(), "0/20");
        assert!(parse("pong", 5).is_err() && parse(r#"{"type":"page"}"#, 5).is_err());
    }
}
