//! `dormouse bench`, each scenario small: that it measures, counts, and prints what scripts rely on.

use crate::support::{call, program};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// A whole Postgres is started, written to and measured.
const PATIENCE: Duration = Duration::from_secs(180);

async fn bench(arguments: &[&str]) -> Value {
    let mut command = Command::new(program());
    command.arg("bench").args(arguments).arg("--json").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("it starts");
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {output:?}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert!(output.status.success(), "{arguments:?}: {report}");
    report
}

/// Every scenario prints these, each time.
fn check(scenario: &str, report: &Value, clients: u64) {
    assert_eq!((&report["v"], &report["scenario"]), (&1.into(), &scenario.into()), "{report}");
    for setting in ["clients", "rows", "row_bytes", "transactions", "rows_per_transaction", "rate"] {
        assert!(report["settings"][setting].is_u64(), "{setting} in {report}");
    }
    assert_eq!(report["settings"]["synchronous_commit"], "on");
    assert!(report["load_avg"].is_number() && report["fsync"]["p50_ms"].is_number(), "{report}");
    for run in report["runs"].as_array().expect("runs") {
        for figure in ["p50_ms", "p90_ms", "p99_ms", "max_ms", "seconds", "postgres_cpu_seconds", "server_cpu_seconds"]
        {
            assert!(run[figure].is_f64(), "{figure} in {report}");
        }
        assert!(run["p50_ms"].as_f64() <= run["p99_ms"].as_f64() && run["p99_ms"].as_f64() <= run["max_ms"].as_f64());
        let memory = |figure: &str| run[figure].as_u64().unwrap_or_default();
        assert!(memory("server_rss_bytes") > 1 << 20, "{report}");
        assert!(memory("server_peak_rss_bytes") >= memory("server_rss_bytes"), "{report}");
        assert_eq!((&run["exactly_once"], &run["lost"], &run["duplicated"]), (&true.into(), &0.into(), &0.into()));
        assert_eq!((&run["clients_exactly_once"], &run["gaps"]), (&clients.into(), &0.into()), "{report}");
        for figure in ["per_second", "server_cpu_us_per_delivery", "rss_bytes_per_session"] {
            assert!(run.get(figure).is_some(), "{figure} in {report}");
        }
    }
    assert!(report["ceiling"]["name"].is_string(), "{report}");
    // CPU time comes in ticks of 10 ms: what took less than one costs nothing, and nothing can be so many times that.
    let costs_nothing = report["ceiling"]["server_cpu_us_per_delivery"].as_f64() == Some(0.0);
    assert!(costs_nothing || report["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fan_out_counts_each_change_at_each_client_and_beside_it_the_same_frames_raw() {
    let arguments =
        ["fan-out", "--clients", "10", "--rows", "50", "--transactions", "30", "--rate", "60", "--runs", "2"];
    let report = bench(&arguments).await;
    check("fan-out", &report, 10);
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&report["ceiling"]["name"], &report["ceiling"]["exactly_once"]),
        (&"raw broadcast".into(), &true.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn throughput_and_catch_up_count_rows_of_large_transactions_too() {
    let few = ["--clients", "10", "--rows", "50", "--transactions", "20", "--rows-per-transaction", "5000"];
    let report = bench(&[&["throughput"], &few[..]].concat()).await;
    check("throughput", &report, 10);
    let run = &report["runs"][0];
    assert!(run["written_per_second"].as_f64() >= run["per_second"].as_f64(), "{report}");
    assert_eq!(report["ceiling"]["name"], "walsender drain");
    let report = bench(&[&["throughput", "--backlog"], &few[..]].concat()).await;
    check("throughput", &report, 10);
    assert!(report["runs"][0]["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{report}");
    assert_eq!(report["settings"]["backlog"], true);
    let report = bench(&[&["catch-up"], &few[..]].concat()).await;
    check("catch-up", &report, 10);
    assert!(report["runs"][0]["recorded_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn first_syncs_are_counted_row_by_row() {
    let report = bench(&["first-sync", "--clients", "10", "--rows", "5000", "--runs", "2"]).await;
    check("first-sync", &report, 11);
    assert!(report["runs"][0]["one_more_from_the_spool_seconds"].is_f64(), "{report}");
    assert!(report["ceiling"]["driver_seconds"].is_f64(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_storm_measure_a_server_with_nobody_and_with_all_at_once() {
    let report = bench(&["idle", "--clients", "10", "--servers", "2", "--seconds", "1"]).await;
    check("idle", &report, 10);
    let run = &report["runs"][0];
    assert!(run["rss_bytes_per_session"].is_i64() && run["live_rss_bytes_per_session"].is_i64(), "{report}");
    assert!(run["nobody"]["rss_bytes"].is_u64() && run["nobody"]["cpu_percent_of_a_core"].is_f64(), "{report}");
    let report = bench(&["storm", "--clients", "10"]).await;
    check("storm", &report, 10);
    assert!(report["runs"][0]["back"]["latency"]["p99_ms"].is_f64(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_beside_live_clients_loses_nothing() {
    let report = bench(&["mixed", "--clients", "10", "--rows", "2000", "--transactions", "200", "--rate", "50"]).await;
    check("mixed", &report, 10 + 20 + 1 + 5);
    assert_eq!(report["runs"][0]["first_sync_seconds"].as_array().map(Vec::len), Some(5), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_is_refused_before_anything_starts() {
    for arguments in [
        &["bench", "fan-in"][..],
        &["bench", "fan-out", "--clients", "0"],
        &["bench", "fan-out", "--url", "ws://127.0.0.1:1"],
        &["bench", "fan-out", "--url", "wss://h/", "--database-url", "postgres://h/d"],
        &["bench-part", "--plan", "{}"],
    ] {
        let output = call(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}
