use super::support::{SECOND, UnderTest, World, done};
use crate::db::Selection;
use crate::source::{PollSource, Source, StreamSource, poll};
use dormouse_core::change::Change;
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{InspectSource, InspectTables, ReadSource, RenewLease, StartStream};
use dormouse_core::source::{Fingerprints, SourceItem, alters_existing_rows};

const TABLES: &str = "create table keyed (id int primary key, v text); \
     create table keyless (v text); \
     create table identity (a int not null, b int not null, v text); \
     create unique index identity_b on identity (b); alter table identity replica identity using index identity_b; \
     create table nothing (id int primary key); alter table nothing replica identity nothing; \
     create table deferred (id int primary key deferrable); \
     create table whole (id int primary key, v text); alter table whole replica identity full; \
     create unlogged table unlogged (id int primary key); \
     create table parted (id int primary key, v text) partition by range (id); \
     create table part_1 partition of parted for values from (0) to (10); \
     create schema other; create table other.\"Odd \"\"name\" (\"Id\" int primary key);";

async fn inspect(world: &World) -> Fingerprints {
    let token = world.token().await;
    done(world.database.inspect_tables(InspectTables { token }).await.expect("answers"))
}

#[tokio::test]
async fn every_table_with_a_usable_key_is_published_and_none_is_disturbed() {
    let world = World::new(TABLES).await;
    let token = world.token().await;
    let source = done(world.database.inspect_source(InspectSource { token }).await.expect("answers"));
    assert_eq!(source.slot, None);
    assert!(source.evidence.system_identifier > 0);
    assert_eq!(source.evidence.timeline, 1);
    let names: Vec<_> = source.fingerprints.keys().map(String::as_str).collect();
    assert_eq!(names, ["other.Odd \"name", "public.identity", "public.keyed", "public.part_1", "public.whole"]);
    assert_eq!(source.fingerprints["public.identity"].key, ["b"]);
    // The application's writes go on, everywhere.
    world.sql("insert into nothing values (1); update nothing set id = 2; insert into keyless values ('a')").await;
    world.sql("update keyless set v = 'b'; delete from keyless; insert into deferred values (1); update deferred set id = 2").await;
    let keys = |table: &'static str| {
        let world = &world;
        async move {
            let oid = world.text(&format!("select '{table}'::regclass::oid::text")).await;
            world.database.table_key(oid.parse().expect("an oid")).await.expect("answers")
        }
    };
    assert_eq!(keys("whole").await, ["id"]);
    assert_eq!(keys("keyless").await, [""; 0]);

    // Tables come and go; one that lost its key would make its updates fail.
    world.sql("create table late (id int primary key); alter table keyed drop constraint keyed_pkey").await;
    let later = inspect(&world).await;
    assert!(later.contains_key("public.late") && !later.contains_key("public.keyed"));
    world.sql("insert into keyed values (1); update keyed set v = 'x'").await;
}

#[tokio::test]
async fn silent_changes_of_the_schema_show_in_the_fingerprints() {
    let schema = "create type mood as enum ('sad', 'ok'); create table t (id int primary key, m mood, n int default 1)";
    let world = World::new(schema).await;
    let mut before = inspect(&world).await;
    world.sql("drop table t").await;
    assert!(inspect(&world).await.is_empty());
    world.sql("create table t (id int primary key, m mood, n int default 1)").await;
    before.extend(inspect(&world).await);
    for (change, alters) in [
        ("alter table t add column d int default 5", true),
        ("alter type mood rename value 'ok' to 'fine'", true),
        ("alter table t alter column n set default 2", false),
        ("alter table t alter column n type int using n + 1", true),
        ("alter table t rename column n to o", true),
        ("create index on t (o)", false),
        ("insert into t values (1)", false),
        ("analyze t", false),
        ("alter table t drop column d", true),
        ("drop table t; create table t (id int primary key, m mood, o int default 2)", true),
        ("create table u (id int primary key)", true),
    ] {
        world.sql(change).await;
        let after = inspect(&world).await;
        assert_eq!(alters_existing_rows(&before, &after).is_some(), alters, "{change}");
        before = after;
    }
}

/// The text of a value changes with what stands deep within its type.
#[tokio::test]
async fn types_within_types_show_in_the_fingerprints() {
    let schema = "create type mood as enum ('sad', 'ok'); create type pair as (a int, feels mood); create domain many as pair[]; \
         create domain calm as mood; create domain calmer as calm; create type span as range (subtype = mood); \
         create table t (id int primary key, one pair, several pair[], lots many, c calmer, s span, r span_multirange)";
    for (column, change) in [
        ("several", "alter type pair add attribute b int"),
        ("lots", "alter type pair add attribute b int"),
        ("one", "alter type mood rename value 'ok' to 'fine'"),
        ("several", "alter type mood rename value 'ok' to 'fine'"),
        ("lots", "alter type mood rename value 'ok' to 'fine'"),
        ("c", "alter type mood rename value 'ok' to 'fine'"),
        ("s", "alter type mood rename value 'ok' to 'fine'"),
        ("r", "alter type mood rename value 'ok' to 'fine'"),
    ] {
        let world = World::new(schema).await;
        let others = ["one", "several", "lots", "c", "s", "r"].into_iter().filter(|other| *other != column);
        let drop: Vec<_> = others.map(|other| format!("drop column {other}")).collect();
        world.sql(&format!("alter table t {}", drop.join(", "))).await;
        let before = inspect(&world).await;
        world.sql(change).await;
        let why = alters_existing_rows(&before, &inspect(&world).await);
        assert!(why.is_some(), "{column}: {change}");
    }
}

#[tokio::test]
async fn selections_are_honoured_and_unfit_publications_refused() {
    let select = |selection| move |config: crate::db::Config| config.with_selection(selection);
    let two = Selection::Tables(vec!["keyed".into(), "public.gone".into(), "other.Odd \"name".into()]);
    let world = World::with(&[], TABLES, select(two)).await;
    assert_eq!(inspect(&world).await.into_keys().collect::<Vec<_>>(), ["other.Odd \"name", "public.keyed"]);

    let own = Selection::Publication("The apps".into());
    let database = crate::db::Config::new(world.cluster.url()).with_selection(own);
    let database = crate::db::Database::connect(database).await.expect("connects");
    let token = world.token().await;
    let refused = |sentence: &'static str| {
        let database = &database;
        async move {
            let found = database.inspect_source(InspectSource { token }).await;
            assert!(matches!(&found, Err(Failure::Refused(why)) if why.contains(sentence)), "{found:?}");
        }
    };
    refused("there is no publication The apps").await;
    world.sql("create publication \"The apps\" for all tables").await;
    refused("FOR ALL TABLES").await;
    world
        .sql("drop publication \"The apps\"; create publication \"The apps\" for table keyed with (publish = 'insert')")
        .await;
    refused("leaves some operations out").await;
    world
        .sql("drop publication \"The apps\"; create publication \"The apps\" for table keyed where (id > 5), keyless")
        .await;
    let source = done(database.inspect_source(InspectSource { token }).await.expect("answers"));
    assert_eq!(source.fingerprints.keys().collect::<Vec<_>>(), ["public.keyed"]);
    assert!(source.fingerprints["public.keyed"].columns.last().expect("some").starts_with("where "));
}

#[tokio::test]
async fn a_table_that_was_out_of_the_publication_for_a_while_shows_in_its_fingerprint() {
    let world = World::new(
        "create schema apart; create table t (id int primary key); create table apart.u (id int primary key)",
    )
    .await;
    let own = Selection::Publication("own".into());
    let database = crate::db::Config::new(world.cluster.url()).with_selection(own);
    let database = crate::db::Database::connect(database).await.expect("connects");
    world.sql("create publication own for table t, tables in schema apart").await;
    let token = world.token().await;
    let inspect = async || done(database.inspect_tables(InspectTables { token }).await.expect("answers"));
    let mut before = inspect().await;
    for (change, alters) in [
        ("insert into t values (1); analyze t", None),
        (
            "alter publication own drop table t; insert into t values (2); alter publication own add table t",
            Some("public.t"),
        ),
        ("alter publication own set table t, tables in schema apart", None),
        (
            "alter publication own drop tables in schema apart; alter publication own add tables in schema apart",
            Some("apart.u"),
        ),
        ("drop publication own; create publication own for table t, tables in schema apart", Some("apart.u")),
    ] {
        world.sql(change).await;
        let after = inspect().await;
        let why = alters.map(|table| format!("{table} was taken out of the publication and put back"));
        assert_eq!(alters_existing_rows(&before, &after), why, "{change}");
        before = after;
    }
}

#[tokio::test]
async fn settings_that_cannot_serve_are_refused_with_a_remedy() {
    let world = World::with(&[("wal_level", "replica")], "", |config| config).await;
    let token = world.token().await;
    let found = world.database.inspect_source(InspectSource { token }).await;
    assert!(matches!(&found, Err(Failure::Refused(why)) if why.contains("ALTER SYSTEM")), "{found:?}");
}

#[tokio::test]
async fn the_stream_delivers_what_commits_in_commit_order() {
    delivers_what_commits_in_commit_order::<StreamSource>().await;
}

#[tokio::test]
async fn polling_delivers_what_commits_in_commit_order() {
    delivers_what_commits_in_commit_order::<PollSource>().await;
}

async fn delivers_what_commits_in_commit_order<S: UnderTest>() {
    let world = World::new(TABLES).await;
    let mut replicator = world.replicator::<S>().await;
    world.sql("insert into keyed values (1, 'a'), (2, 'b'); update keyed set id = 3 where id = 2; delete from keyed where id = 1").await;
    world.sql("insert into keyless values ('x'); insert into whole values (1, 'v')").await;
    world.sql("update whole set v = 'w'; delete from whole; truncate keyed, whole").await;
    world.sql("insert into part_1 values (1, 'p')").await;
    let recorded = replicator.catch_up().await;
    let kinds: Vec<String> = recorded
        .iter()
        .map(|transaction| {
            let letter = |change: &Change| match change {
                Change::Insert { .. } => 'I',
                Change::Update { .. } => 'U',
                Change::Move { .. } => 'M',
                Change::Delete { .. } => 'D',
                Change::Truncate { .. } => 'T',
            };
            transaction.changes.iter().map(letter).collect()
        })
        .collect();
    assert_eq!(kinds, ["IIMD", "I", "UDTT", "I"]);
    assert!(recorded.is_sorted_by_key(|transaction| transaction.commit_lsn));
    let xid = world.text("select xid::text from dormouse.transaction_history order by commit_lsn desc limit 1").await;
    assert_eq!(xid, recorded[3].xid.to_string());
}

#[tokio::test]
async fn a_confirmed_slot_moves_and_the_rest_is_streamed_again() {
    confirms_and_sends_the_rest_again::<StreamSource, StreamSource>().await;
}

#[tokio::test]
async fn a_confirmed_slot_moves_and_the_rest_is_polled_again() {
    confirms_and_sends_the_rest_again::<PollSource, PollSource>().await;
}

#[tokio::test]
async fn polling_takes_over_from_a_stream() {
    confirms_and_sends_the_rest_again::<StreamSource, PollSource>().await;
}

async fn confirms_and_sends_the_rest_again<S: UnderTest, Successor: UnderTest>() {
    let world = World::new(TABLES).await;
    let mut replicator = world.replicator::<S>().await;
    world.sql("insert into keyed values (1, 'a')").await;
    let first = replicator.catch_up().await;
    replicator.stream.confirm(first[0].end_lsn);
    let confirmed = async {
        loop {
            let status = world.database.source_status().await.expect("answers");
            if status.confirmed == Some(first[0].end_lsn) {
                return;
            }
            let read = replicator.stream.read(ReadSource { changes_max: 1, bytes_max: 1 });
            let _ = tokio::time::timeout(SECOND / 20, read).await;
        }
    };
    tokio::time::timeout(10 * SECOND, confirmed).await.expect("the confirmation arrives");
    world.sql("insert into keyed values (2, 'b')").await;
    world.sql("insert into keyed values (3, 'c')").await;

    // A successor takes the slot from the walsender that still holds it, and gets what was not confirmed.
    let successor = Successor::of(&world.database);
    let token = world.token().await;
    successor.start(StartStream { token, from: Lsn(0) }).await.expect("takes over");
    let mut rows = Vec::new();
    while rows.len() < 2 {
        let items = successor.read(ReadSource { changes_max: 100, bytes_max: 1 << 20 }).await.expect("streams");
        rows.extend(items.into_iter().filter_map(|item| match item {
            SourceItem::Change(Change::Insert { row, .. }) => Some(format!("{row:?}")),
            _ => None,
        }));
    }
    assert_eq!(rows, ["(2, b)", "(3, c)"]);
    let lost = loop {
        match replicator.stream.read(ReadSource { changes_max: 100, bytes_max: 1 << 20 }).await {
            Ok(_) => {}
            Err(why) => break why,
        }
    };
    assert!(matches!(lost, Failure::Unavailable(_)), "{lost:?}");

    // Stopping ends a read that waits.
    let (read, ()) = tokio::join!(
        async {
            loop {
                if let Err(why) = successor.read(ReadSource { changes_max: 1, bytes_max: 1 }).await {
                    return why;
                }
            }
        },
        async {
            tokio::time::sleep(SECOND / 5).await;
            successor.stop().await;
        }
    );
    assert!(matches!(read, Failure::Unavailable(_)));
}

#[tokio::test]
async fn a_slot_without_its_publication_is_made_anew() {
    let world = World::new(TABLES).await;
    world.era().await;
    let token = world.token().await;
    let source = done(world.database.inspect_source(InspectSource { token }).await.expect("answers"));
    assert!(source.slot.expect("a slot").usable);
    world.sql(&format!("drop publication {}", world.database.publication())).await;
    let source = done(world.database.inspect_source(InspectSource { token }).await.expect("answers"));
    assert_eq!(source.slot, None);
    world.era().await;
    world.text(&format!("select 'x'::text from pg_drop_replication_slot('{}')", world.database.slot_name())).await;
    let slot = format!(
        "select 'x'::text from pg_create_logical_replication_slot('{}', 'test_decoding')",
        world.database.slot_name()
    );
    world.text(&slot).await;
    let token = world.token().await;
    let source = done(world.database.inspect_source(InspectSource { token }).await.expect("answers"));
    assert!(!source.slot.expect("a slot").usable);
}

/// Postgres 14 and 15 tell no stream that a schema was renamed.
#[tokio::test]
async fn the_stream_tells_a_table_by_the_name_that_its_schema_was_given() {
    tells_a_table_by_the_name_that_its_schema_was_given::<StreamSource>(true).await;
}

#[tokio::test]
async fn polling_tells_a_table_by_the_name_that_its_schema_was_given() {
    tells_a_table_by_the_name_that_its_schema_was_given::<PollSource>(false).await;
}

/// A stream ends for it, where Postgres tells it nothing; a poller peeks once more.
async fn tells_a_table_by_the_name_that_its_schema_was_given<S: UnderTest>(may_end: bool) {
    let world = World::new("create schema app; create table app.item (id int primary key)").await;
    let mut replicator = world.replicator::<S>().await;
    let token = replicator.token;
    world.sql("insert into app.item values (1)").await;
    let before = replicator.catch_up().await;
    world.sql("alter schema app rename to shop").await;
    done(world.database.inspect_tables(InspectTables { token }).await.expect("answers"));
    world.sql("insert into shop.item values (2)").await;
    let version = world.text("select current_setting('server_version_num')").await;
    if may_end && version.as_str() < "160000" {
        let read = async || replicator.stream.read(ReadSource { changes_max: 100, bytes_max: 1 << 20 }).await;
        while let Ok(items) = tokio::time::timeout(20 * SECOND, read()).await.expect("in time") {
            assert!(!items.iter().any(|item| matches!(item, SourceItem::Change(_))), "{items:?}");
        }
        replicator.stream.start(StartStream { token, from: Lsn::ZERO }).await.expect("streams");
    }
    let after = replicator.catch_up().await;
    assert_eq!((before.len(), after.len()), (1, 1), "what is recorded is not told again");
    assert_ne!(after[0].changes[0].relation(), before[0].changes[0].relation());
}

#[tokio::test]
async fn an_idle_database_is_not_peeked_into_however_often_the_lease_is_renewed() {
    let world = World::new(TABLES).await;
    let (token, head) = world.era().await;
    let (interval, interval_max) = (SECOND / 100, SECOND / 50);
    let config = poll::Config { interval, interval_max, ..poll::Config::default() };
    let source = PollSource::new(world.database.clone(), config);
    source.start(StartStream { token, from: head.covered }).await.expect("starts");
    let ask = || source.read(ReadSource { changes_max: 100, bytes_max: 1 << 20 });
    // All that the preparation wrote is told, and then nothing.
    while tokio::time::timeout(SECOND, ask()).await.is_ok_and(|read| read.is_ok()) {}
    let before = source.peeks();
    for _ in 0..20 {
        let q = RenewLease { token, ttl: 30 * SECOND };
        world.database.renew_lease(q).await.expect("answers");
        // Two renewals between two looks would be taken for more than they are.
        let looks = source.looks();
        while source.looks() < looks + 2 {
            tokio::time::sleep(interval).await;
        }
    }
    assert_eq!(source.peeks(), before, "only our own lease moved");
    world.sql("insert into keyed values (1, 'a')").await;
    let mut told = Vec::new();
    while !told.iter().any(|item| matches!(item, SourceItem::Change(_))) {
        told.extend(tokio::time::timeout(10 * SECOND, ask()).await.expect("in time").expect("polls"));
    }
    assert!(source.peeks() > before);
}

#[tokio::test]
async fn a_backlog_is_polled_in_parts_whether_it_is_confirmed_or_not() {
    const TRANSACTIONS: usize = 9_000;
    let world = World::new(TABLES).await;
    let (token, head) = world.era().await;
    let writes = format!(
        "do $$ begin for i in 1..{TRANSACTIONS} loop insert into keyed values (i, 'v'); commit; end loop; end $$"
    );
    world.sql(&writes).await;
    for confirms in [false, true] {
        let source = PollSource::of(&world.database);
        source.start(StartStream { token, from: head.covered }).await.expect("starts");
        let mut commits = Vec::new();
        while commits.len() < TRANSACTIONS {
            let read = source.read(ReadSource { changes_max: 500, bytes_max: 1 << 20 });
            let items = tokio::time::timeout(30 * SECOND, read).await.expect("in time").expect("polls");
            let changes = items.iter().filter(|item| matches!(item, SourceItem::Change(_))).count();
            assert!(changes <= 500, "{changes} are more than were asked for");
            commits.extend(items.into_iter().filter_map(|item| match item {
                SourceItem::Commit { end_lsn } => Some(end_lsn),
                _ => None,
            }));
            if let Some(last) = commits.last().filter(|_| confirms) {
                source.confirm(*last);
            }
        }
        assert!(commits.is_sorted_by(|a, b| a < b), "each once, in order");
        assert!(source.peeks() > 1, "one peek would have been enough");
        source.stop().await;
    }
    let confirmed = world.database.source_status().await.expect("answers").confirmed;
    assert!(confirmed > Some(head.covered), "what was confirmed is free");
}
