use super::*;
use crate::change::{Change, Chunk, Column, Page, Relation, Transaction};
use crate::fault::{FaultCode, PeerFault, ResyncReason};
use crate::position::Lsn;
use crate::row::{Row, Value};
use crate::session::{BackfillId, ClientId};
use crate::wire::{ClientMessage, Hello, Resume, Secret, ServerMessage};
use proptest::prelude::*;
use std::sync::Arc;

fn relation() -> Arc<Relation> {
    let column = |name: &str, type_oid, type_name: &str, key| Column {
        name: name.into(),
        type_oid,
        type_name: type_name.into(),
        key,
    };
    Arc::new(Relation::new(
        "public",
        "a.b",
        vec![
            column("id", 20, "int8", true),
            column("done", 16, "bool", false),
            column("n", 23, "int4", false),
            column("x", 701, "float8", false),
            column("text", 25, "text", false),
        ],
    ))
}

fn waypoint() -> Waypoint {
    Waypoint {
        era: Era { counter: 3, id: 0x9f86_d081_884c_7d65 },
        schema: SchemaVersion(2),
        position: Position::after(Lsn(0x16B_3748)),
        xid: Xid(1 << 60),
        committed_at: CommitTime(1_700_000_000_000_001),
    }
}

fn page(changes: Vec<Change>) -> Page {
    let transaction = Transaction {
        commit_lsn: Lsn(0x16B_3748),
        end_lsn: Lsn::ZERO,
        xid: Xid(1 << 60),
        committed_at: CommitTime(1_700_000_000_000_001),
        first: 0,
        complete: true,
        changes: changes.into(),
    };
    Page { after: Position::ZERO, through: waypoint(), relations: [relation()].into(), transactions: vec![transaction] }
}

fn row<'a>(values: impl IntoIterator<Item = Value<'a>>) -> Row {
    Row::of(values)
}

fn all_changes() -> Vec<Change> {
    let id = relation().id;
    let full = || {
        row([
            Value::Text("9007199254740993"),
            Value::Text("t"),
            Value::Text("-7"),
            Value::Text("1e+20"),
            Value::Text("\"é\n"),
        ])
    };
    let key = || row([Value::Text("9007199254740993")]);
    vec![
        Change::Insert { relation: id, row: full() },
        Change::Update {
            relation: id,
            row: row([Value::Text("1"), Value::Null, Value::Omitted(9_000_000), Value::Text("NaN"), Value::Unchanged]),
        },
        Change::Move { relation: id, old_key: key(), row: full() },
        Change::Delete { relation: id, key: key() },
        Change::Truncate { relation: id },
    ]
}

#[test]
fn a_page_reads_like_the_protocol() {
    let text = encode_server(&ServerMessage::Page(Arc::new(page(all_changes()))));
    let id = relation().id.0;
    let expected = format!(
        concat!(
            r#"{{"type":"page","after":"0/0","through":{{"era":"3-9f86d081884c7d65","schema":2,"position":"0/16B3748","#,
            r#""xid":"1152921504606846976","committed_at_us":1700000000000001}},"transactions":[{{"commit_lsn":"0/16B3748","#,
            r#""xid":"1152921504606846976","committed_at_us":1700000000000001,"changes":["#,
            r#"["i",{0},["9007199254740993",true,-7,1e+20,"\"é\n"]],["u",{0},["1",null,{{"omitted":9000000}},"NaN",{{}}]],"#,
            r#"["m",{0},["9007199254740993"],["9007199254740993",true,-7,1e+20,"\"é\n"]],["d",{0},["9007199254740993"]],["t",{0}]]}}]}}"#,
        ),
        id
    );
    assert_eq!(text, expected);
}

#[test]
fn every_server_message_comes_back_as_it_was() {
    let mut piece = page(all_changes());
    piece.transactions[0].first = 7;
    piece.transactions[0].complete = false;
    let seam = Page { after: Position::ZERO, through: Waypoint::default(), ..page(all_changes()) };
    let rows = vec![row([Value::Text("1"), Value::Text("f"), Value::Null, Value::Text("Infinity"), Value::Text("")])];
    let backfill = BackfillId(u64::MAX);
    let messages = [
        ServerMessage::Schema(relation()),
        ServerMessage::Welcome {
            client: ClientId::new("c-1").expect("valid"),
            era: waypoint().era,
            schema: SchemaVersion(2),
            head: waypoint().position,
            from: Some(waypoint()),
            credential_expires_in_ms: Some(3_600_000),
        },
        ServerMessage::Credential { expires_in_ms: Some(7) },
        ServerMessage::Credential { expires_in_ms: None },
        ServerMessage::Chunk { backfill, n: 3, of: 9, chunk: Arc::new(Chunk { relation: relation(), rows }) },
        ServerMessage::Seam { backfill, n: 4, page: Some(Arc::new(seam)), complete: None },
        ServerMessage::Seam { backfill, n: 5, page: None, complete: Some(waypoint()) },
        ServerMessage::Page(Arc::new(page(all_changes()))),
        ServerMessage::Page(Arc::new(piece)),
        ServerMessage::Live,
        ServerMessage::Resync { reason: ResyncReason::SchemaChanged },
        ServerMessage::Fault(PeerFault::new(FaultCode::TooLarge, "a frame of 3 MB; the most is 64 KB")),
    ];
    let mut decoder = ServerDecoder::default();
    for message in messages {
        assert_eq!(decoder.decode(&encode_server(&message)), Ok(message));
    }
}

#[test]
fn every_client_message_comes_back_as_it_was() {
    let hello = |scope, resume| {
        ClientMessage::Hello(Hello {
            client: ClientId::new("c-1").expect("valid"),
            instance: Some(u64::MAX),
            attempt: 2,
            token: Some("secret".into()),
            scope,
            resume,
        })
    };
    for message in [
        hello(Scope::All, Resume::Nothing),
        hello(Scope::tables(["public.a".into()]), Resume::Stored),
        hello(Scope::All, Resume::At(waypoint())),
        ClientMessage::Ack { through: waypoint() },
        ClientMessage::Staged { backfill: BackfillId(u64::MAX), n: 9 },
        ClientMessage::Bye,
        ClientMessage::Credential(Secret::new("a credential")),
    ] {
        assert_eq!(decode_client(&encode_client(&message)), Ok(message));
    }
}

#[test]
fn what_is_no_message_is_refused_in_words() {
    let why = |text: &str| decode_client(text).expect_err("no message").why;
    assert_eq!(why("nonsense"), "this is not JSON (line 1, column 2)");
    assert_eq!(why(r#"{"type":"welcome"}"#), "a client's message is of type hello, ack, staged, credential or bye");
    assert_eq!(
        why(r#"{"type":"hello","client":"a","attempt":0,"scope":[],"resume":null}"#),
        r#"scope is "all" or a list of 1 to 256 tables, each "schema.table""#
    );
    let unknown = r#"{"type":"chunk","backfill":"1","n":0,"schema":9,"rows":[]}"#;
    assert!(ServerDecoder::default().decode(unknown).is_err(), "its schema was not sent");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".*") {
        let _ = decode_client(&text);
        let _ = ServerDecoder::default().decode(&text);
    }

    #[test]
    fn a_damaged_message_is_answered(cut in 0usize..400, byte in any::<u8>()) {
        let mut text = encode_server(&ServerMessage::Page(Arc::new(page(all_changes())))).into_bytes();
        let at = cut % text.len();
        text[at] = byte;
        let mut decoder = ServerDecoder::default();
        decoder.decode(&encode_server(&ServerMessage::Schema(relation()))).expect("a schema");
        if let Ok(text) = std::str::from_utf8(&text) {
            let _ = decoder.decode(text);
            let _ = decoder.decode(&text[..text.floor_char_boundary(at)]);
        }
    }

    #[test]
    fn any_text_value_survives(text in "\\PC*|[\\x00-\\x7f]*", oid in prop::sample::select(vec![16u32, 20, 23, 25, 701, 1700])) {
        let column = Column { name: "c".into(), type_oid: oid, type_name: "any".into(), key: true };
        let relation = Arc::new(Relation::new("public", "t", vec![column]));
        let rows = vec![row([Value::Text(&text)])];
        let message = ServerMessage::Chunk { backfill: BackfillId(1), n: 0, of: 1, chunk: Arc::new(Chunk { relation: Arc::clone(&relation), rows }) };
        let mut decoder = ServerDecoder::default();
        decoder.decode(&encode_server(&ServerMessage::Schema(relation))).expect("a schema");
        prop_assert_eq!(decoder.decode(&encode_server(&message)), Ok(message));
    }
}
