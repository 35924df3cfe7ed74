//! How history is read: pages, pieces, the horizon, the names of positions.

use super::*;
use dormouse_core::hub::{JudgePosition, Named};
use dormouse_core::position::CommitTime;

fn index_of(commit_lsn: Lsn, index: u32) -> Position {
    Position { commit_lsn, index }
}

/// Transactions of 2, 3, 7 and 1 changes, and where they stand.
fn rig() -> (Rig, Position, Vec<Lsn>) {
    let mut rig = Rig::new();
    let start = rig.pg.head().expect("an era").position();
    let mut key = 0;
    let mut commits = Vec::new();
    for size in [2, 3, 7, 1] {
        let writes: Vec<_> = (key..key + size).map(insert).collect();
        key += size;
        commits.push(rig.pg.run(rig.now, &writes).expect("a commit").commit_lsn);
    }
    rig.record(3);
    (rig, start, commits)
}

fn told(pages: &[Arc<Page>]) -> Vec<(Position, Vec<usize>)> {
    let changes = |page: &Arc<Page>| page.transactions.iter().map(|transaction| transaction.changes.len()).collect();
    pages.iter().map(|page| (page.through.position, changes(page))).collect()
}

#[test]
fn a_page_holds_the_whole_transactions_that_fit() {
    let (rig, start, commits) = rig();
    let at = |n: usize| Position::after(commits[n]);
    assert_eq!(told(&rig.read_all(start, None, 100)), [(at(3), vec![2, 3, 7, 1])]);
    assert_eq!(told(&rig.read_all(start, None, 8)), [(at(1), vec![2, 3]), (at(3), vec![7, 1])]);
    assert_eq!(told(&rig.read_all(at(1), Some(commits[3]), 8)), [(at(2), vec![7])]);
    assert_eq!(told(&rig.read_all(start, Some(commits[0]), 8)), []);
}

#[test]
fn a_larger_transaction_comes_in_pieces_cut_by_the_reader() {
    let (rig, start, commits) = rig();
    let at = |n: usize| Position::after(commits[n]);
    let pieces = [
        (at(0), vec![2]),
        (at(1), vec![3]),
        (index_of(commits[2], 2), vec![3]),
        (index_of(commits[2], 5), vec![3]),
        (at(2), vec![1]),
        (at(3), vec![1]),
    ];
    let pages = rig.read_all(start, None, 3);
    assert_eq!(told(&pages), pieces);
    let parts: Vec<_> = pages.iter().map(|page| &page.transactions[0]).map(|t| (t.first, t.complete)).collect();
    assert_eq!(parts, [(0, true), (0, true), (0, false), (3, false), (6, true), (0, true)]);
    assert_eq!(pages[2].transactions[0].end_lsn, Lsn::ZERO);
    assert!(pages[4].transactions[0].end_lsn > commits[2]);
}

#[test]
fn a_reader_goes_on_inside_a_transaction() {
    let (rig, _, commits) = rig();
    let rest = rig.read_all(index_of(commits[2], 3), None, 100);
    assert_eq!(told(&rest), [(Position::after(commits[2]), vec![3]), (Position::after(commits[3]), vec![1])]);
    assert_eq!(rest[0].after, index_of(commits[2], 3));
    let next = rig.read_all(index_of(commits[2], 6), None, 100);
    assert_eq!(told(&next), [(Position::after(commits[3]), vec![1])], "who holds the last change goes on behind it");
    assert_eq!(told(&rig.read_all(index_of(commits[2], 6), Some(commits[3]), 100)), []);
}

#[test]
fn one_change_is_always_returned() {
    let (rig, start, commits) = rig();
    let era = rig.pg.era().expect("an era");
    let ask = ReadHistory { era, after: start, until: None, changes_max: 9, bytes_max: 1 };
    let Ok(HistoryRead::Page { page, .. }) = rig.pg.ask_read_history(&ask) else { panic!("something follows") };
    assert_eq!(told(&[page]), [(index_of(commits[0], 0), vec![1])]);
}

#[test]
fn another_era_is_told() {
    let (mut rig, start, _) = rig();
    let era = rig.pg.era().expect("an era");
    rig.begin_era();
    assert!(rig.pg.era() > Some(era));
    let ask = ReadHistory { era, after: start, until: None, changes_max: 9, bytes_max: 9 };
    let Ok(HistoryRead::OtherEra { head }) = rig.pg.ask_read_history(&ask) else { panic!("it has begun") };
    assert_eq!(Some(head.era()), rig.pg.era());
    let ask = TakeSnapshot { era, scope: Scope::All, await_era_start: true };
    let begun = rig.pg.snapshot_begin(&ask).expect("no lock");
    assert_eq!(begun, SnapshotBegun::Answered(SnapshotTaken::OtherEra { head }));
}

#[test]
fn a_position_is_judged_by_what_stands_there() {
    let (rig, start, commits) = rig();
    let head = rig.pg.head().expect("an era");
    let judge = |position, era| {
        let claim = Some(Waypoint { position, era, ..head.waypoint });
        let scope = Scope::tables(["public.t0".into(), "public.nix".into()]);
        rig.pg.ask_judge_position(&JudgePosition { claim, scope }).expect("an era")
    };
    let here = |position| judge(position, head.era());
    let named = here(index_of(commits[2], 4)).named.expect("it stands there");
    assert_eq!((named.xid, named.changes), (rig.pg.commits()[2].xid, 7));
    assert_eq!(named.committed_at, CommitTime(1_000_000));
    assert_eq!(here(start).named, Some(Named { xid: Xid(0), committed_at: CommitTime(0), changes: 0 }));
    assert_eq!(here(Position::after(Lsn(commits[2].0 + 8))).named, None);
    let mut other = head.era();
    other.id ^= 1;
    let judged = judge(start, other);
    assert_eq!((judged.named, judged.horizon, judged.head, judged.mark), (None, start, head, rig.pg.insert_lsn()));
    assert_eq!(judged.unknown_tables, ["public.nix"]);
}
