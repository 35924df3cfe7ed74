//! Greetings that come at once share statements, and nobody can tell from the answers.

use super::support::{SECOND, World};
use dormouse_core::change::Scope;
use dormouse_core::fault::Failure;
use dormouse_core::hub::{EpochTaken, JudgePosition, StoredPosition, TakeEpoch};
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::session::ClientId;
use dormouse_core::xid::Xid;
use futures::future::join_all;
use std::collections::BTreeSet;

fn greeting(client: &str, instance: Option<u64>, attempt: u64, position: StoredPosition) -> TakeEpoch {
    TakeEpoch {
        client: ClientId::new(client).expect("valid"),
        instance,
        attempt,
        position,
        ttl: 60 * SECOND,
        apart: true,
    }
}

fn waypoint(lsn: u64) -> Waypoint {
    Waypoint {
        era: Era { counter: 1, id: 9 },
        schema: SchemaVersion(1),
        position: Position::after(Lsn(lsn)),
        xid: Xid(700 + lsn),
        committed_at: CommitTime(5),
    }
}

#[tokio::test]
async fn many_greetings_at_once_each_get_what_they_would_alone() {
    let world = World::new("").await;
    let first: Vec<_> =
        (0..400).map(|n| greeting(&format!("c{n}"), Some(n), 3, StoredPosition::Set(waypoint(n)))).collect();
    let taken = join_all(first.into_iter().map(|q| world.database.take_epoch(q))).await;
    let mut epochs = BTreeSet::new();
    for (n, taken) in (0..).zip(taken) {
        let Ok(EpochTaken::Taken { epoch, stored }) = taken else { panic!("{taken:?}") };
        assert_eq!(stored, Some(waypoint(n)), "each the position of its own");
        assert!(epochs.insert(epoch), "each an epoch of its own");
    }
    let before = *epochs.last().expect("some");
    // Kept, cleared, set, stale, and another instance, mixed within the statements.
    let position = |n: u64| match n % 5 {
        0 | 3 | 4 => StoredPosition::Keep,
        1 => StoredPosition::Clear,
        _ => StoredPosition::Set(waypoint(n + 1_000)),
    };
    let again = (0..400).map(|n| {
        let (instance, attempt) = match n % 5 {
            3 => (Some(n), 3),
            4 => (Some(n + 1), 0),
            _ => (Some(n), 4),
        };
        greeting(&format!("c{n}"), instance, attempt, position(n))
    });
    let taken = join_all(again.map(|q| world.database.take_epoch(q))).await;
    for (n, taken) in (0..).zip(taken) {
        match (n % 5, taken) {
            (3, Ok(EpochTaken::Stale)) => {}
            (kind, Ok(EpochTaken::Taken { epoch, stored })) => {
                let expected = match kind {
                    0 | 4 => Some(waypoint(n)),
                    1 => None,
                    _ => Some(waypoint(n + 1_000)),
                };
                assert!(kind != 3 && stored == expected && epoch > before, "{n}: {epoch:?} {stored:?}");
                assert!(epochs.insert(epoch), "epochs never come again");
            }
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_client_that_greets_many_times_at_once_has_one_newest_session() {
    let world = World::new("").await;
    let greetings = (0..40).map(|n| world.database.take_epoch(greeting("c", Some(n), 0, StoredPosition::Keep)));
    let epochs: Vec<_> = join_all(greetings)
        .await
        .into_iter()
        .map(|taken| match taken {
            Ok(EpochTaken::Taken { epoch, .. }) => epoch,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(epochs.iter().collect::<BTreeSet<_>>().len(), 40);
    let client = ClientId::new("c").expect("valid");
    let kept = world.database.registration(&client).await.expect("answers").expect("registered");
    assert_eq!(Some(&kept.epoch), epochs.iter().max(), "the highest epoch is the one that fences");
}

/// Two servers take epochs of one client: the first has its number already, but waits for the row, which the second takes.
#[tokio::test]
async fn the_epoch_of_a_client_never_falls() {
    let world = World::new("").await;
    world.database.take_epoch(greeting("c", Some(1), 0, StoredPosition::Keep)).await.expect("answers");
    world.sql("begin; select from dormouse.client where id = 'c' for update").await;
    let database = world.database.clone();
    let waits = tokio::spawn(async move { database.take_epoch(greeting("c", Some(2), 0, StoredPosition::Keep)).await });
    let blocked = "select count(*)::text from pg_stat_activity where wait_event_type = 'Lock'";
    while world.text(blocked).await == "0" {
        tokio::task::yield_now().await;
    }
    world.sql("update dormouse.client set epoch = nextval('dormouse.epoch') where id = 'c'").await;
    let between: u64 = world.text("select epoch::text from dormouse.client").await.parse().expect("a number");
    world.sql("commit").await;
    let taken = waits.await.expect("ends").expect("answers");
    let EpochTaken::Taken { epoch, .. } = taken else { panic!("{taken:?}") };
    assert!(epoch.0 > between, "{} after {between}", epoch.0);
}

#[tokio::test]
async fn a_row_that_somebody_locks_holds_up_its_own_client_only() {
    let world = World::new("").await;
    world.database.take_epoch(greeting("c7", Some(1), 0, StoredPosition::Keep)).await.expect("answers");
    world.sql("begin; select from dormouse.client for update").await;
    let greetings = (0..50).map(|n| {
        let q = greeting(&format!("c{n}"), Some(2), 0, StoredPosition::Keep);
        world.database.take_epoch(q)
    });
    for (n, taken) in (0..).zip(join_all(greetings).await) {
        match taken {
            Ok(EpochTaken::Taken { .. }) => assert_ne!(n, 7),
            Err(Failure::Unavailable(why)) => assert!(n == 7 && why.contains("55P03"), "{n}: {why}"),
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn many_judgements_at_once_each_name_what_their_own_claim_names() {
    let world = World::new("create table t (id int primary key)").await;
    let (_, head) = world.era().await;
    let unknown = |n: u64| Scope::Tables([format!("public.no{n}"), "public.t".into()].into());
    let questions = (0..300).map(|n| JudgePosition {
        claim: (n % 3 > 0).then_some(Waypoint {
            position: if n % 3 == 1 { head.position() } else { Position::after(Lsn(n)) },
            ..head.waypoint
        }),
        scope: if n % 4 == 0 { unknown(n / 8) } else { Scope::All },
    });
    let judged = join_all(questions.map(|q| world.database.judge_position(q))).await;
    for (n, judged) in (0..).zip(judged) {
        let judged = judged.expect("answers");
        assert_eq!(judged.head, head);
        assert!(judged.mark >= head.covered);
        assert_eq!(judged.named.is_some(), n % 3 == 1, "{n}");
        let expected = if n % 4 == 0 { vec![format!("public.no{}", n / 8)] } else { Vec::new() };
        assert_eq!(judged.unknown_tables, expected, "{n}");
    }
}
