use super::support::{SECOND, World};
use dormouse_core::hub::{EpochTaken, RenewRegistrations, SavePositions, StoredPosition, TakeEpoch, Unregister};
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::session::{ClientId, Epoch};
use dormouse_core::xid::Xid;

fn client(name: &str) -> ClientId {
    ClientId::new(name).expect("valid")
}

fn waypoint(lsn: u64) -> Waypoint {
    Waypoint {
        era: Era { counter: 2, id: u64::MAX - 5 },
        schema: SchemaVersion(3),
        position: Position { commit_lsn: Lsn(lsn), index: if lsn.is_multiple_of(2) { Position::WHOLE } else { 7 } },
        xid: Xid(1 << 40),
        committed_at: CommitTime(1_700_000_000_000_123),
    }
}

struct Registry(World);

impl Registry {
    async fn greet(&self, instance: Option<u64>, attempt: u64, position: StoredPosition) -> EpochTaken {
        let q = TakeEpoch { client: client("c"), instance, attempt, position, ttl: 60 * SECOND, apart: true };
        self.0.database.take_epoch(q).await.expect("answers")
    }

    async fn taken(&self, instance: Option<u64>, attempt: u64, position: StoredPosition) -> (Epoch, Option<Waypoint>) {
        match self.greet(instance, attempt, position).await {
            EpochTaken::Taken { epoch, stored } => (epoch, stored),
            EpochTaken::Stale | EpochTaken::Apart => panic!("refused"),
        }
    }

    async fn save(&self, entries: Vec<(&str, Epoch, Option<Waypoint>)>) {
        let entries = entries.into_iter().map(|(id, epoch, at)| (client(id), epoch, at)).collect();
        let q = SavePositions { entries, fenced: true, monotonic: true };
        self.0.database.save_positions(q).await.expect("answers");
    }

    async fn stored(&self) -> Option<Waypoint> {
        self.0.database.registration(&client("c")).await.expect("answers").expect("registered").position
    }
}

#[tokio::test]
async fn a_greeting_fences_the_sessions_before_it() {
    let registry = Registry(World::new("").await);
    let (first, stored) = registry.taken(Some(u64::MAX), 5, StoredPosition::Keep).await;
    assert_eq!(stored, None);
    assert_eq!(registry.greet(Some(u64::MAX), 5, StoredPosition::Clear).await, EpochTaken::Stale);
    assert_eq!(registry.greet(Some(u64::MAX), 4, StoredPosition::Clear).await, EpochTaken::Stale);
    let (second, stored) = registry.taken(Some(u64::MAX), 6, StoredPosition::Set(waypoint(10))).await;
    assert_eq!(stored, Some(waypoint(10)));
    assert!(second > first);
    let (third, stored) = registry.taken(Some(1), 0, StoredPosition::Keep).await;
    assert_eq!(stored, Some(waypoint(10)));
    registry.save(vec![("c", second, Some(waypoint(20)))]).await;
    assert_eq!(registry.stored().await, Some(waypoint(10)), "an older session is fenced");
    registry.save(vec![("c", third, Some(waypoint(21))), ("c", third, Some(waypoint(20)))]).await;
    assert_eq!(registry.stored().await, Some(waypoint(21)), "a position does not move back");
    registry.save(vec![("c", third, None)]).await;
    assert_eq!(registry.stored().await, None);

    let unregister = |epoch| Unregister { client: client("c"), epoch, fenced: true };
    registry.0.database.unregister(unregister(second)).await.expect("answers");
    assert!(registry.0.database.registration(&client("c")).await.expect("answers").is_some(), "a late close");
    registry.0.database.unregister(unregister(third)).await.expect("answers");
    assert!(registry.0.database.registration(&client("c")).await.expect("answers").is_none());
    let (fourth, _) = registry.taken(Some(1), 0, StoredPosition::Keep).await;
    assert!(fourth > third, "epochs never start again");
    registry.taken(None, 0, StoredPosition::Keep).await;
    registry.taken(None, 0, StoredPosition::Keep).await;
}

#[tokio::test]
async fn two_first_greetings_at_once_get_two_epochs() {
    let registry = Registry(World::new("").await);
    let greet = |n| registry.taken(Some(n), 0, StoredPosition::Keep);
    let ((a, _), (b, _)) = tokio::join!(greet(1), greet(2));
    assert_ne!(a, b);
}

#[tokio::test]
async fn renewals_name_the_fenced_and_restore_the_expired() {
    let registry = Registry(World::new("").await);
    let (old, _) = registry.taken(Some(1), 0, StoredPosition::Keep).await;
    let (new, _) = registry.taken(Some(2), 0, StoredPosition::Keep).await;
    let renew = |entries| RenewRegistrations { entries, ttl: 600 * SECOND };
    let db = &registry.0.database;
    let entries = vec![(client("c"), old), (client("gone"), old)];
    assert_eq!(db.renew_registrations(renew(entries)).await.expect("answers"), [client("c")]);
    assert_eq!(db.renew_registrations(renew(vec![(client("c"), new)])).await.expect("answers"), []);
    let all = db.registrations("", 10).await.expect("answers");
    assert_eq!(all.iter().map(|it| it.client.as_str()).collect::<Vec<_>>(), ["c", "gone"]);
    assert!(db.registrations("c", 1).await.expect("answers")[0].client == client("gone"));
}
