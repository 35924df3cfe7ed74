//! What monitors and operators see: readiness that means progress, waiting, clients, metrics, and who may look.

use crate::support::{PATIENCE, Site, eventually, holds, http, signal};
use dormouse_core::position::Lsn;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one')";

/// What is promised: a proof counts for 5 s and may take 5 s; the rest is for a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(25);

async fn json(port: u16, path: &str) -> (u16, Value) {
    let answer = http::get(port, path, &[]).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_else(|why| panic!("{path}: {why}: {}", answer.body)))
}

async fn is_ready(port: u16) -> bool {
    let (status, body) = json(port, "/readyz").await;
    assert_eq!(body["ready"], status == 200, "{body}");
    status == 200
}

async fn walsender(site: &Site) -> i32 {
    let sql = site.sql().await;
    let row = sql.query_one("select active_pid from pg_replication_slots where slot_name like 'dormouse%'", &[]).await;
    row.expect("a slot").get::<_, Option<i32>>(0).expect("a walsender")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_walsender_is_not_ready_although_every_connection_is_open() {
    let site = Site::start(ITEMS).await;
    let port = site.server.port();
    eventually("ready", async || is_ready(port).await).await;
    let pid = walsender(&site).await;
    signal(pid, "STOP");
    let stopped = Instant::now();
    eventually("not ready", async || !is_ready(port).await).await;
    assert!(stopped.elapsed() < SEEN_WITHIN, "seen after {:?}", stopped.elapsed());
    let (_, body) = json(port, "/readyz").await;
    assert_eq!(body["reason"], "no_progress", "{body}");
    assert!(body["message"].as_str().is_some_and(|text| text.contains("covered has not moved")), "{body}");
    assert_eq!(json(port, "/healthz").await.0, 200, "a restart would not help");
    signal(pid, "CONT");
    eventually("ready again", async || is_ready(port).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_is_not_ready_and_comes_back() {
    let mut site = Site::start(ITEMS).await;
    let port = site.server.port();
    eventually("ready", async || is_ready(port).await).await;
    site.cluster.kill();
    let killed = Instant::now();
    eventually("not ready", async || !is_ready(port).await).await;
    assert!(killed.elapsed() < SEEN_WITHIN, "seen after {:?}", killed.elapsed());
    site.cluster.launch().expect("Postgres starts again");
    eventually("ready again", async || is_ready(port).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_source_stays_ready_by_proof_and_nearly_free() {
    let site = Site::start(ITEMS).await;
    let port = site.server.port();
    eventually("ready", async || is_ready(port).await).await;
    let sql = site.sql().await;
    let written = async || {
        let row = sql.query_one("select pg_current_wal_insert_lsn()::text", &[]).await.expect("a place");
        row.get::<_, String>(0).parse::<Lsn>().expect("an LSN").0
    };
    let before = written().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        assert!(is_ready(port).await, "an idle source is no trouble");
        tokio::time::sleep(Duration::from_millis(100)).await; // As often as no monitor asks.
    }
    let per_second = (written().await - before) / began.elapsed().as_secs();
    assert!(per_second < 20_000, "{per_second} bytes of WAL per second while nothing happens");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_by_is_ready_while_the_holder_gets_on() {
    let site = Site::start(ITEMS).await;
    eventually("ready", async || is_ready(site.server.port()).await).await;
    let second = crate::support::site::second_server(&site.cluster, &[]).await;
    let port = second.port();
    eventually("standing by", async || json(port, "/api/replication/status").await.1["phase"] == "standby").await;
    eventually("ready", async || is_ready(port).await).await;
    let (status, body) = json(port, "/api/replication/wait-for-initial-poll").await;
    assert_eq!(status, 200, "it hears how far the holder is: {body}");
    let pid = walsender(&site).await;
    signal(pid, "STOP");
    let stopped = Instant::now();
    eventually("not ready", async || !is_ready(port).await).await;
    assert!(stopped.elapsed() < SEEN_WITHIN, "seen after {:?}", stopped.elapsed());
    signal(pid, "CONT");
    eventually("ready again", async || is_ready(port).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_before_a_request_is_in_history_when_it_answers() {
    let site = Site::start(ITEMS).await;
    let port = site.server.port();
    let client = site.live_client("waiting").await;
    let sql = site.sql().await;
    for n in 2..12 {
        sql.execute("insert into item values ($1, 'more')", &[&n]).await.expect("inserted");
        let row = sql.query_one("select pg_current_wal_insert_lsn()::text", &[]).await.expect("a place");
        let committed: Lsn = row.get::<_, String>(0).parse().expect("an LSN");
        let (status, body) = json(port, "/api/replication/wait-for-initial-poll?timeout_ms=20000").await;
        assert_eq!((status, &body["v"]), (200, &Value::from(1)), "{body}");
        let covered: Lsn = body["covered"].as_str().expect("text").parse().expect("an LSN");
        assert!(covered >= committed, "{covered} is before {committed}");
        let counted = sql
            .query_one(
                "select count(*) from dormouse.transaction_history where commit_lsn < $1::text::pg_lsn",
                &[&covered.to_string()],
            )
            .await;
        let recorded: i64 = counted.expect("a number").get(0);
        assert_eq!(recorded, i64::from(n) - 1, "every insert is in history");
    }
    let expected: Vec<_> = (2..12).map(|n| format!("{n}|more")).chain(["1|one".into()]).collect();
    holds(&client, "public.item", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;

    let pid = walsender(&site).await;
    signal(pid, "STOP");
    sql.execute("insert into item values (12, 'late')", &[]).await.expect("inserted");
    let waiting = (0..20).map(|_| json(port, "/api/replication/wait-for-initial-poll?timeout_ms=1000"));
    for (status, body) in futures::future::join_all(waiting).await {
        assert_eq!((status, &body["error"]["code"]), (504, &Value::from("timeout")), "{body}");
    }
    signal(pid, "CONT");
    assert_eq!(json(port, "/api/replication/wait-for-initial-poll").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_listed_in_order_and_in_parts() {
    let site = Site::start_with(ITEMS, &[], &["--hibernate-after", "200ms"]).await;
    let port = site.server.port();
    let here = site.live_client("b-here").await;
    for gone in ["a-gone", "c-gone"] {
        site.live_client(gone).await.close().await;
    }
    site.execute("insert into item values (2, 'two')").await;
    holds(&here, "public.item", &["1|one", "2|two"]).await;
    let all = async |path: &str| json(port, path).await.1;
    let of = |body: &Value, field: &str| -> Vec<Value> {
        body["clients"].as_array().expect("a list").iter().map(|client| client[field].clone()).collect()
    };
    eventually("the others are gone, and the hub sleeps", async || {
        let body = all("/api/sync/clients").await;
        of(&body, "connected") == [false, true, false].map(Value::from) && body["clients"][1]["phase"] == "hibernated"
    })
    .await;
    let body = all("/api/sync/clients").await;
    assert_eq!(of(&body, "id"), ["a-gone", "b-here", "c-gone"].map(Value::from));
    assert_eq!(body["next"], Value::Null);
    let first = all("/api/sync/clients?limit=2").await;
    assert_eq!((of(&first, "id"), &first["next"]), (["a-gone", "b-here"].map(Value::from).to_vec(), &"b-here".into()));
    assert_eq!(of(&all("/api/sync/clients?limit=2&after=b-here").await, "id"), ["c-gone"].map(Value::from));
    eventually("its stored position is the head", async || {
        let body = all("/api/sync/clients").await;
        body["clients"][1]["position"] == body["head"] && body["clients"][1]["lag_bytes"] == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_valid_and_say_what_happened() {
    let site = Site::start(ITEMS).await;
    let port = site.server.port();
    let client = site.live_client("counted").await;
    site.execute("insert into item select g, 'x' from generate_series(2, 11) g").await;
    eventually("it holds them", async || client.read(|store| crate::support::rows(store, "public.item").len()) == 11)
        .await;
    let foreign = http::get(port, "/metrics", &[("Host", "rebound.example")]).await;
    assert_eq!(foreign.status, 403, "{}", foreign.body);

    let exposition = http::get(port, "/metrics", &[]).await;
    assert_eq!(exposition.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let (families, samples) = parse(&exposition.body);
    let value = |name: &str| samples.get(name).copied().unwrap_or_else(|| panic!("no {name} in {}", exposition.body));
    assert_eq!(value("dormouse_history_transactions_total"), 1.0);
    assert_eq!(value("dormouse_history_changes_total"), 10.0);
    assert_eq!(value("dormouse_append_duration_seconds_count"), 1.0);
    assert_eq!(value("dormouse_commit_to_sent_seconds_count"), 1.0);
    assert_eq!(value("dormouse_backfills_started_total"), 1.0);
    assert_eq!(value("dormouse_backfills_completed_total"), 1.0);
    assert_eq!(value("dormouse_sessions{phase=\"live\"}"), 1.0);
    assert_eq!(value("dormouse_replication_phase{phase=\"streaming\"}"), 1.0);
    assert_eq!(value("dormouse_replication_phase{phase=\"standby\"}"), 0.0);
    assert_eq!(value("dormouse_refusals_total{code=\"forbidden\"}"), 1.0);
    assert_eq!(value("dormouse_lease_held"), 1.0);
    assert_eq!(value("dormouse_database_up"), 1.0);
    assert!(value("dormouse_frames_sent_total") >= 4.0 && value("dormouse_messages_received_total") >= 1.0);
    assert!(value("dormouse_frames_per_flush_count") >= 1.0 && value("dormouse_frames_per_flush_sum") >= 4.0);
    assert!(value("dormouse_memory_bytes{kind=\"recent_pages\"}") > 0.0);
    assert!(value("dormouse_memory_bytes{kind=\"outbox\"}") >= 0.0 && value("dormouse_history_reads_total") >= 0.0);
    assert!(value("dormouse_connections_open") >= 2.0);
    assert!(value("dormouse_covered_lsn") > value("dormouse_head_lsn"));
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_open_fds") > 5.0);

    let docs = include_str!("../docs/OPERATIONS.md");
    let documented: Vec<_> = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let documented: Vec<_> =
        documented.into_iter().filter(|name| name.starts_with("dormouse_") || name.starts_with("process_")).collect();
    let mut exposed: Vec<_> = families.keys().map(String::as_str).collect();
    let mut sorted = documented.clone();
    sorted.sort_unstable();
    exposed.sort_unstable();
    assert_eq!(exposed, sorted, "docs/OPERATIONS.md has a table of all metrics and no others");
}

/// Reads OpenMetrics text strictly: the types of all families, and the values of all samples.
fn parse(text: &str) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
    let (mut families, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let mut family: Option<(String, String)> = None;
    let body = text.strip_suffix("# EOF\n").expect("it ends with EOF");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help has a text");
            assert!(!help.is_empty() && !families.contains_key(name), "{line}");
            family = Some((name.into(), String::new()));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(family.as_ref().is_some_and(|(of, _)| of == name), "HELP comes before TYPE: {line}");
            assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
            families.insert(name.to_owned(), kind.to_owned());
            family = Some((name.into(), kind.into()));
        } else {
            let (name, kind) = family.as_ref().expect("a sample belongs to a family");
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let bare = sample.split('{').next().expect("a name");
            let endings: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_count", "_sum"],
                "info" => &["_info"],
                _ => &[""],
            };
            assert!(
                endings.iter().any(|ending| bare == format!("{name}{ending}")),
                "{line} is no sample of a {kind} {name}"
            );
            assert!(bare.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{line}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    (families, samples)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_show_their_credential() {
    let dir = tempfile::tempdir().expect("a folder");
    let (clients, admin) = (dir.path().join("clients"), dir.path().join("admin"));
    std::fs::write(&clients, "s3cret *\n").expect("written");
    std::fs::write(&admin, "0perator\n").expect("written");
    let (clients, admin) = (clients.to_str().expect("text"), admin.to_str().expect("text"));
    const FOR_OPERATORS: [&str; 4] = ["/metrics", "/api/replication/status", "/api/sync/clients", "/console"];

    let site = Site::start_with(ITEMS, &[], &["--auth", clients]).await;
    for path in FOR_OPERATORS {
        let refused = http::get(site.server.port(), path, &[("Authorization", "Bearer s3cret")]).await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.body.contains("--admin-credential-file"), "{path}: {}", refused.body);
    }
    drop(site);

    let site = Site::start_with(ITEMS, &[], &["--auth", clients, "--admin-credential-file", admin]).await;
    let port = site.server.port();
    for path in FOR_OPERATORS {
        for wrong in [&[][..], &[("Authorization", "Bearer s3cret")], &[("Authorization", "Basic eDpzM2NyZXQ=")]] {
            let refused = http::get(port, path, wrong).await;
            assert_eq!(refused.status, 401, "{path}");
            assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")), "{path}");
        }
        for right in ["Bearer 0perator", "Basic YW55OjBwZXJhdG9y"] {
            assert_eq!(http::get(port, path, &[("Authorization", right)]).await.status, 200, "{path}");
        }
    }
    eventually("ready", async || is_ready(port).await).await;
    signal(walsender(&site).await, "STOP");
    eventually("not ready", async || !is_ready(port).await).await;
    let open = http::get(port, "/readyz", &[]).await;
    assert!(open.body.contains("\"no_progress\"") && !open.body.contains("message"), "{}", open.body);
    let told = http::get(port, "/readyz", &[("Authorization", "Bearer 0perator")]).await;
    assert!(told.body.contains("covered has not moved"), "{}", told.body);
    let metrics = http::get(port, "/metrics", &[("Authorization", "Bearer 0perator")]).await;
    assert!(metrics.body.contains("dormouse_refusals_total{code=\"unauthorized\"} 12"), "{}", metrics.body);
    signal(walsender(&site).await, "CONT");
    assert!(PATIENCE > SEEN_WITHIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_needs_nothing_from_elsewhere() {
    let site = Site::start(ITEMS).await;
    let port = site.server.port();
    let landing = http::get(port, "/", &[]).await;
    assert_eq!((landing.status, landing.header("location")), (307, Some("/console")));
    let console = http::get(port, "/console", &[]).await;
    assert_eq!(console.status, 200);
    let policy = console.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert_eq!(console.header("x-content-type-options"), Some("nosniff"));
    let page = &console.body;
    for wrong in ["<script>", "style=", "onclick=", "onload=", "http://", "https://", "<style"] {
        assert!(!page.contains(wrong), "{wrong} in the page");
    }
    let linked = page.split("\"/assets/").skip(1).filter_map(|rest| rest.split('"').next());
    let linked: Vec<_> = linked.collect();
    assert!(linked.len() >= 3, "{linked:?}");
    for name in linked {
        let asset = http::get(port, &format!("/assets/{name}"), &[]).await;
        assert_eq!(asset.status, 200, "{name}");
        assert!(!asset.body.contains("innerHTML") && !asset.body.contains("//cdn"), "{name}");
    }
}
