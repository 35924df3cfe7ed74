use super::support::{SECOND, World, done, insert, page, record, relation, transaction};
use dormouse_core::change::Scope;
use dormouse_core::change::{Change, Transaction};
use dormouse_core::history::{Head, HistoryRead, ReadHistory};
use dormouse_core::hub::{JudgePosition, Named};
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::replication::{Fenced, LoadProgress, Prune, RaiseSchema, RecordPage, Recorded, SaveCovered, Token};
use dormouse_core::row::{Row, Value};
use dormouse_core::source::{Fingerprints, TableFingerprint};
use dormouse_core::xid::Xid;

async fn append(world: &World, token: Token, head: Head, expect: Position, parts: Vec<Transaction>) -> Recorded {
    let page = page(head, expect, &[relation()], parts);
    world.database.record_page(record(token, head, expect, page)).await.expect("answers")
}

fn whole(head: Head, nth: u64) -> Position {
    Position::after(transaction(head, nth, 0, 1, true).commit_lsn)
}

fn shape(read: &HistoryRead) -> String {
    match read {
        HistoryRead::Page { page, .. } => {
            let parts: Vec<_> = page
                .transactions
                .iter()
                .map(|t| format!("{}+{}{}", t.first, t.changes.len(), if t.complete { "" } else { "…" }))
                .collect();
            parts.join(" ")
        }
        HistoryRead::End { .. } => "end".into(),
        HistoryRead::Pruned { .. } => "pruned".into(),
        HistoryRead::OtherEra { .. } => "other era".into(),
    }
}

#[tokio::test]
async fn every_kind_of_change_comes_back_as_it_was_recorded() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    assert_eq!(world.head().await, head);
    assert_eq!(head.position(), Position::after(Lsn(head.covered.0 - 1)));
    let id = relation().id;
    let key = |text| Row::of([Value::Text(text)]);
    let row = Row::of([Value::Text("2"), Value::Unchanged]);
    let changes = vec![
        insert(1),
        Change::Update { relation: id, row: row.clone() },
        Change::Move { relation: id, old_key: key("1"), row },
        Change::Delete { relation: id, key: key("2") },
        Change::Truncate { relation: id },
    ];
    let sent = Transaction { changes: changes.into(), ..transaction(head, 1, 0, 1, true) };
    let recorded = append(&world, token, head, head.position(), vec![sent.clone()]).await;
    let Recorded::Recorded { reference } = recorded else { panic!("{recorded:?}") };
    let HistoryRead::Page { page, head: now } = world.read(head, head.position(), 100).await else { panic!("no page") };
    let expected = Transaction { xid: Xid::widen(801, reference), ..sent };
    assert_eq!(page.transactions, std::slice::from_ref(&expected));
    assert_eq!(page.relations[..], [relation()]);
    assert_eq!(page.after, head.position());
    assert_eq!(page.through, now.waypoint);
    assert_eq!(now.covered, expected.end_lsn);
    assert_eq!(now, world.head().await);
    assert_eq!(shape(&world.read(head, now.position(), 100).await), "end");
}

#[tokio::test]
async fn recording_is_compare_and_set_under_a_fence() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    let start = head.position();
    let one = || vec![transaction(head, 1, 0, 3, true)];
    assert!(matches!(append(&world, token, head, start, one()).await, Recorded::Recorded { .. }));
    let again = append(&world, token, head, start, one()).await;
    assert!(matches!(again, Recorded::AlreadyAt { position, .. } if position == whole(head, 1)), "{again:?}");
    let newer = world.token().await;
    let two = || vec![transaction(head, 2, 0, 3, true)];
    assert_eq!(append(&world, token, head, whole(head, 1), two()).await, Recorded::Superseded);
    assert!(matches!(append(&world, newer, head, whole(head, 1), two()).await, Recorded::Recorded { .. }));
    assert_eq!(world.text("select count(*)::text from dormouse.change_history").await, "6");
    let q = SaveCovered { token, era: head.era(), covered: Lsn(u64::MAX / 4) };
    assert_eq!(world.database.save_covered(q).await, Ok(Fenced::Superseded));
}

#[tokio::test]
async fn pages_keep_to_their_limits_and_large_transactions_come_in_pieces() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    let mut last = head.position();
    for (n, size) in [(1, 2), (2, 2), (3, 10), (4, 1)] {
        append(&world, token, head, last, vec![transaction(head, n, 0, size, true)]).await;
        last = whole(head, n);
    }
    let mut after = head.position();
    let mut shapes = Vec::new();
    while let HistoryRead::Page { page, head: now } = world.read(head, after, 4).await {
        shapes.push(shape(&HistoryRead::Page { page: page.clone(), head: now }));
        assert_eq!(page.after, after);
        after = page.through.position;
    }
    assert_eq!(shapes, ["0+2 0+2", "0+4…", "4+4…", "8+2", "0+1"]);
    assert_eq!(after, last);

    let until = Some(transaction(head, 2, 0, 1, true).commit_lsn);
    let mut q = ReadHistory { era: head.era(), after: head.position(), until, changes_max: 100, bytes_max: 1 << 20 };
    assert_eq!(shape(&world.database.read_history(q.clone()).await.expect("answers")), "0+2");
    q.until = None;
    q.bytes_max = 1; // One change is always returned.
    assert_eq!(shape(&world.database.read_history(q.clone()).await.expect("answers")), "0+1…");
    q.era = Era { counter: 7, id: 7 };
    assert_eq!(shape(&world.database.read_history(q).await.expect("answers")), "other era");
}

#[tokio::test]
async fn pieces_exist_once_the_last_is_recorded() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    let start = head.position();
    append(&world, token, head, start, vec![transaction(head, 1, 0, 4, false)]).await;
    assert_eq!(shape(&world.read(head, start, 100).await), "end");
    let inside = Position { commit_lsn: transaction(head, 1, 0, 1, true).commit_lsn, index: 3 };
    let again = append(&world, token, head, start, vec![transaction(head, 1, 0, 4, false)]).await;
    assert!(matches!(again, Recorded::AlreadyAt { position, .. } if position == inside), "{again:?}");
    append(&world, token, head, inside, vec![transaction(head, 1, 4, 2, true)]).await;
    assert_eq!(shape(&world.read(head, start, 100).await), "0+6");
    assert_eq!(shape(&world.read(head, inside, 100).await), "4+2");

    // Leftovers of a dead holder are deleted with the next look, which counts them as nothing.
    append(&world, token, head, whole(head, 1), vec![transaction(head, 2, 0, 4, false)]).await;
    let token = world.token().await;
    let progress = done(world.database.load_progress(LoadProgress { token }).await.expect("answers"));
    assert_eq!(progress.expect("an era").head.position(), whole(head, 1));
    let recorded = append(&world, token, head, whole(head, 1), vec![transaction(head, 2, 0, 5, true)]).await;
    assert!(matches!(recorded, Recorded::Recorded { .. }));
    // The weight of a transaction is that of all its pieces, whoever appended them.
    let bytes = "select bytes::text from dormouse.transaction_history order by commit_lsn limit 1";
    let weighed: usize = (0..6).map(|n| insert(n).weight()).sum();
    assert_eq!(world.text(bytes).await, weighed.to_string());
}

#[tokio::test]
async fn a_row_that_does_not_wait_for_the_last_piece_shows_a_part() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    let start = head.position();
    let early = |expect, parts| {
        let q = record(token, head, expect, page(head, expect, &[relation()], parts));
        world.database.record_page(RecordPage { row_last: false, ..q })
    };
    early(start, vec![transaction(head, 1, 0, 4, false)]).await.expect("answers");
    assert_eq!(shape(&world.read(head, start, 100).await), "0+4");
    let inside = Position { commit_lsn: transaction(head, 1, 0, 1, true).commit_lsn, index: 3 };
    let rest = early(inside, vec![transaction(head, 1, 4, 2, true)]).await.expect("answers");
    assert!(matches!(rest, Recorded::Recorded { .. }), "{rest:?}");
    assert_eq!(shape(&world.read(head, start, 100).await), "0+6");
}

#[tokio::test]
async fn a_transaction_finished_by_another_process_is_weighed() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    append(&world, token, head, head.position(), vec![transaction(head, 1, 0, 4, false)]).await;
    let other = crate::db::Database::connect(crate::db::Config::new(world.cluster.url())).await.expect("connects");
    let inside = Position { commit_lsn: transaction(head, 1, 0, 1, true).commit_lsn, index: 3 };
    let page = page(head, inside, &[relation()], vec![transaction(head, 1, 4, 2, true)]);
    other.record_page(record(token, head, inside, page)).await.expect("answers");
    let weighed: usize = (0..6).map(|n| insert(n).weight()).sum();
    let bytes = world.text("select bytes::text from dormouse.transaction_history").await;
    assert_eq!(bytes, weighed.to_string());
}

fn fingerprint(column: &str) -> TableFingerprint {
    let columns = vec![column.into()];
    TableFingerprint {
        oid: 1,
        relfilenode: 2,
        definitions: 3,
        shape: 5,
        membership: 4,
        columns,
        key: Vec::new(),
        defaults: Vec::new(),
    }
}

#[tokio::test]
async fn covered_and_the_schema_number_are_kept() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    let covered = Lsn(head.covered.0 + 500);
    let save = |covered| world.database.save_covered(SaveCovered { token, era: head.era(), covered });
    assert_eq!(save(covered).await, Ok(Fenced::Done(())));
    assert_eq!(save(Lsn(covered.0 - 100)).await, Ok(Fenced::Done(())));
    assert_eq!(world.head().await.covered, covered);
    let tables = |name: &str| Fingerprints::from([("public.t".into(), fingerprint(name))]);
    let ask = |reason: Option<&str>| RaiseSchema {
        token,
        era: head.era(),
        from: head.schema(),
        noted: tables("none"),
        fingerprints: tables(reason.unwrap_or("none")),
        reason: reason.map(String::from),
    };
    let note =
        |noted: &Fingerprints, name| RaiseSchema { noted: noted.clone(), fingerprints: tables(name), ..ask(None) };
    let raise = |question| world.database.raise_schema(question);
    let raised = SchemaVersion(head.schema().0 + 1);
    let nothing = Fingerprints::new();
    assert_eq!(raise(note(&nothing, "other")).await, Ok(Fenced::Done(head.schema())));
    assert_eq!(raise(note(&tables("other"), "none")).await, Ok(Fenced::Done(head.schema())));
    assert_eq!(raise(note(&nothing, "other")).await, Ok(Fenced::Superseded), "it keeps the number, and comes late");
    assert_eq!(raise(ask(None)).await, Ok(Fenced::Done(head.schema())), "asked again after a lost answer");
    assert_eq!(raise(ask(Some("why"))).await, Ok(Fenced::Done(raised)));
    assert_eq!(raise(ask(Some("why"))).await, Ok(Fenced::Done(raised)), "asked again after a lost answer");
    assert_eq!(raise(ask(Some("late"))).await, Ok(Fenced::Superseded), "given up before the other was asked for");
    assert_eq!(raise(ask(None)).await, Ok(Fenced::Superseded));
    let elsewhere = RaiseSchema { era: Default::default(), from: raised, ..ask(Some("later")) };
    assert_eq!(raise(elsewhere).await, Ok(Fenced::Superseded));
    assert_eq!(world.head().await.schema(), raised);
}

#[tokio::test]
async fn a_claim_is_judged_by_what_stands_there() {
    let world = World::new("create table t (id int primary key, v text)").await;
    let (token, head) = world.era().await;
    append(&world, token, head, head.position(), vec![transaction(head, 1, 0, 3, true)]).await;
    let judge = |claim, scope| world.database.judge_position(JudgePosition { claim, scope });
    let first = judge(None, Scope::All).await.expect("answers");
    assert_eq!((first.named, first.horizon), (None, head.position()));
    assert_eq!(first.head, world.head().await);
    let claim = |position| Some(Waypoint { position, ..head.waypoint });
    let start = judge(claim(head.position()), Scope::All).await.expect("answers").named;
    assert_eq!(start, Some(Named { xid: Xid(0), committed_at: CommitTime(0), changes: 0 }));
    let known = judge(claim(whole(head, 1)), Scope::All).await.expect("answers").named.expect("known");
    assert_eq!((known.changes, known.committed_at), (3, CommitTime(1_700_000_000_000_001)));
    assert_eq!(judge(claim(whole(head, 2)), Scope::All).await.expect("answers").named, None);
    let scope = Scope::tables(["public.t".into(), "public.gone".into()]);
    assert_eq!(judge(None, scope).await.expect("answers").unknown_tables, ["public.gone"]);
    let mark = world.text("select pg_current_wal_insert_lsn()::text").await.parse::<Lsn>().expect("an LSN");
    world.sql("create table u ()").await;
    assert!(judge(None, Scope::All).await.expect("answers").mark > mark);
}

#[tokio::test]
async fn pruning_leaves_a_horizon_and_stops_at_what_somebody_needs() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    let mut last = head.position();
    for n in 1..=6 {
        append(&world, token, head, last, vec![transaction(head, n, 0, 3, true)]).await;
        last = whole(head, n);
    }
    // History says that these committed years ago; the ids must have ended for real.
    world.sql("update dormouse.transaction_history set xid = '700'").await;
    let keeper = whole(head, 4).commit_lsn;
    let sql = format!(
        "insert into dormouse.client (id, attempt, epoch, expires_at, era_counter, era_id, schema, commit_lsn, index, xid, \
           committed_at) select 'c', 0, 1, now() + interval '1 h', counter, id, 1, '{keeper}', 4294967295, '700', now() \
         from dormouse.era"
    );
    world.sql(&sql).await;
    let prune = |keep_max| world.database.prune(Prune { token, keep_min: SECOND, keep_max });
    let years = 100 * 365 * 24 * 3_600 * SECOND;
    assert_eq!(done(prune(years).await.expect("answers")), whole(head, 4));
    assert_eq!(shape(&world.read(head, whole(head, 3), 100).await), "pruned");
    assert_eq!(shape(&world.read(head, whole(head, 4), 100).await), "0+3 0+3");
    let judged =
        JudgePosition { claim: Some(Waypoint { position: whole(head, 4), ..head.waypoint }), scope: Scope::All };
    let judged = world.database.judge_position(judged).await.expect("answers");
    assert_eq!((judged.horizon, judged.named.map(|named| named.changes)), (whole(head, 4), Some(3)));
    assert_eq!(world.text("select count(*)::text from dormouse.change_history").await, "6");

    assert_eq!(done(prune(SECOND).await.expect("answers")), whole(head, 6));
    let now = world.head().await;
    assert_eq!(now.position(), whole(head, 6));
    assert_eq!(now.covered, transaction(head, 6, 0, 1, true).end_lsn, "covered does not fall back with the head");
    assert_eq!(shape(&world.read(head, whole(head, 6), 100).await), "end");
    append(&world, token, head, whole(head, 6), vec![transaction(head, 7, 0, 1, true)]).await;
    assert_eq!(shape(&world.read(head, whole(head, 6), 100).await), "0+1");
}
