use super::*;
use crate::change::Change;
use crate::row::Value;
use crate::source::SourceItem;
use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

/// Builds messages as the server sends them.
#[derive(Default)]
struct Build(BytesMut);

impl Build {
    fn kind(kind: u8) -> Self {
        Self(BytesMut::from(&[kind][..]))
    }
    fn u8(mut self, n: u8) -> Self {
        self.0.put_u8(n);
        self
    }
    fn u16(mut self, n: u16) -> Self {
        self.0.put_u16(n);
        self
    }
    fn u32(mut self, n: u32) -> Self {
        self.0.put_u32(n);
        self
    }
    fn u64(mut self, n: u64) -> Self {
        self.0.put_u64(n);
        self
    }
    fn text(mut self, text: &str) -> Self {
        self.0.put_slice(text.as_bytes());
        self.u8(0)
    }
    fn row<const N: usize>(mut self, values: [Value<'_>; N]) -> Self {
        self.0.put_u16(u16::try_from(N).expect("few"));
        self.0.put_slice(Row::of(values).bytes());
        self
    }
    fn done(self) -> Bytes {
        self.0.freeze()
    }
}

fn relation(oid: u32, namespace: &str, identity: u8) -> Bytes {
    let all = u8::from(identity == b'f');
    let head = Build::kind(b'R').u32(oid).text(namespace).text("t").u8(identity).u16(3);
    let id = head.u8(1).text("id").u32(20).u32(u32::MAX);
    let body = id.u8(all).text("big").u32(25).u32(u32::MAX);
    body.u8(all).text("mood").u32(70_000).u32(u32::MAX).done()
}

fn begin() -> Bytes {
    Build::kind(b'B').u64(0x50).u64(1_000_000).u32(7).done()
}

fn translate(translator: &mut Translator, messages: &[Bytes]) -> Vec<SourceItem> {
    let mut items = Vec::new();
    for message in messages {
        translator.translate(message, &mut items).expect("valid");
    }
    items
}

fn changes(translator: &mut Translator, messages: &[Bytes]) -> Vec<Change> {
    let changes = translate(translator, messages).into_iter();
    changes.filter_map(|item| if let SourceItem::Change(change) = item { Some(change) } else { None }).collect()
}

use Value::{Null, Text, Unchanged};

#[test]
fn a_transaction_is_translated_in_order() {
    let mut translator = Translator::default();
    let items = translate(
        &mut translator,
        &[
            begin(),
            Build::kind(b'Y').u32(70_000).text("public").text("mood").done(),
            relation(1, "public", b'd'),
            Build::kind(b'I').u32(1).u8(b'N').row([Text("1"), Text("x"), Null]).done(),
            Build::kind(b'C').u8(0).u64(0x50).u64(0x60).u64(1_000_000).done(),
        ],
    );
    let [
        SourceItem::Begin { commit_lsn: Lsn(0x50), committed_at: CommitTime(946_684_801_000_000), xid: 7 },
        SourceItem::Relation(shape),
        SourceItem::Change(Change::Insert { relation, row }),
        SourceItem::Commit { end_lsn: Lsn(0x60) },
    ] = &items[..]
    else {
        panic!("{items:?}")
    };
    assert_eq!(shape.full_name(), "public.t");
    assert_eq!(shape.columns[2].type_name, "mood");
    assert_eq!(*relation, shape.id);
    assert_eq!(*row, Row::of([Text("1"), Text("x"), Null]));
}

#[test]
fn an_update_of_the_key_is_one_move_and_a_kept_key_is_an_update() {
    let mut translator = Translator::default();
    let moved =
        Build::kind(b'U').u32(1).u8(b'K').row([Text("1"), Null, Null]).u8(b'N').row([Text("2"), Unchanged, Null]);
    let kept =
        Build::kind(b'U').u32(1).u8(b'K').row([Text("1"), Null, Null]).u8(b'N').row([Unchanged, Unchanged, Null]);
    let found = changes(&mut translator, &[relation(1, "public", b'd'), moved.done(), kept.done()]);
    let [Change::Move { old_key, row: moved, .. }, Change::Update { row: kept, .. }] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(*old_key, Row::of([Text("1")]));
    assert_eq!(*moved, Row::of([Text("2"), Unchanged, Null]));
    assert_eq!(*kept, Row::of([Text("1"), Unchanged, Null]), "only the key is told by the old row");
}

#[test]
fn identity_full_takes_its_key_from_the_catalogue_and_large_values_from_the_old_row() {
    let mut translator = Translator::default();
    let shape = relation(1, "public", b'f');
    assert_eq!(Translator::needs_keys(&shape), Some(1));
    translator.set_keys(1, vec!["id".into()]);
    let old = [Text("1"), Text("large"), Null];
    let update = Build::kind(b'U').u32(1).u8(b'O').row(old).u8(b'N').row([Text("1"), Unchanged, Text("ok")]);
    let delete = Build::kind(b'D').u32(1).u8(b'O').row(old);
    let found = changes(&mut translator, &[shape, update.done(), delete.done()]);
    let [Change::Update { row, .. }, Change::Delete { key, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*row, Row::of([Text("1"), Text("large"), Text("ok")]));
    assert_eq!(*key, Row::of([Text("1")]));
}

#[test]
fn our_own_schema_is_dropped_and_truncates_name_each_table() {
    let mut translator = Translator::default();
    let messages = [
        relation(1, "public", b'd'),
        relation(2, "dormouse", b'd'),
        Build::kind(b'I').u32(2).u8(b'N').row([Text("1"), Null, Null]).done(),
        Build::kind(b'T').u32(2).u8(0).u32(1).u32(2).done(),
        Build::kind(b'M').u8(0).u64(1).text("dormouse").u32(0).done(),
    ];
    let found = changes(&mut translator, &messages);
    assert!(matches!(found[..], [Change::Truncate { .. }]), "{found:?}");
}

#[test]
fn a_value_over_the_limit_travels_as_its_size() {
    let large = "x".repeat(crate::limits::VALUE_BYTES_MAX + 1);
    let insert = Build::kind(b'I').u32(1).u8(b'N').row([Text("1"), Text(&large), Null]).done();
    let found = changes(&mut Translator::default(), &[relation(1, "public", b'd'), insert]);
    let [Change::Insert { row, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(row.values().nth(1), Some(Value::Omitted(u32::try_from(large.len()).expect("8 MiB"))));
}

#[test]
fn what_does_not_fit_the_stream_is_an_error() {
    let insert = Build::kind(b'I').u32(9).u8(b'N').row([Text("1"), Null, Null]).done();
    let error = Translator::default().translate(&insert, &mut Vec::new()).expect_err("unknown relation");
    assert_eq!(error.to_string(), "cannot decode a pgoutput message of kind 'I': its relation was not introduced");
    let mut translator = Translator::default();
    translate(&mut translator, &[relation(1, "public", b'd')]);
    let narrow = Build::kind(b'I').u32(1).u8(b'N').row([Text("1")]).done();
    assert!(translator.translate(&narrow, &mut Vec::new()).is_err());
    assert!(decode(&Bytes::new()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = decode(&bytes);
        let _ = Translator::needs_keys(&bytes);
        let _ = Translator::default().translate(&bytes, &mut Vec::new());
    }

    #[test]
    fn damaged_messages_are_answered(which in 0usize..4, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let messages = [
            relation(1, "public", b'f'),
            Build::kind(b'U').u32(1).u8(b'K').row([Text("1"), Null, Null]).u8(b'N').row([Text("2"), Unchanged, Null]).done(),
            Build::kind(b'T').u32(1).u8(0).u32(1).done(),
            begin(),
        ];
        let mut bytes = messages[which].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let mut translator = Translator::default();
        translate(&mut translator, &messages[..1]);
        let _ = translator.translate(&Bytes::from(bytes), &mut Vec::new());
    }
}
