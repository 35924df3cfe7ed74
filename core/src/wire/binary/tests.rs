use super::*;
use crate::change::{Change, Chunk, Column, Page, Relation, Transaction};
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use crate::row::{Row, Value};
use crate::session::BackfillId;
use crate::wire::json::{self, ServerDecoder};
use crate::wire::{ClientMessage, ServerMessage};
use crate::xid::Xid;
use proptest::prelude::*;
use std::sync::Arc;

fn relation(name: &str) -> Arc<Relation> {
    let column = |name: &str, type_oid, key| Column { name: name.into(), type_oid, type_name: String::new(), key };
    Arc::new(Relation::new(
        "public",
        name,
        vec![column("id", 20, true), column("n", 23, false), column("place", 25, true), column("text", 25, false)],
    ))
}

fn shapes() -> ServerDecoder {
    let mut decoder = ServerDecoder::default();
    for name in ["a", "b"] {
        let told = json::encode_server(&ServerMessage::Schema(relation(name)));
        decoder.decode(&told).expect("a schema");
    }
    decoder
}

fn values(key: bool) -> impl Strategy<Value = Row> {
    let text = prop_oneof!["[0-9]{1,8}", ".{0,200}"];
    let value = prop_oneof![
        4 => text.prop_map(Some),
        1 => Just(None),
    ];
    let marker = any::<u32>();
    (prop::collection::vec(value, if key { 2 } else { 4 }), marker).prop_map(|(values, marker)| {
        Row::of(values.iter().map(|value| match value {
            Some(text) => Value::Text(text),
            None if marker % 3 == 0 => Value::Null,
            None if marker % 3 == 1 => Value::Unchanged,
            None => Value::Omitted(marker),
        }))
    })
}

fn change() -> impl Strategy<Value = Change> {
    let relation = prop_oneof![Just(relation("a").id), Just(relation("b").id)];
    (relation, 0..5, values(false), values(true)).prop_map(|(relation, operation, row, key)| match operation {
        0 => Change::Insert { relation, row },
        1 => Change::Update { relation, row },
        2 => Change::Move { relation, old_key: key, row },
        3 => Change::Delete { relation, key },
        _ => Change::Truncate { relation },
    })
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u32>()).prop_map(|(lsn, index)| Position { commit_lsn: Lsn(lsn), index })
}

fn waypoint() -> impl Strategy<Value = Waypoint> {
    (any::<(u32, u64, u32, u64, i64)>(), position()).prop_map(|((counter, id, schema, xid, time), position)| Waypoint {
        era: Era { counter, id },
        schema: SchemaVersion(schema),
        position,
        xid: Xid(xid),
        committed_at: CommitTime(time),
    })
}

fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
    let transaction = (any::<(u64, u64, i64, u32, bool)>(), prop::collection::vec(change(), 0..5)).prop_map(
        |((lsn, xid, time, first, complete), changes)| Transaction {
            commit_lsn: Lsn(lsn),
            end_lsn: Lsn::ZERO,
            xid: Xid(xid),
            committed_at: CommitTime(time),
            first: first % 5,
            complete,
            changes: changes.into(),
        },
    );
    prop::collection::vec(transaction, 0..4)
}

/// A page with the shapes that it uses, as a decoder of JSON lists them.
fn page_of(after: Position, through: Waypoint, transactions: Vec<Transaction>) -> Page {
    let mut relations: Vec<Arc<Relation>> = Vec::new();
    for change in transactions.iter().flat_map(|transaction| transaction.changes.iter()) {
        if relations.iter().all(|relation| relation.id != change.relation()) {
            let names = ["a", "b"];
            let used = names.iter().map(|name| relation(name)).find(|relation| relation.id == change.relation());
            relations.push(used.expect("there are two"));
        }
    }
    Page { after, through, relations: relations.into(), transactions }
}

fn server() -> impl Strategy<Value = ServerMessage> {
    let page = (position(), waypoint(), transactions())
        .prop_map(|(after, through, all)| ServerMessage::Page(Arc::new(page_of(after, through, all))));
    let seam = (any::<(u64, u32)>(), prop::option::of(transactions()), prop::option::of(waypoint())).prop_map(
        |((backfill, n), all, complete)| ServerMessage::Seam {
            backfill: BackfillId(backfill),
            n,
            page: all.map(|all| Arc::new(page_of(Position::ZERO, Waypoint::default(), all))),
            complete,
        },
    );
    let chunk =
        (any::<(u64, u32, u64)>(), prop::collection::vec(values(false), 0..6)).prop_map(|((backfill, n, of), rows)| {
            let chunk = Arc::new(Chunk { relation: relation("a"), rows });
            ServerMessage::Chunk { backfill: BackfillId(backfill), n, of, chunk }
        });
    prop_oneof![page, seam, chunk]
}

proptest! {
    #[test]
    fn a_message_comes_back_as_it_was_and_as_from_json(message in server()) {
        let bytes = encode_server(&message).expect("it travels in binary");
        prop_assert_eq!(decode_server(&bytes, &shapes()), Ok(message.clone()));
        let text = json::encode_server(&message);
        prop_assert_eq!(shapes().decode(&text), Ok(message));
    }

    /// The page of a seam was read from history, and stands somewhere; its transactions arrive as they were all the same.
    #[test]
    fn a_seams_transactions_do_not_depend_on_where_its_page_stands(
        after in position(),
        through in waypoint(),
        all in transactions(),
    ) {
        let page = |after, through| Some(Arc::new(page_of(after, through, all.clone())));
        let seam = |page| ServerMessage::Seam { backfill: BackfillId(1), n: 2, page, complete: None };
        let told = seam(page(Position::ZERO, Waypoint::default()));
        let sent = seam(page(after, through));
        let bytes = encode_server(&sent).expect("it travels in binary");
        prop_assert_eq!(decode_server(&bytes, &shapes()), Ok(told.clone()));
        prop_assert_eq!(shapes().decode(&json::encode_server(&sent)), Ok(told));
    }

    #[test]
    fn a_clients_message_comes_back_as_it_was(through in waypoint(), backfill in any::<u64>(), n in any::<u32>()) {
        for message in [ClientMessage::Ack { through }, ClientMessage::Staged { backfill: BackfillId(backfill), n }] {
            let bytes = encode_client(&message).expect("it travels in binary");
            prop_assert_eq!(decode_client(&bytes), Ok(message));
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_client(&bytes);
        let _ = decode_server(&bytes, &shapes());
    }

    #[test]
    fn a_damaged_message_is_answered(message in server(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode_server(&message).expect("it travels in binary");
        let at = at.index(bytes.len());
        let cut = decode_server(&bytes[..at], &shapes());
        prop_assert!(cut.is_err(), "a message that is cut off is noticed");
        bytes[at] = byte;
        let _ = decode_server(&bytes, &shapes());
    }
}

#[test]
fn what_is_rare_travels_as_text() {
    assert_eq!(encode_server(&ServerMessage::Live), None);
    assert_eq!(encode_client(&ClientMessage::Bye), None);
}

#[test]
fn the_layout_is_that_of_the_protocol() {
    assert_eq!(
        encode_client(&ClientMessage::Staged { backfill: BackfillId(300), n: 7 }).as_deref(),
        Some(&[5, 0xac, 0x02, 7][..])
    );
    let chunk = Chunk { relation: relation("a"), rows: vec![Row::of([Value::Text("hi"), Value::Null])] };
    let body = chunk_body(&chunk);
    let rows = &body[body.len() - 7..];
    assert_eq!(rows, [1, 5, b'h', b'i', 0, 0, 0], "one row: a text of two bytes, NULL, and NULL for what it lacks");
}

#[test]
fn a_number_over_64_bits_and_a_count_over_what_came_are_refused() {
    let refused = |bytes: &[u8]| decode_client(bytes).expect_err("refused").why;
    let mut long = vec![5];
    long.extend([0xff; 9]);
    long.extend([2, 0]);
    assert_eq!(refused(&long), "a number has more than 64 bits");
    assert_eq!(refused(&[5, 1, 1, 0]), "bytes follow a message's end");
    let mut page = vec![3, 0, 0, 0];
    page.extend([0; 8]);
    page.extend([0, 0, 0, 0, 0, 0xff, 0xff, 3]);
    let answer = decode_server(&page, &shapes()).expect_err("refused").why;
    assert_eq!(answer, "a message ends too early");
}
