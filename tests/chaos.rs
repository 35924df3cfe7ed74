//! Kills of every kind at random moments under load: the same check that `demo --check` makes.

use crate::support::program;
use dormouse_runtime::demo::check::{Plan, check};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_is_killed() {
    let plan =
        Plan { program: program().into(), seconds: 10, clients: 8, rows: 2_000, seed: rand::random::<u32>().into() };
    let mut log = Vec::new();
    let report = check(&plan, &mut |line| log.push(line.to_owned())).await;
    let report = report.unwrap_or_else(|error| panic!("seed {}: {error}\n{log:#?}", plan.seed));
    assert!(report.ok, "{report:#?}\n{log:#?}");
}
