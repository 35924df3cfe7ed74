//! Lanes and the folder, with real hubs and files.

use super::*;
use crate::drive::Witness;
use dormouse_core::ask::Incarnation;
use dormouse_core::change::{Change, Page, Relation, RelationId, Transaction};
use dormouse_core::history::{Announcement, Head};
use dormouse_core::hub::{self, Hub, Input};
use dormouse_core::machine::Machine;
use dormouse_core::position::{Lsn, Position, Waypoint};
use dormouse_core::row::{Row, Value};
use dormouse_journal::record::End;
use dormouse_journal::replay::{Played, Replay};
use dormouse_journal::segment::{Ending, Segment};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// A hub that is driven by hand, with its witness.
struct Driven {
    hub: Hub,
    lane: Lane<Hub>,
    now: Timestamp,
    announced: u64,
}

impl Driven {
    fn new(recorder: &Recorder) -> Self {
        let config = hub::Config::default();
        let mut lane = recorder.lane::<Hub>("hub/0", &config).expect("a thread");
        let (hub, now) = (Hub::new(config), Timestamp::from_millis(1));
        lane.begins(now, &hub);
        let mut driven = Self { hub, lane, now, announced: 0 };
        driven.tell(Input::Woke { incarnation: Incarnation(1), sessions: Vec::new() });
        driven
    }

    fn tell(&mut self, input: Input) {
        self.now = self.now + Duration::from_millis(1);
        self.lane.told(self.now, &input);
        self.hub.handle(self.now, input);
        while let Some(output) = self.hub.poll_output() {
            self.lane.says(&output);
        }
        self.lane.stepped(self.now, Some(&self.hub));
    }

    /// A page of 16 KiB that does not compress.
    fn announce(&mut self) {
        let at = |n: u64| Position { commit_lsn: Lsn(n), ..Position::default() };
        let (after, through) = (at(self.announced), at(self.announced + 1));
        self.announced += 1;
        let text: String =
            (0..1024).map(|n| format!("{:016x}", dormouse_core::rng::mix(self.announced << 16 | n))).collect();
        let relation = Arc::new(Relation::new("public", "item", Vec::new()));
        let row = Row::of([Value::Text(&text)]);
        let transaction = Transaction {
            commit_lsn: through.commit_lsn,
            end_lsn: through.commit_lsn,
            xid: Default::default(),
            committed_at: Default::default(),
            first: 0,
            complete: true,
            changes: [Change::Insert { relation: RelationId(relation.id.0), row }].into(),
        };
        let waypoint = Waypoint { position: through, ..Waypoint::default() };
        let page = Page { after, through: waypoint, relations: [relation].into(), transactions: vec![transaction] };
        let head = Head { waypoint, covered: through.commit_lsn };
        self.tell(Input::Announced(Arc::new(Announcement { after, head, page: Some(Arc::new(page)) })));
    }

    /// An announcement without a page.
    fn announce_nothing(&mut self) {
        let (after, head) = (Position::default(), Head { waypoint: Waypoint::default(), covered: Lsn(self.announced) });
        self.announced += 1;
        self.tell(Input::Announced(Arc::new(Announcement { after, head, page: None })));
    }

    /// Until the writer has written all, so that a test does not depend on how fast it is.
    fn rest(&self) {
        while self.lane.hurried() > 0 {
            std::thread::yield_now();
        }
    }
}

fn start(dir: &Path, mib: u64) -> Recorder {
    let config = Config { dir: dir.into(), bytes_max: mib * MIB, redact: false };
    Recorder::start(&config, 1, Clock::start(), RecordCounts::default()).expect("a folder of ours")
}

fn segments(dir: &Path) -> Vec<Segment<Hub>> {
    let mut files: Vec<_> = fs::read_dir(dir).expect("the folder").flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == dormouse_journal::EXTENSION));
    files.sort();
    let read = |file: &PathBuf| Segment::read(&fs::read(file).expect("a segment")).expect("a recording");
    files.iter().map(read).collect()
}

fn bytes(dir: &Path) -> u64 {
    fs::read_dir(dir)
        .expect("the folder")
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|data| data.len())
        .sum()
}

fn assert_faithful(segments: &[Segment<Hub>]) {
    for segment in segments {
        let mut replay = Replay::new(segment);
        while let Some(played) = replay.next_record() {
            if let Played::Stepped(stepped) = played {
                assert_eq!(stepped.difference, None, "segment {} step {}", segment.header.segment, stepped.n);
            }
        }
    }
}

#[test]
fn what_is_recorded_is_stored_while_more_follows() {
    // One step every 5 ms, longer than anything may wait and shorter than what fills a block.
    const STEPS: usize = 200;
    let dir = tempfile::tempdir().expect("a folder");
    let recorder = start(dir.path(), 1);
    let mut driven = Driven::new(&recorder);
    driven.rest();
    let began = bytes(dir.path());
    let stored = (0..STEPS).any(|_| {
        driven.announce_nothing();
        std::thread::sleep(Duration::from_millis(5));
        bytes(dir.path()) > began
    });
    assert!(stored, "a server that is killed now loses {STEPS} steps");
}

#[tokio::test]
async fn the_folder_stays_within_its_bound_and_the_oldest_goes_first() {
    let dir = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let recorder = start(dir.path(), 64);
        let mut driven = Driven::new(&recorder);
        for _ in 0..8 * 64 * 1024 / 16 / 4 {
            driven.announce();
            driven.rest();
            assert!(bytes(dir.path()) <= 64 * MIB);
        }
        drop(driven);
        recorder.finish().await;
    }
    let segments = segments(dir.path());
    assert!(bytes(dir.path()) > 16 * MIB, "room that there is is used");
    assert!(segments.len() > 1 && segments[0].header.segment > 0, "the oldest went");
    assert!(segments.iter().rev().skip(1).all(|segment| segment.ending == Ending::Whole { why: End::Full }));
    assert_faithful(&segments);
}

#[tokio::test]
async fn a_recorder_that_cannot_keep_up_leaves_a_gap_and_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let recorder = start(dir.path(), 64);
    let mut driven = Driven::new(&recorder);
    driven.announce();
    driven.rest();
    recorder.0.waiting.fetch_add(1 << 40, Relaxed); // As if other machines had so much to write.
    driven.announce();
    assert_eq!(recorder.0.counts.gaps.get(), 1);
    recorder.0.waiting.fetch_sub(1 << 40, Relaxed);
    driven.announce();
    driven.rest();
    driven.announce();
    driven.rest();
    drop(driven);
    recorder.clone().finish().await;
    assert_eq!(recorder.0.counts.gaps.get(), 1, "it is counted once");
    assert_eq!(recorder.0.waiting.load(Relaxed), 0, "nothing is forgotten to be written");
    let segments = segments(dir.path());
    let endings: Vec<_> = segments.iter().map(|segment| segment.ending.clone()).collect();
    assert_eq!(endings, [Ending::Whole { why: End::Gap }, Ending::Whole { why: End::Finished }]);
    assert_faithful(&segments);
}

#[tokio::test]
async fn a_disk_that_refuses_costs_a_gap_and_not_the_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let inside = dir.path().join("recording");
    let recorder = start(&inside, 64);
    fs::remove_dir_all(&inside).expect("it is there");
    let mut driven = Driven::new(&recorder);
    driven.announce();
    driven.rest();
    driven.announce();
    assert_eq!(recorder.0.counts.gaps.get(), 1);
    fs::create_dir(&inside).expect("it is not there");
    driven.now = driven.now + Duration::from_secs(11);
    driven.announce();
    driven.rest();
    driven.announce();
    drop(driven);
    recorder.finish().await;
    let segments = segments(&inside);
    assert_eq!(segments.len(), 1);
    assert_faithful(&segments);
}

#[tokio::test]
async fn a_folder_serves_one_process_and_none_that_is_too_small() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { dir: dir.path().into(), bytes_max: 8 * MIB, redact: false };
    let _first = Recorder::start(&config, 1, Clock::start(), RecordCounts::default()).expect("a folder of ours");
    let second = Recorder::start(&config, 1, Clock::start(), RecordCounts::default()).expect_err("it is taken");
    assert!(second.to_string().contains("another process records"), "{second}");
    let small = Recorder::start(&config, 9, Clock::start(), RecordCounts::default()).expect_err("it is too small");
    assert!(small.to_string().contains("at least 9"), "{small}");
}
