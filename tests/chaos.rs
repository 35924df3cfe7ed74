//! Kills of every kind at random moments under load: the same check that `demo --check` makes.

use crate::support::program;
use dormouse_runtime::demo::check::{Plan, check};
use dormouse_runtime::source::Kind;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_is_killed() {
    nothing_is_lost(Kind::Stream, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_by_polling_whatever_is_killed() {
    nothing_is_lost(Kind::Poll, 8).await;
}

async fn nothing_is_lost(source: Kind, seconds: u64) {
    let (program, seed) = (program().into(), rand::random::<u32>().into());
    let plan = Plan { program, seconds, clients: 8, rows: 2_000, seed, source };
    let mut log = Vec::new();
    let report = check(&plan, &mut |line| log.push(line.to_owned())).await;
    let report = report.unwrap_or_else(|error| panic!("seed {}: {error}\n{log:#?}", plan.seed));
    assert!(report.ok, "{report:#?}\n{log:#?}");
}
