//! What an application finds in the file, and what of its own survives.

use super::{at, column, open, page_of, transaction};
use crate::client::sqlite::{OpenError, SqliteStore, open_reader};
use crate::client::{Replica, Store};
use dormouse_core::change::{Change, Chunk, Column, Relation, Scope};
use dormouse_core::row::{Row, Value};
use dormouse_core::session::{BackfillId, ClientId};
use dormouse_core::store::StoreRequest;
use rusqlite::Connection;
use std::sync::Arc;

fn relation(schema: &str, name: &str, columns: Vec<Column>) -> Arc<Relation> {
    Arc::new(Relation::new(schema, name, columns))
}

fn orders(extra: Option<&str>) -> Arc<Relation> {
    let mut columns = vec![column("id", 20, true), column("total", 701, false)];
    columns.extend(extra.map(|name| column(name, 25, false)));
    relation("public", "orders", columns)
}

/// A first sync, or a resync, of these rows.
fn sync(store: &mut SqliteStore, lsn: u64, tables: &[(&Arc<Relation>, &[&[&str]])]) {
    let backfill = BackfillId(lsn);
    let mut n = 0;
    for (relation, rows) in tables {
        let rows = rows.iter().map(|row| Row::of(row.iter().map(|text| Value::Text(text)))).collect();
        let chunk = Arc::new(Chunk { relation: Arc::clone(relation), rows });
        store.apply(&StoreRequest::StageChunk { backfill, n, chunk }).expect("stored");
        n += 1;
    }
    store.apply(&StoreRequest::StageSeam { backfill, n, page: None, complete: Some(at(lsn)) }).expect("stored");
}

fn one<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
    connection.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[test]
fn names_never_meet() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder);
    store.connection.execute_batch("create table mine (x)").expect("an application's own");
    let key = |name: &str| vec![column(name, 25, true)];
    let relations = [
        (relation("public", "orders", key("id")), "orders"),
        (relation("public", "Orders", key("id")), "Orders~2"),
        (relation("shop", "orders", key("id")), "shop.orders"),
        (relation("public", "shop.orders", key("id")), "shop.orders~2"),
        (relation("public", "dormouse_state", key("id")), "public.dormouse_state"),
        (relation("sqlite_x", "t", key("id")), "~sqlite_x.t"),
        (relation("public", "mine", key("id")), "mine~2"),
        (relation("public", "select \"x\"", key("from \"a\"")), "select \"x\""),
        (relation("public", "größe", key("ключ")), "größe"),
    ];
    for round in 1..=2 {
        let rows: [&[&str]; 1] = [&["a"]];
        for (n, (relation, _)) in relations.iter().enumerate() {
            let change = Change::Update { relation: relation.id, row: Row::of([Value::Text(rows[0][0])]) };
            let page = page_of(vec![Arc::clone(relation)], transaction(round * 100 + n as u64, 0, true, &[change]));
            store.apply(&StoreRequest::ApplyPage { page }).expect("stored");
        }
        let tables: Vec<_> = relations.iter().map(|(relation, _)| (relation, &rows[..])).collect();
        sync(&mut store, round * 200, &tables);
        for (relation, name) in &relations {
            assert_eq!(store.table_name(&relation.full_name()).map(String::from).as_deref(), Some(*name));
        }
    }
}

#[test]
fn as_many_columns_as_postgres_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder);
    let name = |n: usize| format!("{n}{}", "c".repeat(59));
    let wide = relation("public", "wide", (0..1_600).map(|n| column(&name(n), 25, n == 0)).collect());
    let row: Vec<_> = (0..1_600).map(|n| n.to_string()).collect();
    let row: Vec<_> = row.iter().map(String::as_str).collect();
    sync(&mut store, 10, &[(&wide, &[&row])]);
    assert_eq!(store.verify_sum().expect("readable"), Ok(()));
    assert_eq!(one::<String>(&store.connection, &format!("select \"{}\" from wide", name(1_599))), "1599");
}

#[test]
fn what_an_application_adds_survives_a_resync_that_its_readers_see_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder);
    sync(&mut store, 10, &[(&orders(Some("note")), &[&["1", "1.5", "a"], &["2", "2.5", "b"]])]);
    store
        .connection
        .execute_batch(
            "create index by_total on orders (total); create index by_note on orders (note);
             create view large as select * from orders where total > 2;
             create table seen (id); create trigger watch after insert on orders begin insert into seen values (new.id); end;",
        )
        .expect("valid");
    let reader = open_reader(store.path()).expect("opens");
    let mut ids = reader.prepare("select group_concat(id) from (select id from orders order by id)").expect("valid");
    let mut ids = || ids.query_row([], |row| row.get::<_, String>(0)).expect("rows");
    assert_eq!(ids(), "1,2");

    let new = orders(None);
    let (backfill, chunk) = (BackfillId(20), Chunk { relation: Arc::clone(&new), rows: Vec::new() });
    let rows = ["2", "3"].map(|id| Row::of([Value::Text(id), Value::Text("9")]));
    let chunk = Arc::new(Chunk { rows: rows.into(), ..chunk });
    store.apply(&StoreRequest::StageChunk { backfill, n: 0, chunk }).expect("stored");
    assert_eq!(ids(), "1,2", "staged rows are not shown");
    reader.execute_batch("begin").expect("valid");
    assert_eq!(ids(), "1,2");
    store.apply(&StoreRequest::StageSeam { backfill, n: 1, page: None, complete: Some(at(20)) }).expect("stored");
    assert_eq!(ids(), "1,2", "who looks at the old rows goes on seeing them");
    reader.execute_batch("commit").expect("valid");
    assert_eq!(ids(), "2,3");

    assert_eq!(one::<i64>(&reader, "select count(*) from large"), 2);
    let indexes = "select group_concat(name) from sqlite_master where type = 'index' and tbl_name = 'orders'";
    assert_eq!(one::<String>(&reader, indexes), "by_total", "the column of the other is gone");
    assert_eq!(one::<i64>(&reader, "select count(*) from seen"), 0, "triggers do not fire for a resync");
    let insert = Change::Insert { relation: new.id, row: Row::of([Value::Text("4"), Value::Text("1")]) };
    let page = page_of(vec![Arc::clone(&new)], transaction(21, 0, true, &[insert]));
    store.apply(&StoreRequest::ApplyPage { page }).expect("stored");
    assert_eq!(one::<i64>(&reader, "select id from seen"), 4);
    let place = "select position || ' ' || xid from dormouse_state";
    assert_eq!(one::<String>(&reader, place), "0/15 21");
}

#[test]
fn new_columns_are_there_with_the_first_row_that_has_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder);
    sync(&mut store, 10, &[(&orders(None), &[&["1", "1.5"], &["2", "2.5"]])]);
    let new = orders(Some("note"));
    let row = Row::of([Value::Text("2"), Value::Text("2.5"), Value::Text("x")]);
    let page = page_of(
        vec![Arc::clone(&new)],
        transaction(11, 0, true, &[Change::Update { relation: new.id, row: row.clone() }]),
    );
    store.apply(&StoreRequest::ApplyPage { page }).expect("stored");
    let all = "select group_concat(id || coalesce(note, '-'), ' ') from (select * from orders order by id)";
    assert_eq!(store.query(|reader| reader.query_row(all, [], |row| row.get::<_, String>(0))).as_deref(), Ok("1- 2x"));
    let contents = store.contents().expect("readable");
    let shapes: Vec<_> =
        contents.table("public.orders").expect("rows").rows().map(|(_, row)| row.relation.columns.len()).collect();
    assert_eq!(shapes, [2, 3], "what is not known of the first row is not made up");
}

#[test]
fn another_scope_begins_anew_and_shows_the_old_rows_until_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder);
    let client = ClientId::new("c").expect("valid");
    store.begin(&client, &Scope::All).expect("noted");
    sync(&mut store, 10, &[(&orders(None), &[&["1", "1.5"]])]);
    store.begin(&client, &Scope::All).expect("noted");
    assert_eq!(store.held().shown, Some(at(10)));
    store.begin(&client, &Scope::tables(["public.orders".into()])).expect("noted");
    assert_eq!(store.held().shown, None);
    assert_eq!(one::<i64>(&store.connection, "select count(*) from orders"), 1);
    drop(store);
    let store = open(&folder);
    assert_eq!((store.held().shown, store.client_id()), (None, Some("c")));
    assert_eq!(store.scope(), Some(Scope::tables(["public.orders".into()])));
}

#[test]
fn damage_is_named_and_a_foreign_write_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder);
    let rows: Vec<[String; 2]> = (0..5_000).map(|n| [n.to_string(), "0.5".into()]).collect();
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    sync(&mut store, 10, &[(&orders(None), &rows)]);
    store.connection.execute("update orders set total = 0.25 where id = 77", []).expect("valid");
    let mismatch = store.verify_sum().expect("readable").expect_err("it was tampered with");
    assert_eq!((mismatch.table.as_str(), mismatch.found), ("public.orders", 5_000));

    let path = store.path().to_owned();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::InUse(_))), "one client at a time");
    drop(store); // The last connection writes all of the log into the file.
    let mut bytes = std::fs::read(&path).expect("there");
    let end = bytes.len();
    bytes[end / 3..end / 3 + 20_000].fill(0xa5);
    std::fs::write(&path, &bytes).expect("written");
    let options = crate::client::sqlite::SqliteOptions { check: true, ..Default::default() };
    let error = SqliteStore::open_with(&path, options).expect_err("it is damaged");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("synced anew"), "{error}");
    let mut store = SqliteStore::open(&path).expect("without the check it opens");
    let truncate = Change::Truncate { relation: orders(None).id };
    let delete = (0..5_000)
        .map(|n: u32| Change::Delete { relation: orders(None).id, key: Row::of([Value::Text(&n.to_string())]) });
    let changes: Vec<_> = delete.chain([truncate]).collect();
    let page = page_of(vec![orders(None)], transaction(11, 0, true, &changes));
    let failure = store.apply(&StoreRequest::ApplyPage { page }).expect_err("it cannot go on");
    assert!(failure.reason().contains("damaged"), "{failure}");
    assert_eq!(store.held().shown, Some(at(10)), "and says where it stands");
}
