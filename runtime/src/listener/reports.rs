//! What monitors ask: is it alive, is it ready, where does it stand.

use super::{Door, answer};
use crate::hub::SessionCounts;
use crate::metrics::Sample;
use crate::wait::Unmet;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use dormouse_core::position::{Era, Lsn, Position};
use dormouse_core::replication::PhaseName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long a hub may take to answer before it counts as stuck.
const HUB_ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long the database may take to say where the source stands; the rest is worth knowing without it.
const SOURCE_ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long `wait-for-initial-poll` waits unless told otherwise, and at most.
const WAIT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(120);

/// `GET /api/replication/status`.
#[derive(Debug, Serialize)]
struct StatusJson {
    v: u32,
    era: Option<Era>,
    head: Option<Position>,
    covered: Option<Lsn>,
    confirmed: Lsn,
    phase: PhaseName,
    lease: LeaseJson,
    retained_wal_bytes: Option<u64>,
    /// From what is covered to the end of the database's WAL, published or not.
    lag_bytes: Option<u64>,
    /// What Postgres keeps for the slot before it gives it up; null: any amount.
    retained_wal_bytes_max: Option<u64>,
    /// How far the WAL is written.
    written: Option<Lsn>,
    sessions: SessionCounts,
    /// Whether there is a fresh proof of progress. `/readyz` makes one if need be.
    progress_is_fresh: bool,
    progress_age_ms: Option<u128>,
    /// Why the last preparation or stream ended, until the next one delivers.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    halt: Option<HaltJson>,
}

#[derive(Debug, Serialize)]
struct LeaseJson {
    holder: Option<String>,
    token: Option<u64>,
    /// Whether this process holds it.
    ours: bool,
}

#[derive(Debug, Serialize)]
struct HaltJson {
    code: String,
    message: String,
}

pub(super) async fn status(State(door): State<Arc<Door>>) -> Response {
    let report = door.replication.borrow().clone();
    let status = report.status;
    let source = source(&door).await;
    answer::json(
        StatusCode::OK,
        &StatusJson {
            v: 1,
            era: status.head.map(|head| head.era()),
            head: status.head.map(|head| head.position()),
            covered: status.head.map(|head| head.covered),
            confirmed: status.confirmed,
            phase: status.phase,
            lease: LeaseJson {
                holder: source.as_ref().filter(|source| source.is_held()).map(|source| source.holder.clone()),
                token: source.as_ref().map(|source| source.token.0).or(status.token.map(|token| token.0)),
                ours: status.token.is_some(),
            },
            lag_bytes: source.as_ref().and_then(|source| Some(source.wal_end.0.saturating_sub(status.head?.covered.0))),
            retained_wal_bytes: source.as_ref().map(|source| source.retained_wal_bytes),
            retained_wal_bytes_max: source.as_ref().and_then(|source| source.retained_wal_bytes_max),
            written: source.as_ref().map(|source| source.wal_end),
            sessions: count(&door).await.unwrap_or_default(),
            progress_is_fresh: door.heartbeat.is_fresh(),
            progress_age_ms: door.heartbeat.progress_age().map(|age| age.as_millis()),
            trouble: report.trouble,
            halt: status.halt.map(|halt| HaltJson { code: halt.code, message: halt.message }),
        },
    )
}

async fn source(door: &Door) -> Option<crate::db::SourceStatus> {
    tokio::time::timeout(SOURCE_ANSWER_MAX, door.database.source_status()).await.ok()?.ok()
}

async fn count(door: &Door) -> Option<SessionCounts> {
    tokio::time::timeout(HUB_ANSWER_MAX, door.hubs.count()).await.ok()
}

/// `GET /metrics`.
pub(super) async fn metrics(State(door): State<Arc<Door>>) -> ([(HeaderName, &'static str); 1], String) {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let report = door.replication.borrow().clone();
    let (source, sessions, judged) = tokio::join!(source(&door), count(&door), door.heartbeat.judge());
    let sessions = sessions.unwrap_or_default();
    door.metrics.gauges.set(&Sample {
        report: &report,
        source: source.as_ref(),
        sessions,
        memory: [("outbox", door.budget.used() as u64), ("recent_pages", sessions.recent_bytes)],
        spools: (door.database.spools(), door.database.spool_bytes()),
        connections: door.database.connections(),
        progress_age: door.heartbeat.progress_age(),
        ready: judged.is_ok(),
    });
    ([(header::CONTENT_TYPE, OPEN_METRICS)], door.metrics.encode())
}

/// The process serves requests and its hubs answer. It asks nothing of the database: a restart would not mend that.
pub(super) async fn healthy(State(door): State<Arc<Door>>) -> Response {
    if count(&door).await.is_some() {
        answer::json(StatusCode::OK, &json!({ "v": 1, "healthy": true }))
    } else {
        answer::json(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "v": 1, "healthy": false, "reason": "a hub does not answer" }),
        )
    }
}

/// Whether clients get what is committed. What is wrong in detail is for operators.
pub(super) async fn ready(State(door): State<Arc<Door>>, headers: HeaderMap) -> Response {
    let trouble = match door.heartbeat.judge().await {
        Ok(()) => return answer::json(StatusCode::OK, &json!({ "v": 1, "ready": true })),
        Err(trouble) => trouble,
    };
    let mut body = json!({ "v": 1, "ready": false, "reason": trouble.reason });
    if door.operators.judge(&headers).is_ok() {
        body["message"] = trouble.message.into();
        body["phase"] = json!(door.replication.borrow().status.phase);
        body["progress_age_ms"] = json!(door.heartbeat.progress_age().map(|age| age.as_millis()));
    }
    answer::json(StatusCode::SERVICE_UNAVAILABLE, &body)
}

/// How long to wait.
#[derive(Debug, Deserialize)]
pub(super) struct Patience {
    timeout_ms: Option<u64>,
}

/// `GET /api/replication/wait-for-initial-poll`: answers once history holds all that was committed before the request.
pub(super) async fn wait(State(door): State<Arc<Door>>, Query(patience): Query<Patience>) -> Response {
    let most = patience.timeout_ms.map_or(WAIT, Duration::from_millis).min(WAIT_MAX);
    let waited = tokio::select! {
        waited = door.waiting.wait(most) => waited,
        () = door.closing.cancelled() => Err(Unmet::Unavailable("the server is going away".into())),
    };
    match waited {
        Ok(reached) => {
            let waited_ms = u64::try_from(reached.waited.as_millis()).unwrap_or(u64::MAX);
            let body = json!({ "v": 1, "waited_ms": waited_ms, "covered": reached.covered, "era": reached.era });
            answer::json(StatusCode::OK, &body)
        }
        Err(Unmet::TimedOut(why)) => answer::error(StatusCode::GATEWAY_TIMEOUT, "timeout", &why),
        Err(Unmet::Unavailable(why)) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &why),
    }
}
