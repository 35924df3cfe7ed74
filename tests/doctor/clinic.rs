//! A cluster to make sick, `doctor` as operators call it, and `psql` to paste remedies into.

pub use crate::support::call;

use dormouse_runtime::demo::cluster::Cluster;
use dormouse_runtime::doctor::Severity;
use serde_json::Value;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What a healthy server lacks nothing of, as far as `doctor` is concerned.
pub const HEALTHY: (&str, &str) = ("max_slot_wal_keep_size", "1GB");

/// What `doctor` said, and with which status it ended.
pub struct Visit {
    pub status: i32,
    pub findings: Vec<Value>,
    /// For people.
    pub text: String,
}

impl Visit {
    /// The codes of what is not well.
    pub fn complaints(&self) -> Vec<&str> {
        let unwell = self.findings.iter().filter(|finding| finding["severity"] != "ok");
        unwell.map(|finding| finding["code"].as_str().expect("a code")).collect()
    }

    pub fn find(&self, code: &str) -> &Value {
        let found = self.findings.iter().find(|finding| finding["code"] == code && finding["severity"] != "ok");
        found.unwrap_or_else(|| panic!("no {code} in {:#?}", self.findings))
    }

    pub fn remedy(&self, code: &str) -> String {
        let remedy = self.find(code)["remedy_sql"].as_str();
        remedy.unwrap_or_else(|| panic!("{code} has no remedy in SQL: {:#?}", self.findings)).to_owned()
    }
}

pub fn cluster(settings: &[(&str, &str)]) -> Cluster {
    let settings: Vec<_> = [HEALTHY].iter().chain(settings).copied().collect();
    Cluster::start_with(&settings).unwrap_or_else(|error| panic!("{error}"))
}

/// The codes of what is not well, where that is about to change.
pub async fn complaints(url: &str) -> Vec<String> {
    let report = dormouse_runtime::doctor::examine(&dormouse_runtime::db::Config::new(url)).await.expect("a URL");
    let unwell = report.findings.iter().filter(|finding| finding.severity != Severity::Ok);
    unwell.map(|finding| finding.code.as_str().to_owned()).collect()
}

/// Calls `doctor` twice: for programs and for people, who are told the same.
pub async fn doctor(url: &str, more: &[&str]) -> Visit {
    let arguments: Vec<_> = ["doctor", "--database-url", url].iter().chain(more).copied().collect();
    let json = call(&[&arguments[..], &["--json"]].concat()).await;
    let report: Value = serde_json::from_slice(&json.stdout).unwrap_or_else(|why| panic!("{why}: {json:?}"));
    let findings = report["findings"].as_array().expect("findings").clone();
    let status = json.status.code().expect("it ended by itself");
    assert_eq!(report["v"], 1);
    assert_eq!(report["ok"], findings.iter().all(|finding| finding["severity"] != "error"));
    assert_eq!(status, i32::from(report["ok"] == false), "the status agrees with the report");
    let text = call(&arguments).await;
    assert_eq!(text.status.code(), Some(status));
    let text = String::from_utf8(text.stdout).expect("text");
    for finding in &findings {
        let code = finding["code"].as_str().expect("a code");
        let subject = finding["subject"].as_str().expect("a subject");
        let lines = text.lines().filter(|line| line.contains(&format!(" {code}: {subject}: "))).count();
        assert_eq!(lines, 1, "{code} is one line in {text}");
    }
    assert!(!text.contains('\x1b'), "no colour where there is no terminal");
    Visit { status, findings, text }
}

/// Pastes SQL into `psql`.
pub async fn paste(cluster: &Cluster, database: &str, sql: &str) -> String {
    let url = cluster.url_of(database);
    let mut psql = Command::new(cluster.program("psql"))
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("psql starts");
    let mut stdin = psql.stdin.take().expect("piped");
    stdin.write_all(sql.as_bytes()).await.expect("psql reads");
    drop(stdin);
    let output = psql.wait_with_output().await.expect("psql ends");
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A database of its own on a shared cluster, with its content.
pub async fn database(cluster: &Cluster, name: &str, sql: &str) -> String {
    paste(cluster, "postgres", &format!("create database {name};")).await;
    paste(cluster, name, sql).await;
    cluster.url_of(name)
}

/// The one complaint has this code; its remedy, pasted, leaves none.
pub async fn treat(cluster: &Cluster, database: &str, url: &str, more: &[&str], code: &str) {
    let visit = doctor(url, more).await;
    assert_eq!(visit.complaints(), [code], "{}", visit.text);
    paste(cluster, database, &visit.remedy(code)).await;
    let after = doctor(url, more).await;
    assert_eq!(after.complaints(), [""; 0], "{}\n{}", visit.text, after.text);
    assert_eq!(after.status, 0);
}
