use super::support::{SECOND, World, done};
use crate::db::{Config, Database};
use crate::demo::cluster::Cluster;
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{Fenced, LeaseTaken, NoteAttempt, ReleaseLease, RenewLease, TakeLease, Token};

#[tokio::test]
async fn one_holder_at_a_time_and_tokens_grow() {
    let world = World::new("").await;
    let db = &world.database;
    let take = |holder: &str, ttl| db.take_lease(TakeLease { holder: holder.into(), ttl });
    assert_eq!(take("a", 30 * SECOND).await, Ok(LeaseTaken::Taken { token: Token(1), clean: true }));
    match take("b", 30 * SECOND).await.expect("answers") {
        LeaseTaken::Held { holder, remaining } => {
            assert_eq!(holder, "a");
            assert!(remaining > 20 * SECOND && remaining <= 30 * SECOND);
        }
        taken @ LeaseTaken::Taken { .. } => panic!("{taken:?}"),
    }
    assert_eq!(take("a", SECOND / 1_000).await, Ok(LeaseTaken::Taken { token: Token(2), clean: false }));
    tokio::time::sleep(SECOND / 20).await;
    assert_eq!(take("b", 30 * SECOND).await, Ok(LeaseTaken::Taken { token: Token(3), clean: false }));
    assert_eq!(db.renew_lease(RenewLease { token: Token(2), ttl: SECOND }).await, Ok(Fenced::Superseded));
    assert_eq!(db.release_lease(ReleaseLease { token: Token(2) }).await, Ok(Fenced::Superseded));
    assert_eq!(db.renew_lease(RenewLease { token: Token(3), ttl: SECOND }).await, Ok(Fenced::Done(())));
    assert_eq!(db.release_lease(ReleaseLease { token: Token(3) }).await, Ok(Fenced::Done(())));
    assert_eq!(take("a", SECOND).await, Ok(LeaseTaken::Taken { token: Token(4), clean: true }));
}

/// A process that was suspended in the midst of an append does not keep the lease; one whose append is only slow does.
#[tokio::test]
async fn a_silent_holder_is_ended_and_a_slow_one_is_waited_for() {
    let world = World::new("").await;
    let db = &world.database;
    let take = async || db.take_lease(TakeLease { holder: "next".into(), ttl: SECOND / 1_000 }).await;
    for (work, silent) in [("copy dormouse.change_history from stdin", true), ("select pg_sleep(7)", false)] {
        let before = done_token(&take().await);
        tokio::time::sleep(SECOND / 20).await;
        let other = super::support::connect(&world.cluster.url()).await;
        other.batch_execute("begin; select from dormouse.lease for update").await.expect("the lock is given");
        if silent {
            let _copy = other.copy_in::<_, bytes::Bytes>(work).await.expect("it waits for rows");
            assert_eq!(done_token(&take().await), before + 1);
            let end = tokio::time::timeout(20 * SECOND, other.batch_execute("commit")).await.expect("it was ended");
            assert!(end.is_err(), "what it wrote is not committed");
        } else {
            let (slept, taken) = tokio::join!(other.batch_execute(work), take());
            slept.expect("it was not ended");
            assert!(matches!(&taken, Err(Failure::Unavailable(why)) if why.contains("55P03")), "{taken:?}");
            other.batch_execute("commit").await.expect("it goes on");
            assert_eq!(done_token(&take().await), before + 1);
        }
    }
}

/// A process whose append lost its connection, and whose session goes on for Postgres: its own next renewal ends it.
#[tokio::test]
async fn a_holder_ends_its_own_session_that_was_lost() {
    let world = World::new("").await;
    let db = &world.database;
    let take = TakeLease { holder: "a".into(), ttl: SECOND / 1_000 };
    let Ok(LeaseTaken::Taken { token, .. }) = db.take_lease(take).await else { panic!("it is free") };
    let lost = super::support::connect(&world.cluster.url()).await;
    lost.batch_execute("begin; select from dormouse.lease for update").await.expect("the lock is given");
    let _copy = lost.copy_in::<_, bytes::Bytes>("copy dormouse.change_history from stdin").await.expect("it waits");
    assert_eq!(db.renew_lease(RenewLease { token, ttl: SECOND }).await, Ok(Fenced::Done(())));
    let end = tokio::time::timeout(20 * SECOND, lost.batch_execute("commit")).await.expect("it was ended");
    assert!(end.is_err(), "what it wrote is not committed");
}

fn done_token(taken: &Result<LeaseTaken, Failure>) -> u64 {
    match taken {
        Ok(LeaseTaken::Taken { token, .. }) => token.0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn attempts_at_one_transaction_are_counted() {
    let world = World::new("").await;
    let token = world.token().await;
    let note = |lsn| world.database.note_attempt(NoteAttempt { token, commit_lsn: Lsn(lsn) });
    for (lsn, count) in [(5, 1), (5, 2), (5, 3), (6, 1), (5, 1)] {
        assert_eq!(done(note(lsn).await.expect("answers")), count);
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_and_what_may_pass_is_not() {
    let mut cluster = Cluster::start().expect("starts");
    let connect = |url: String| Database::connect(Config::new(url));
    let missing = connect(cluster.url_of("nowhere")).await;
    assert!(matches!(missing, Err(Failure::Refused(_))), "{missing:?}");

    let first = connect(cluster.url()).await.expect("connects");
    let again = connect(cluster.url()).await.expect("connects a second time");
    assert_eq!(first.slot_name(), again.slot_name());
    let app = super::support::connect(&cluster.url()).await;
    app.batch_execute("update dormouse.version set version = 1000").await.expect("runs");
    let newer = connect(cluster.url()).await;
    assert!(matches!(&newer, Err(Failure::Refused(why)) if why.contains("version 1000")), "{newer:?}");

    cluster.stop();
    let away = connect(cluster.url()).await;
    assert!(matches!(away, Err(Failure::Unavailable(_))), "{away:?}");
    let lost = first.nudge_source().await;
    assert!(matches!(lost, Err(Failure::Unavailable(_))), "{lost:?}");
    cluster.launch().expect("comes back");
    first.nudge_source().await.expect("finds the way back");
}

#[tokio::test]
async fn nodes_that_start_at_once_migrate_once() {
    let cluster = Cluster::start().expect("starts");
    let all = futures::future::join_all((0..8).map(|_| Database::connect(Config::new(cluster.url())))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}
