//! The lease, its fence, eras, attempts, covered.

use super::*;
use dormouse_core::history::ReadHead;
use dormouse_core::replication::{NoteAttempt, ReleaseLease, RenewLease, SaveCovered};
use dormouse_core::safeguard::Safeguards;

const TTL: Duration = Duration::from_secs(1);

impl Rig {
    fn take(&mut self, holder: &str) -> LeaseTaken {
        self.pg.ask_take_lease(self.now, &TakeLease { holder: holder.into(), ttl: TTL }).expect("no failure")
    }
}

#[test]
fn a_lease_is_held_until_it_expires() {
    let mut rig = Rig::before_the_era();
    rig.now = rig.now + TTL / 4;
    let held = LeaseTaken::Held { holder: "a".into(), remaining: TTL * 3 / 4 };
    assert_eq!(rig.take("b"), held);
    assert_eq!(rig.take("a"), LeaseTaken::Taken { token: Token(2), clean: false }, "it is its own");
    rig.now = rig.now + TTL;
    assert_eq!(rig.take("b"), LeaseTaken::Taken { token: Token(3), clean: false });
    let renew = |token| RenewLease { token, ttl: TTL };
    assert_eq!(rig.pg.ask_renew_lease(rig.now, &renew(Token(2))), Ok(Fenced::Superseded));
    rig.now = rig.now + TTL / 2;
    assert_eq!(rig.pg.ask_renew_lease(rig.now, &renew(Token(3))), Ok(Fenced::Done(())));
    rig.now = rig.now + TTL * 3 / 4;
    assert!(matches!(rig.take("a"), LeaseTaken::Held { .. }));
    assert_eq!(rig.pg.ask_release_lease(&ReleaseLease { token: Token(2) }), Ok(Fenced::Superseded));
    assert_eq!(rig.pg.ask_release_lease(&ReleaseLease { token: Token(3) }), Ok(Fenced::Done(())));
    assert_eq!(rig.take("a"), LeaseTaken::Taken { token: Token(4), clean: true });
}

#[test]
fn every_taking_and_renewal_counts_and_nothing_else_does() {
    let mut rig = Rig::before_the_era();
    let counted = rig.pg.sighting().renewals;
    rig.now = rig.now + TTL / 4;
    assert!(matches!(rig.take("b"), LeaseTaken::Held { .. }));
    let renew = |token| RenewLease { token, ttl: TTL };
    assert_eq!(rig.pg.ask_renew_lease(rig.now, &renew(Token(7))), Ok(Fenced::Superseded));
    assert_eq!(rig.pg.sighting().renewals, counted, "it was refused");
    done(rig.pg.ask_renew_lease(rig.now, &renew(rig.token)));
    let known = rig.pg.sighting();
    assert_eq!(known.renewals, counted + 1);
    done(rig.pg.ask_release_lease(&ReleaseLease { token: rig.token }));
    let copy = rig.pg.clone();
    assert!(matches!(rig.take("b"), LeaseTaken::Taken { .. }));
    let later = rig.pg.sighting();
    assert_eq!((later.renewals, later.breaks_with(&known, Safeguards::ALL)), (counted + 2, None));
    rig.pg.restore(&copy);
    assert!(rig.pg.sighting().breaks_with(&later, Safeguards::ALL).is_some(), "what is restored knows less");
    rig.pg.promote();
    assert!(rig.pg.sighting().breaks_with(&known, Safeguards::ALL).is_some(), "another timeline may lack the end");
}

#[test]
fn an_earlier_token_does_nothing() {
    let mut rig = Rig::new();
    let old = rig.token;
    rig.take_lease("a");
    let era = rig.pg.era().expect("an era");
    let pg = &mut rig.pg;
    let (wal, head) = (pg.insert_lsn(), pg.head());
    assert_eq!(pg.ask_create_slot(&CreateSlot { token: old }), Ok(Fenced::Superseded));
    assert_eq!(pg.ask_load_progress(&LoadProgress { token: old }), Ok(Fenced::Superseded));
    assert_eq!(pg.ask_inspect_source(&InspectSource { token: old }), Ok(Fenced::Superseded));
    let ask = SaveCovered { token: old, era, covered: wal };
    assert_eq!(pg.ask_save_covered(&ask), Ok(Fenced::Superseded));
    assert_eq!(pg.ask_note_attempt(&NoteAttempt { token: old, commit_lsn: wal }), Ok(Fenced::Superseded));
    assert_eq!((pg.insert_lsn(), pg.head()), (wal, head));
}

#[test]
fn attempts_are_counted_per_transaction() {
    let mut rig = Rig::new();
    let token = rig.token;
    let mut note = |lsn| done(rig.pg.ask_note_attempt(&NoteAttempt { token, commit_lsn: Lsn(lsn) }));
    assert_eq!([note(5), note(5), note(7), note(7), note(5)], [1, 2, 1, 2, 1]);
}

#[test]
fn covered_never_moves_back() {
    let mut rig = Rig::new();
    let (token, era) = (rig.token, rig.pg.era().expect("an era"));
    let start = rig.pg.head().expect("an era").covered;
    rig.pg.advance_wal(1_000);
    let idle = rig.pg.flushed_lsn();
    done(rig.pg.ask_save_covered(&SaveCovered { token, era, covered: idle }));
    done(rig.pg.ask_save_covered(&SaveCovered { token, era, covered: start }));
    assert_eq!(rig.pg.ask_read_head(&ReadHead).expect("an era").covered, idle);
    let committed = rig.pg.run(rig.now, &[insert(1)]).expect("a commit");
    rig.record(100);
    assert_eq!(rig.pg.head().expect("an era").covered, committed.end_lsn);
    assert!(rig.pg.unrecorded_below(committed.end_lsn).is_none());
    rig.pg.run(rig.now, &[insert(2)]);
    assert!(rig.pg.unrecorded_below(committed.end_lsn).is_none());
    assert!(rig.pg.unrecorded_below(Lsn(u64::MAX)).is_some());
}

#[test]
fn each_era_has_its_own_name_and_an_empty_history() {
    let mut rig = Rig::before_the_era();
    assert!(rig.pg.ask_read_head(&ReadHead).is_err());
    assert_eq!(done(rig.pg.ask_load_progress(&LoadProgress { token: rig.token })), None);
    rig.begin_era();
    let first = rig.pg.head().expect("an era");
    assert_eq!((first.era().counter, first.waypoint.xid), (1, Xid(0)));
    rig.pg.run(rig.now, &[insert(1)]);
    rig.record(100);
    rig.begin_era();
    let second = rig.pg.head().expect("an era");
    assert_eq!((second.era().counter, second.waypoint.xid), (2, Xid(0)));
    assert_ne!(first.era().id, second.era().id);
    assert_eq!((rig.pg.history_changes(), rig.pg.last_appended()), (0, Some(second.position())));
}
