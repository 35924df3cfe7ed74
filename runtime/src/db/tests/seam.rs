use super::support::{Replicator, SECOND, World, connect, done};
use crate::db::Config;
use crate::source::StreamSource;
use dormouse_core::change::{Change, Relation, Scope, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::history::{HistoryRead, ReadHistory};
use dormouse_core::hub::{ReadChunk, SnapshotTaken, Spool, TakeSnapshot};
use dormouse_core::position::Lsn;
use dormouse_core::replication::{InspectTables, RaiseSchema};
use dormouse_core::row::Row;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

async fn take(world: &World, scope: Scope) -> Result<SnapshotTaken, Failure> {
    let era = world.head().await.era();
    world.database.take_snapshot(TakeSnapshot { era, scope, await_era_start: true }).await
}

async fn spool(world: &World) -> Arc<Spool> {
    match take(world, Scope::All).await.expect("answers") {
        SnapshotTaken::Spooled(spool) => spool,
        other => panic!("{other:?}"),
    }
}

async fn rows(world: &World, spool: &Spool) -> Vec<(Arc<Relation>, Row)> {
    let mut rows = Vec::new();
    for n in 0..spool.chunks {
        let chunk = world.database.read_chunk(ReadChunk { spool: spool.id, n }).await.expect("answers").expect("there");
        rows.extend(chunk.rows.iter().map(|row| (Arc::clone(&chunk.relation), row.clone())));
    }
    assert_eq!(rows.len() as u64, spool.rows);
    rows
}

/// The state of the table `t (id, v)` from a snapshot and its seam, as a client makes it; double and missing rows are told.
async fn joined(world: &World, spool: &Spool) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    let text = |row: &Row, n: usize| format!("{:?}", Row::of(row.values().skip(n).take(1)));
    for (_, row) in rows(world, spool).await {
        state.insert(text(&row, 0), text(&row, 1));
    }
    for transaction in seam(world, spool).await {
        for change in transaction.changes.iter() {
            match change {
                Change::Insert { row, .. } => {
                    assert!(state.insert(text(row, 0), text(row, 1)).is_none(), "applied twice");
                }
                Change::Update { row, .. } => {
                    assert!(state.insert(text(row, 0), text(row, 1)).is_some(), "its row is missing");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    state
}

/// What lies in (P0, F) and is not visible in S.
async fn seam(world: &World, spool: &Spool) -> Vec<Transaction> {
    let (mut after, mut found) = (spool.start.position, Vec::new());
    let until = Some(spool.fence);
    loop {
        let q = ReadHistory { era: spool.start.era, after, until, changes_max: 100, bytes_max: 1 << 20 };
        match world.database.read_history(q).await.expect("answers") {
            HistoryRead::Page { page, .. } => {
                after = page.through.position;
                found.extend(page.transactions.iter().filter(|t| !spool.snapshot.sees(t.xid)).cloned());
            }
            HistoryRead::End { .. } => return found,
            other => panic!("{other:?}"),
        }
    }
}

async fn started(schema: &str) -> (World, Replicator<StreamSource>) {
    let world = World::with(&[], schema, |config| Config { snapshot_share_max: Duration::ZERO, ..config }).await;
    let replicator = world.replicator::<StreamSource>().await;
    (world, replicator)
}

#[tokio::test]
async fn a_snapshot_holds_every_value_as_the_stream_would_tell_it() {
    let columns = "id int primary key, b bool, f8 float8, n numeric, t text, ts timestamptz, by bytea, j jsonb, i interval, \
         a text[], gone int, g int generated always as (id * 2) stored";
    let values = "(1, true, 0.1, 1.50, E'tab\\there\\nback\\\\slash é', '2020-01-02 03:04:05.678+09', '\\x00ff', '{\"a\": 1}', '1 day 02:03', \
         array['x', null, 'y z']), (2, null, 'NaN', 'NaN', '', 'infinity', '', 'null', '-1 mon', '{}')";
    let names = "id, b, f8, n, t, ts, by, j, i, a";
    let (world, mut replicator) = started(&format!("create table t ({columns}); alter table t drop column gone")).await;
    world.sql(&format!("insert into t ({names}) values {values}")).await;
    let recorded = replicator.catch_up().await;
    let spool = spool(&world).await;
    let copied = rows(&world, &spool).await;
    let streamed: Vec<_> = recorded[0]
        .changes
        .iter()
        .map(|change| match change {
            Change::Insert { row, .. } => row.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(copied.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>(), streamed);
    assert_eq!(copied[0].0.id, recorded[0].changes[0].relation(), "both name the shape alike");
    assert_eq!(copied[0].0.columns.iter().map(|column| column.key).filter(|key| *key).count(), 1);
    assert_eq!(seam(&world, &spool).await, []);
    assert_eq!(spool.start, world.head().await.waypoint);
}

#[tokio::test]
async fn chunks_keep_to_their_limits_and_large_values_are_omitted() {
    let schema = "create table empty (id int primary key); create table t (id int primary key, v text)";
    let world = World::with(&[], schema, |config| Config { value_bytes_max: 1_000, ..config }).await;
    world.sql("insert into t select n, repeat('x', 100) from generate_series(1, 5000) n; insert into t values (0, repeat('y', 1001))").await;
    world.era().await;
    let spool = spool(&world).await;
    assert_eq!(spool.relations.iter().map(|relation| relation.name.as_str()).collect::<Vec<_>>(), ["empty", "t"]);
    assert_eq!(spool.rows, 5_001);
    assert!(spool.chunks >= 3);
    let found = rows(&world, &spool).await;
    assert!(found.iter().any(|(_, row)| format!("{row:?}") == "(0, omitted 1001)"));
    let beyond = ReadChunk { spool: spool.id, n: spool.chunks };
    assert_eq!(world.database.read_chunk(beyond).await, Ok(None));
    // Who asks at once for the same scope shares it.
    let again = super::seam::spool(&world).await;
    assert_eq!(again.id, spool.id);
    let scope = Scope::tables(["public.empty".into()]);
    let Ok(SnapshotTaken::Spooled(small)) = take(&world, scope).await else { panic!("no spool") };
    assert_eq!((small.chunks, small.relations.len()), (0, 1));
    assert_eq!(world.text("select count(*)::text from dormouse.spool").await, "2");
    assert_eq!(world.database.spools(), 2);
}

#[tokio::test]
async fn spools_end_with_their_last_holder() {
    let (world, _replicator) = started("create table t (id int primary key, v text)").await;
    world.sql("insert into t values (1, 'a')").await;
    let spool = spool(&world).await;
    world.database.drop_spool(spool.id);
    let gone = async {
        while world.text("select count(*)::text from dormouse.spool").await != "0" {
            tokio::time::sleep(SECOND / 10).await;
        }
    };
    tokio::time::timeout(20 * SECOND, gone).await.expect("swept");
    assert_eq!(world.database.read_chunk(ReadChunk { spool: spool.id, n: 0 }).await, Ok(None));
}

#[tokio::test]
async fn no_snapshot_while_what_ran_when_the_era_began_still_runs() {
    let world = World::new("create table t (id int primary key, v text)").await;
    let (token, head) = world.era().await;
    let other = connect(&world.cluster.url()).await;
    // A raised schema number is such a beginning for the tables concerned.
    other.batch_execute("begin; insert into t values (1, 'a')").await.expect("runs");
    let fingerprints = done(world.database.inspect_tables(InspectTables { token }).await.expect("answers"));
    let (era, from) = (head.era(), head.schema());
    let raise =
        RaiseSchema { token, era, from, noted: fingerprints.clone(), fingerprints, reason: Some("a test".into()) };
    world.database.raise_schema(raise).await.expect("answers");
    assert_eq!(take(&world, Scope::All).await, Ok(SnapshotTaken::EraStarting));
    let era = world.head().await.era();
    let ablated = TakeSnapshot { era, scope: Scope::All, await_era_start: false };
    assert!(matches!(world.database.take_snapshot(ablated).await, Ok(SnapshotTaken::Spooled(_))));
    other.batch_execute("commit").await.expect("runs");
    assert!(matches!(take(&world, Scope::tables(["public.t".into()])).await, Ok(SnapshotTaken::Spooled(_))));
    let elsewhere = TakeSnapshot { era: Default::default(), scope: Scope::All, await_era_start: true };
    assert!(matches!(world.database.take_snapshot(elsewhere).await, Ok(SnapshotTaken::OtherEra { .. })));
}

#[tokio::test]
async fn no_snapshot_is_taken_of_a_table_that_is_not_noted() {
    let world = World::new("create table t (id int primary key)").await;
    let (token, head) = world.era().await;
    let (era, from) = (head.era(), head.schema());
    let noted = done(world.database.inspect_tables(InspectTables { token }).await.expect("answers"));
    let (fingerprints, reason) = (BTreeMap::default(), Some("a test".into()));
    let raise = RaiseSchema { token, era, from, noted, fingerprints, reason };
    world.database.raise_schema(raise).await.expect("answers");
    let taken = take(&world, Scope::All).await;
    assert!(
        matches!(&taken, Err(Failure::Unavailable(why)) if why.contains("not noted yet that public.t")),
        "{taken:?}"
    );
    assert!(
        matches!(take(&world, Scope::tables(["public.other".into()])).await, Ok(SnapshotTaken::Spooled(_))),
        "it concerns nobody else"
    );
}

#[tokio::test]
async fn a_transaction_that_runs_during_the_snapshot_is_in_the_seam() {
    let (world, mut replicator) = started("create table t (id int primary key, v text)").await;
    let other = connect(&world.cluster.url()).await;
    other.batch_execute("begin; insert into t values (1, 'late')").await.expect("runs");
    world.sql("insert into t values (2, 'seen')").await;
    replicator.catch_up().await;
    let spool = spool(&world).await;
    other.batch_execute("commit").await.expect("runs");
    replicator.catch_up().await;
    assert!(
        !joined(&world, &spool).await.contains_key("(1)"),
        "it committed behind the fence, and comes with the stream"
    );
    assert!(joined(&world, &spool).await.contains_key("(2)"));
}

/// A commit waits for a standby that never comes: its record is in the WAL, and in history, and no snapshot sees it.
#[tokio::test]
async fn a_commit_that_is_not_visible_yet_is_in_the_seam() {
    let (mut world, mut replicator) = started("create table t (id int primary key, v text)").await;
    world.sql("insert into t values (1, 'old')").await;
    world.sql("alter system set synchronous_standby_names = 'nobody'").await;
    world.sql("select pg_reload_conf()").await;
    let waiting = connect(&world.cluster.url()).await;
    let before = world.text("select pg_current_wal_insert_lsn()::text").await.parse::<Lsn>().expect("an LSN");
    let write = tokio::spawn(async move { waiting.batch_execute("update t set v = 'new' where id = 1").await });
    let mut recorded = Vec::new();
    while !recorded.iter().any(|t: &Transaction| t.commit_lsn >= before) {
        recorded.extend(replicator.catch_up().await);
    }
    // Another commits behind it, is visible, and stands behind it in history.
    let quick = connect(&world.cluster.url()).await;
    quick.batch_execute("set synchronous_commit = local; insert into t values (2, 'quick')").await.expect("runs");
    replicator.catch_up().await;
    assert_eq!(world.text("select v from t where id = 1").await, "old");

    let spool = spool(&world).await;
    assert!(spool.start.position < world.head().await.position(), "the seam begins before the head");
    let copied: Vec<_> = rows(&world, &spool).await.iter().map(|(_, row)| format!("{row:?}")).collect();
    assert_eq!(copied, ["(1, old)", "(2, quick)"]);
    let state = joined(&world, &spool).await;
    assert_eq!(state["(1)"], "(new)");
    assert_eq!(state.len(), 2);

    // Nothing that a new snapshot would need may be pruned, whatever its age.
    let token = world.token().await;
    let prune = dormouse_core::replication::Prune { token, keep_min: Duration::ZERO, keep_max: Duration::ZERO };
    let horizon = super::support::done(world.database.prune(prune).await.expect("answers"));
    assert!(horizon < dormouse_core::position::Position::after(before), "it stops before what is not visible");
    write.abort();
    world.cluster.stop();
}

#[tokio::test]
async fn a_locked_table_postpones_the_snapshot_and_a_snapshot_hides_no_rewrite() {
    let (world, _replicator) = started("create table t (id int primary key, v text)").await;
    world.sql("insert into t select n, 'x' from generate_series(1, 1000) n").await;
    let other = connect(&world.cluster.url()).await;
    other.batch_execute("begin; alter table t alter column v type varchar").await.expect("runs");
    let refused = take(&world, Scope::All).await;
    assert!(matches!(refused, Err(Failure::Unavailable(_))), "{refused:?}");
    let taking = take(&world, Scope::All);
    let (spooled, committed) = tokio::join!(taking, async {
        tokio::time::sleep(SECOND / 2).await;
        other.batch_execute("commit").await
    });
    committed.expect("commits");
    let Ok(SnapshotTaken::Spooled(spool)) = spooled else { panic!("{spooled:?}") };
    assert_eq!(spool.rows, 1_000);
    assert_eq!(spool.relations[0].columns[1].type_oid, 1043);
    assert_eq!(world.text("select count(*)::text from dormouse.spool").await, "1", "the failed one left nothing");
}
