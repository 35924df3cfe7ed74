//! Epochs, stored positions, time-to-live.

use super::*;
use dormouse_core::hub::{EpochTaken, RenewRegistrations, SavePositions, StoredPosition, TakeEpoch, Unregister};
use dormouse_core::session::{ClientId, Epoch};

const TTL: Duration = Duration::from_secs(60);

fn client() -> ClientId {
    ClientId::new("a").expect("a name")
}

fn at(position: u64) -> Waypoint {
    Waypoint { position: Position::after(Lsn(position)), ..Waypoint::default() }
}

impl Rig {
    fn greet(
        &mut self,
        instance: Option<u64>,
        attempt: u64,
        position: StoredPosition,
    ) -> Option<(u64, Option<Waypoint>)> {
        let ask = TakeEpoch { client: client(), instance, attempt, position, ttl: TTL, apart: true };
        match self.pg.ask_take_epoch(self.now, &ask).expect("no failure") {
            EpochTaken::Taken { epoch, stored } => Some((epoch.0, stored)),
            EpochTaken::Stale | EpochTaken::Apart => None,
        }
    }

    fn save(&mut self, epoch: u64, position: Option<u64>, fenced: bool, monotonic: bool) -> Option<Waypoint> {
        let entries = vec![(client(), Epoch(epoch), position.map(at))];
        self.pg.ask_save_positions(&SavePositions { entries, fenced, monotonic }).expect("no failure");
        self.pg.registrations().get(&client()).and_then(|row| row.position)
    }
}

#[test]
fn a_greeting_that_was_overtaken_is_stale() {
    let mut rig = Rig::before_the_era();
    assert_eq!(rig.greet(Some(1), 2, StoredPosition::Clear), Some((1, None)));
    assert_eq!(rig.greet(Some(1), 1, StoredPosition::Clear), None);
    assert_eq!(rig.greet(Some(1), 2, StoredPosition::Clear), None);
    assert_eq!(rig.greet(Some(1), 3, StoredPosition::Clear), Some((2, None)));
    assert_eq!(rig.greet(Some(2), 1, StoredPosition::Clear), Some((3, None)));
    assert_eq!(rig.greet(None, 0, StoredPosition::Clear), Some((4, None)));
    assert_eq!(rig.greet(None, 0, StoredPosition::Clear), Some((5, None)), "thin clients are never stale");
}

#[test]
fn an_instance_that_was_replaced_is_set_apart() {
    let mut rig = Rig::before_the_era();
    let mut greet = |instance, attempt| {
        let position = StoredPosition::Clear;
        let ask = TakeEpoch { client: client(), instance, attempt, position, ttl: TTL, apart: true };
        rig.pg.ask_take_epoch(rig.now, &ask).expect("no failure")
    };
    let is_taken = |taken| matches!(taken, EpochTaken::Taken { .. });
    assert!(is_taken(greet(Some(1), 1)) && is_taken(greet(Some(2), 1)) && is_taken(greet(Some(2), 2)));
    assert_eq!(greet(Some(1), 2), EpochTaken::Apart);
    assert!(is_taken(greet(None, 0)), "thin clients replace each other");
    assert_eq!(greet(Some(2), 3), EpochTaken::Apart, "and whoever was there");
    assert_eq!(greet(Some(1), 1), EpochTaken::Apart);
    assert!((3..11).all(|instance| is_taken(greet(Some(instance), 1))));
    assert_eq!(greet(Some(3), 2), EpochTaken::Apart, "the last eight are remembered");
    assert!(is_taken(greet(Some(1), 3)), "and those before are not");
}

#[test]
fn a_greeting_says_what_becomes_of_the_stored_position() {
    let mut rig = Rig::before_the_era();
    assert_eq!(rig.greet(None, 0, StoredPosition::Keep), Some((1, None)));
    assert_eq!(rig.greet(None, 0, StoredPosition::Set(at(5))), Some((2, Some(at(5)))));
    assert_eq!(rig.greet(None, 0, StoredPosition::Keep), Some((3, Some(at(5)))));
    assert_eq!(rig.greet(None, 0, StoredPosition::Set(at(3))), Some((4, Some(at(3)))), "the claim is authoritative");
    assert_eq!(rig.greet(None, 0, StoredPosition::Clear), Some((5, None)));
}

#[test]
fn stored_positions_are_fenced_and_monotonic() {
    let mut rig = Rig::before_the_era();
    assert_eq!(rig.save(1, Some(5), true, true), None, "nobody is registered");
    rig.greet(None, 0, StoredPosition::Clear);
    rig.greet(None, 0, StoredPosition::Clear);
    assert_eq!(rig.save(2, Some(5), true, true), Some(at(5)));
    assert_eq!(rig.save(2, Some(4), true, true), Some(at(5)));
    assert_eq!(rig.save(2, Some(4), true, false), Some(at(4)));
    assert_eq!(rig.save(1, Some(9), true, true), Some(at(4)));
    assert_eq!(rig.save(1, Some(9), false, true), Some(at(9)));
    assert_eq!(rig.save(2, None, true, true), None);
}

#[test]
fn a_late_close_removes_no_newer_session() {
    let mut rig = Rig::before_the_era();
    rig.greet(None, 0, StoredPosition::Clear);
    rig.greet(None, 0, StoredPosition::Clear);
    let unregister = |epoch, fenced| Unregister { client: client(), epoch: Epoch(epoch), fenced };
    rig.pg.ask_unregister(&unregister(1, true)).expect("no failure");
    assert_eq!(rig.pg.registrations().len(), 1);
    rig.pg.ask_unregister(&unregister(2, true)).expect("no failure");
    assert_eq!(rig.pg.registrations().len(), 0);
    assert_eq!(rig.greet(None, 0, StoredPosition::Clear), Some((3, None)), "epochs never repeat");
    rig.pg.ask_unregister(&unregister(1, false)).expect("no failure");
    assert_eq!(rig.pg.registrations().len(), 0);
}

#[test]
fn a_renewal_tells_who_was_fenced() {
    let mut rig = Rig::before_the_era();
    rig.greet(None, 0, StoredPosition::Clear);
    rig.greet(None, 0, StoredPosition::Clear);
    rig.now = rig.now + TTL / 2;
    let other = ClientId::new("b").expect("a name");
    let ask = |epoch| RenewRegistrations { entries: vec![(client(), Epoch(epoch))], ttl: TTL };
    assert_eq!(rig.pg.ask_renew_registrations(rig.now, &ask(1)), Ok(vec![client()]));
    assert_eq!(rig.pg.ask_renew_registrations(rig.now, &ask(2)), Ok(vec![]));
    assert_eq!(rig.pg.registrations()[&client()].expires_at, rig.now + TTL);
    let lost = RenewRegistrations { entries: vec![(other.clone(), Epoch(7))], ttl: TTL };
    assert_eq!(rig.pg.ask_renew_registrations(rig.now, &lost), Ok(vec![]));
    assert_eq!(rig.pg.registrations()[&other].epoch, Epoch(7), "one that ran out in use is entered again");
}
