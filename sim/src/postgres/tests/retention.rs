//! What is pruned, what keeps it, and what is left of it.

use super::*;
use dormouse_core::hub::{JudgePosition, SavePositions, StoredPosition, TakeEpoch};
use dormouse_core::replication::Prune;
use dormouse_core::session::ClientId;

const MINUTE: Duration = Duration::from_secs(60);

/// Four transactions, a minute apart, and where they stand; it is then two minutes later.
fn rig() -> (Rig, Vec<Position>) {
    let mut rig = Rig::new();
    let mut commits = Vec::new();
    for key in 0..4 {
        let committed = rig.pg.run(rig.now, &[insert(key)]).expect("a commit");
        commits.push(Position::after(committed.commit_lsn));
        rig.now = rig.now + MINUTE;
    }
    rig.record(100);
    rig.now = rig.now + MINUTE;
    (rig, commits)
}

impl Rig {
    fn prune(&mut self, keep_min: u32, keep_max: u32) -> Position {
        let ask = Prune { token: self.token, keep_min: keep_min * MINUTE, keep_max: keep_max * MINUTE };
        done(self.pg.ask_prune(self.now, &ask))
    }

    fn register(&mut self, client: &str, position: Option<Position>, minutes: u32) {
        let client = ClientId::new(client).expect("a name");
        let waypoint = |position| Waypoint { position, ..self.pg.head().expect("an era").waypoint };
        let position = position.map_or(StoredPosition::Clear, |position| StoredPosition::Set(waypoint(position)));
        let ask = TakeEpoch { client, instance: None, attempt: 0, position, ttl: minutes * MINUTE, apart: true };
        self.pg.ask_take_epoch(self.now, &ask).expect("no failure");
    }
}

#[test]
fn what_nobody_needs_goes_when_it_is_old_enough() {
    let (mut rig, commits) = rig();
    let start = rig.expect;
    assert_eq!(rig.prune(9, 99), rig.pg.horizon().expect("an era").position);
    assert_eq!(rig.prune(3, 99), commits[1], "the third is not older than three minutes");
    assert_eq!(rig.pg.history_changes(), 2);
    let before = rig.pg.horizon().expect("an era").position;
    assert!(matches!(rig.read(commits[0], None, 9), HistoryRead::Pruned { .. }));
    assert_eq!(rig.read_all(before, None, 9)[0].changes(), 2);
    assert!(start > before);
}

#[test]
fn the_horizon_keeps_the_name_of_the_last_that_went() {
    let (mut rig, commits) = rig();
    let head = rig.pg.head();
    assert_eq!(rig.prune(0, 0), commits[3]);
    assert_eq!(rig.pg.head(), head, "even of the head");
    let claim = head.map(|head| head.waypoint);
    let judged = rig.pg.ask_judge_position(&JudgePosition { claim, scope: Scope::All }).expect("an era");
    assert_eq!(judged.named.map(|named| (named.xid, named.changes)), Some((rig.pg.commits()[3].xid, 1)));
    assert_eq!(judged.horizon, commits[3]);
    assert!(rig.pg.unrecorded_below(Lsn(u64::MAX)).is_none());
    rig.pg.run(rig.now, &[insert(9)]);
    rig.record(100);
    assert_eq!(rig.read_all(commits[3], None, 9).len(), 1);
}

#[test]
fn a_living_registration_keeps_what_follows_it() {
    let (mut rig, commits) = rig();
    rig.register("a", Some(commits[0]), 10);
    rig.register("b", None, 10);
    assert_eq!(rig.prune(0, 99), commits[0]);
    assert_eq!(rig.prune(0, 3), commits[1], "nothing keeps what is older than keep_max");
    let waypoint = rig.pg.registrations().values().next().expect("a").position.expect("stored");
    let entry = (ClientId::new("a").expect("a name"), rig.pg.registrations().values().next().expect("a").epoch);
    let position = Position { commit_lsn: commits[3].commit_lsn, index: 0 };
    let entries = vec![(entry.0, entry.1, Some(Waypoint { position, ..waypoint }))];
    rig.pg.ask_save_positions(&SavePositions { entries, fenced: true, monotonic: true }).expect("no failure");
    assert_eq!(rig.prune(0, 99), commits[2], "a position inside a transaction keeps that transaction");
    rig.now = rig.now + 11 * MINUTE;
    assert_eq!(rig.prune(0, 99), commits[3]);
    assert!(rig.pg.registrations().is_empty(), "they ran out");
}

#[test]
fn a_spool_keeps_its_seam() {
    let (mut rig, commits) = rig();
    rig.prune(3, 99);
    let SnapshotBegun::Begun(id) = rig.snapshot(true) else { panic!("the era has begun") };
    rig.pg.run(rig.now, &[insert(9)]);
    rig.record(100);
    rig.now = rig.now + MINUTE;
    assert_eq!(rig.prune(0, 99), commits[3]);
    rig.pg.drop_spool(id);
    assert!(rig.prune(0, 99) > commits[3]);
}

#[test]
fn what_is_not_visible_yet_stays() {
    let (mut rig, commits) = rig();
    let tx = rig.pg.begin();
    rig.pg.write(tx, insert(9)).expect("no lock");
    rig.pg.commit(rig.now, tx).expect("a commit");
    rig.record(100);
    rig.now = rig.now + MINUTE;
    assert_eq!(rig.prune(0, 0), commits[3]);
    let spool = rig.spool();
    assert_eq!(spool.start.position, commits[3]);
    rig.pg.make_visible(tx);
    let store = rig.backfill(&spool, |transaction| !spool.snapshot.sees(transaction.xid));
    assert_eq!(rig.judge(store.held()), Verdict::Right);
}

#[test]
fn a_piece_of_what_is_not_finished_stays() {
    let (mut rig, commits) = rig();
    rig.pg.run(rig.now, &[insert(8), insert(9)]);
    let pieces = rig.pages(1);
    rig.record_page(&pieces[0], true, true);
    rig.now = rig.now + MINUTE;
    assert_eq!(rig.prune(0, 0), commits[3]);
    assert_eq!(rig.pg.history_changes(), 1);
}
