//! What monitors ask: is it alive, is it ready, where does it stand.

use super::Door;
use crate::db::SourceStatus;
use crate::hub::SessionCounts;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use dormouse_core::position::{Era, Lsn, Position};
use dormouse_core::replication::PhaseName;
use serde::Serialize;
use std::sync::Arc;

/// `GET /api/replication/status`.
#[derive(Debug, Serialize)]
pub(super) struct StatusJson {
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
    sessions: SessionCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    halt: Option<HaltJson>,
}

#[derive(Debug, Serialize)]
struct LeaseJson {
    holder: Option<String>,
    token: Option<u64>,
}

#[derive(Debug, Serialize)]
struct HaltJson {
    code: String,
    message: String,
}

pub(super) async fn status(State(door): State<Arc<Door>>) -> Json<StatusJson> {
    let status = door.replication.borrow().status.clone();
    let source = door.database.source_status().await.ok(); // Without a database the rest is still worth knowing.
    Json(StatusJson {
        v: 1,
        era: status.head.map(|head| head.era()),
        head: status.head.map(|head| head.position()),
        covered: status.head.map(|head| head.covered),
        confirmed: status.confirmed,
        phase: status.phase,
        lease: LeaseJson {
            holder: source.as_ref().filter(|source| held(source)).map(|source| source.holder.clone()),
            token: source.as_ref().map(|source| source.token.0).or(status.token.map(|token| token.0)),
        },
        lag_bytes: source.as_ref().and_then(|source| Some(source.wal_end.0.saturating_sub(status.head?.covered.0))),
        retained_wal_bytes: source.map(|source| source.retained_wal_bytes),
        sessions: door.hubs.count().await,
        halt: status.halt.map(|halt| HaltJson { code: halt.code, message: halt.message }),
    })
}

fn held(source: &SourceStatus) -> bool {
    !source.remaining.is_zero()
}

/// `GET /metrics`.
pub(super) async fn metrics(State(door): State<Arc<Door>>) -> ([(HeaderName, &'static str); 1], String) {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], door.metrics.encode())
}

/// The process serves requests; nothing more.
pub(super) async fn healthy() -> &'static str {
    "ok\n"
}

/// Whether clients get what is committed: this process replicates, or stands by while another does.
pub(super) async fn ready(State(door): State<Arc<Door>>) -> (StatusCode, String) {
    let phase = door.replication.borrow().status.phase;
    match phase {
        PhaseName::Streaming => (StatusCode::OK, "ok\n".into()),
        PhaseName::Standby => match door.database.source_status().await {
            Ok(source) if held(&source) => (StatusCode::OK, "ok: another process replicates\n".into()),
            Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, "nobody replicates\n".into()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("the database does not answer: {why}\n")),
        },
        phase => (StatusCode::SERVICE_UNAVAILABLE, format!("replication is {phase:?}\n").to_lowercase()),
    }
}
