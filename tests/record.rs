//! The flight recorder: what a real server was told leads to the same outputs again, and no secret is among it.

use crate::support::site::{connect, options};
use crate::support::{Site, eventually, holds, rows};
use dormouse_core::hub::{Hub, Input, Output};
use dormouse_core::machine::{BrokenInvariant, Machine};
use dormouse_core::store::MemoryStore;
use dormouse_core::time::Timestamp;
use dormouse_journal::block;
use dormouse_journal::header::Header;
use dormouse_journal::journaled::{Journaled, Kind};
use dormouse_journal::record::{End, Record};
use dormouse_journal::replay::{Difference, Played, Replay};
use dormouse_journal::scribe::{Happened, Scribe};
use dormouse_journal::segment::{Ending, Segment};
use dormouse_journal::words::{Direction, entries};
use dormouse_runtime::client::Client;
use dormouse_sim::cli::journal::{Report, replay};
use dormouse_sim::recording::tell;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const ITEMS: &str = "create table item (id int primary key, name text not null default 'planted-default');
     insert into item values (1, 'planted-snapshot')";
const CREDENTIAL: &str = "planted-credential-7c1e";

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).expect("the folder").flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "journal"));
    files.sort();
    files
}

/// Everything that stands in a recording, unpacked.
fn contents(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for file in files(dir) {
        let bytes = fs::read(&file).expect("a segment");
        let (_, length) = Header::parse(&bytes).expect("a header");
        all.extend(&bytes[..length]);
        let mut rest = &bytes[length..];
        while let Some(Ok(raw)) = block::take(&mut rest) {
            all.extend(raw);
        }
    }
    all
}

fn find(all: &[u8], text: &str) -> bool {
    all.windows(text.len()).any(|window| window == text.as_bytes())
}

fn assert_faithful(dir: &Path) -> Vec<Report> {
    let reports = replay(dir).unwrap_or_else(|why| panic!("{why}"));
    let wrong: Vec<_> = reports.iter().filter(|report| !report.ok()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    reports
}

/// A first sync, writes, an eviction, a cut, a failed greeting, SIGKILL, a restart, more writes, an orderly end.
async fn live_through_it(record: &Path, more: &[&str]) {
    let keys = TempDir::new().expect("a folder");
    let keys_file = keys.path().join("keys");
    fs::write(&keys_file, format!("{CREDENTIAL} *\n")).expect("a file of credentials");
    let (keys_file, dir) = (keys_file.display().to_string(), record.display().to_string());
    let serve = [&["--auth", &keys_file, "--hubs", "1", "--hibernate-after", "300ms", "--record", &dir], more].concat();
    let mut site = Site::start_with(ITEMS, &[], &serve).await;
    let client = |site: &Site, name: &str| {
        let options = options(&site.server.url(), name).with_credential(Some(CREDENTIAL.into()));
        Client::connect(options, MemoryStore::default())
    };
    let (ann, bob) = (client(&site, "ann"), client(&site, "bob"));
    for client in [&ann, &bob] {
        client.wait_until_live().await.unwrap_or_else(|stopped| panic!("{stopped}"));
    }
    site.execute("insert into item values (2, 'planted-change')").await;
    holds(&ann, "public.item", &["1|planted-snapshot", "2|planted-change"]).await;
    site.server.hibernate();
    site.execute(
        "update item set name = 'planted-update' where id = 1; alter table item add more text default 'planted-alter'",
    )
    .await;
    site.execute("delete from item where id = 2; insert into item values (3, 'planted-last', 'planted-more')").await;
    let expected = ["1|planted-update|planted-alter", "3|planted-last|planted-more"];
    holds(&bob, "public.item", &expected).await;
    drop(bob);
    let carl = client(&site, "carl");
    holds(&carl, "public.item", &expected).await;

    site.server.kill();
    site.server.launch().expect("it starts again");
    site.server.await_open().await.expect("it listens again");
    connect(&site.cluster.url())
        .await
        .batch_execute("insert into item values (4, 'planted-second', null)")
        .await
        .expect("SQL");
    eventually("the row of the second life", async || ann.read(|store| rows(store, "public.item")).len() == 3).await;
    assert_eq!(ann.read(|store| rows(store, "public.item"))[2], "4|planted-second|null", "recording changes nothing");
    assert!(site.server.stop(Duration::from_secs(20)), "it ends in order\n{}", site.server.log_tail(20));
    let log = site.server.log();
    assert!(!log.contains("recording has a gap") && !log.contains("steps are missing"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_replays_bit_for_bit_across_evictions_kills_and_restarts() {
    let dir = TempDir::new().expect("a folder");
    live_through_it(dir.path(), &[]).await;
    let reports = assert_faithful(dir.path());
    for lane in ["replication", "hub/0"] {
        let of_lane = || reports.iter().filter(|report| report.header.as_ref().is_some_and(|h| h.lane == lane));
        assert_eq!(of_lane().filter(|report| report.steps > 0).count(), 2, "{lane} in both processes: {reports:#?}");
        let finished = |report: &&Report| report.ending == Some(Ending::Whole { why: End::Finished });
        assert_eq!(of_lane().filter(finished).count(), 1, "{lane}: killed once, ended once: {reports:#?}");
    }
    assert!(reports.iter().map(|report| report.lives).sum::<u64>() > 4, "hubs slept and were evicted: {reports:#?}");
    assert_drawn(dir.path());
    let all = contents(dir.path());
    assert!(find(&all, "planted-change"), "rows are in a recording that is not redacted");
    assert!(!find(&all, CREDENTIAL), "a credential is in none");

    // A flipped byte is found and named, wherever it is.
    let segments = files(dir.path()).into_iter().filter(|file| file.to_string_lossy().contains("replication"));
    let bytes = segments.map(|file| fs::read(file).expect("a segment")).max_by_key(Vec::len).expect("one");
    for at in [30, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        let doctored = dir.path().join("doctored.journal");
        fs::write(&doctored, flipped).expect("a file");
        let report = &replay(&doctored).expect("one segment")[0];
        assert!(!report.ok() && !report.problems.is_empty(), "byte {at}: {report:?}");
    }
    // A file that ends anywhere is read up to there.
    let header = Header::parse(&bytes).expect("a header").1;
    for length in [usize::midpoint(header, bytes.len()), bytes.len() - 1] {
        let torn = dir.path().join("torn.journal");
        fs::write(&torn, &bytes[..length]).expect("a file");
        let report = &replay(&torn).expect("one segment")[0];
        assert!(matches!(report.ending, Some(Ending::Torn { .. })) && report.ok(), "{length} bytes: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_recording_holds_no_contents_and_is_as_faithful() {
    let dir = TempDir::new().expect("a folder");
    live_through_it(dir.path(), &["--redact"]).await;
    let reports = assert_faithful(dir.path());
    assert!(reports.iter().map(|report| report.steps).sum::<u64>() > 50, "{reports:#?}");
    assert!(reports.iter().all(|report| report.header.as_ref().is_some_and(|header| header.redacted)));
    let all = contents(dir.path());
    assert!(find(&all, "item") && find(&all, "xxxxxxxxxxxxxx"), "names and lengths stay");
    assert!(!find(&all, "planted-"), "neither rows nor defaults nor credentials are in it");
}

/// A hub with a defect: it forgets to store the positions that clients acknowledge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Forgetful(Hub);

impl Machine for Forgetful {
    type Input = Input;
    type Output = Output;
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.0.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.0.handle_timeout(now);
    }
    fn poll_output(&mut self) -> Option<Output> {
        std::iter::from_fn(|| self.0.poll_output()).find(|output| !matches!(output, Output::SavePositions(_)))
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.poll_timeout()
    }
    fn check(&self) -> Result<(), BrokenInvariant> {
        self.0.check()
    }
    fn check_all(&self) -> Result<(), BrokenInvariant> {
        self.0.check_all()
    }
}

impl Journaled for Forgetful {
    const KIND: Kind = Kind::Hub;
    fn weight(input: &Input) -> usize {
        Hub::weight(input)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_behaves_otherwise_is_found_at_the_step() {
    let dir = TempDir::new().expect("a folder");
    let arguments = ["--hubs", "1", "--record", &dir.path().display().to_string()];
    let mut site = Site::start_with(ITEMS, &[], &arguments).await;
    let client = site.live_client("ann").await;
    site.execute("insert into item values (2, 'two')").await;
    holds(&client, "public.item", &["1|planted-snapshot", "2|two"]).await;
    client.close().await;
    assert!(site.server.stop(Duration::from_secs(20)), "it ends in order");

    let file = files(dir.path()).into_iter().find(|file| file.to_string_lossy().contains("hub-0")).expect("a hub");
    let bytes = fs::read(&file).expect("a segment");
    let segment = Segment::<Hub>::read(&bytes).expect("a recording");
    let told = entries(&segment);
    let saved = told.iter().find(|entry| entry.direction == Direction::Out && entry.text.starts_with("SavePositions"));
    let saved = saved.expect("the position of a client that was live is stored");

    let segment = Segment::<Forgetful>::read(&bytes).expect("a recording");
    let mut replay = Replay::new(&segment);
    let first = std::iter::from_fn(|| replay.next_record()).find_map(|played| match played {
        Played::Stepped(stepped) => stepped.difference.map(|difference| (stepped.n, difference)),
        Played::Began { .. } | Played::Dropped { .. } => None,
    });
    let (step, difference) = first.expect("the defect shows");
    assert_eq!(step, saved.step, "at the step in which it forgot");
    assert!(matches!(difference, Difference::Count { .. } | Difference::Output { .. }), "{difference:?}");

    // As if that hub had been in production: what is drawn ends at the step, and says how to look at it.
    fs::write(&file, recorded_by_a_forgetful_hub(&segment)).expect("a segment");
    let told = tell(dir.path(), None).expect("a recording");
    assert!(!told.ok, "the defect shows");
    let (report, about) = (&told.report, &told.report.heading);
    assert_eq!((about.promise.as_str(), about.entity.as_str()), ("Faithful", "hub/0"));
    assert!(about.replay.contains(&format!("--around {step}")), "{}", about.replay);
    let last = report.violation.expect("it is marked");
    assert_eq!(last, report.entries.len() - 1, "nothing is told beyond it");
    assert!(report.entries[last].w.contains(&format!("step {step} ")), "{}", report.entries[last].w);
    assert!(report.states.iter().any(|machine| machine.lane == "hub/0"), "what the hub held is told");
}

/// The recording as a forgetful hub would have made it.
fn recorded_by_a_forgetful_hub(segment: &Segment<Forgetful>) -> Vec<u8> {
    let Some(Record::Checkpoint { at, machine }) = segment.records.first() else { panic!("a checkpoint comes first") };
    let mut scribe = Scribe::begin(&segment.header, *at, machine, &Arc::default()).expect("it has a form");
    let mut replay = Replay::new(segment);
    replay.next_record();
    while let Some(Played::Stepped(stepped)) = replay.next_record() {
        let (cause, outputs) = (stepped.cause.clone(), stepped.outputs);
        let happened = Happened { at: stepped.at, cause, outputs, whole: true, deadline: stepped.deadline };
        scribe.step(&happened).expect("it has a form");
    }
    scribe.end(End::Finished).expect("it has a form");
    scribe.take_all()
}

/// What is drawn of a recording: everybody has a lane, and each arrow begins where it should.
fn assert_drawn(dir: &Path) {
    let told = tell(dir, None).unwrap_or_else(|why| panic!("{why}"));
    let (report, about) = (&told.report, &told.report.heading);
    assert!(told.ok && report.violation.is_none() && about.promise.is_empty(), "{about:?}");
    for lane in ["client/0", "hub/0", "replication/0", "postgres"] {
        assert!(report.lanes.iter().any(|known| known == lane), "{lane} has a lane: {:?}", report.lanes);
    }
    let fact = |name: &str| about.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert!(fact("clients").is_some_and(|clients| clients.contains(" is ann")), "{:?}", about.facts);
    assert!(fact("earlier").is_some_and(|earlier| earlier.contains("not told")), "only the last process: {about:?}");
    let begins = |link: u32| report.entries.iter().position(|entry| entry.s.contains(&link));
    let ends = report.entries.iter().enumerate().filter_map(|(n, entry)| Some((n, entry.g?)));
    let mut between = std::collections::BTreeSet::new();
    for (n, link) in ends {
        let from = begins(link).unwrap_or_else(|| panic!("way {link} begins nowhere"));
        assert!(from <= n, "way {link} goes back in time");
        let lane = |n: usize| report.lanes[report.entries[n].l].split('/').next().unwrap_or_default();
        between.insert((lane(from), lane(n)));
    }
    for way in [("client", "hub"), ("hub", "client"), ("replication", "hub"), ("hub", "postgres"), ("postgres", "hub")]
    {
        assert!(between.contains(&way), "{way:?} is drawn: {between:?}");
    }
    let said = |what: &str| report.entries.iter().any(|entry| entry.w.contains(what));
    for what in ["sent Hello", "is sent Welcome", "wakes"] {
        assert!(said(what), "{what:?} is told in words");
    }
    let (text, page) = (report.text(), report.html());
    assert!(
        text.starts_with("A flight recording: every one of its ") && text.contains("Last changes of hub/0"),
        "{text}"
    );
    assert!(page.contains("A flight recording") && !page.contains("{{"), "everything is filled in");

    let why = tell(dir, Some(Timestamp(1))).expect_err("nothing happened in 1970");
    assert!(why.contains("no step by then; the first is at 1"), "{why}");
    let middle = report.entries[report.entries.len() / 2].t;
    let times = fact("times").and_then(|times| times.split(" at ").nth(1)?.strip_suffix(" s")).expect("when it began");
    let began = times.replace('.', "").parse::<u64>().expect("a time");
    let until = tell(dir, Some(Timestamp(began + middle))).unwrap_or_else(|why| panic!("{why}")).report;
    assert!(until.entries.len() < report.entries.len() && until.entries.iter().all(|entry| entry.t <= middle));
}
