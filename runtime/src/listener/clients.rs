//! `GET /api/sync/clients`: who replicates, up to where, and whether they are here.

use super::{Door, answer};
use crate::db::Registration;
use crate::hub::SessionPhase;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use dormouse_core::history::{Head, ReadHead};
use dormouse_core::position::{Era, Position};
use dormouse_core::session::ClientId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The most clients of one answer.
const LIMIT_MAX: u32 = 1_000;
/// How long the hubs may take to say who is here; a listing without that is better than none.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Which part of the list.
#[derive(Debug, Deserialize)]
pub(super) struct Part {
    /// Follows this client id.
    #[serde(default)]
    after: String,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
struct ClientsJson {
    v: u32,
    head: Option<Position>,
    clients: Vec<ClientJson>,
    /// To be given as `after` for what follows; null at the end.
    next: Option<ClientId>,
}

#[derive(Debug, Serialize)]
struct ClientJson {
    id: ClientId,
    epoch: u64,
    era: Option<Era>,
    position: Option<Position>,
    schema: Option<u32>,
    /// Of WAL between the stored position and the head; null in another era, or without a position.
    lag_bytes: Option<u64>,
    seen_at_ms: i64,
    expires_at_ms: i64,
    /// Whether it has a session at this process.
    connected: bool,
    phase: Option<SessionPhase>,
}

pub(super) async fn clients(State(door): State<Arc<Door>>, Query(part): Query<Part>) -> Response {
    let limit = part.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let registrations = match door.database.registrations(&part.after, limit).await {
        Ok(registrations) => registrations,
        Err(why) => {
            let message = format!("the database does not answer: {}", why.reason());
            return answer::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &message);
        }
    };
    let full = registrations.len() == limit as usize;
    let next = registrations.last().filter(|_| full).map(|last| last.client.clone());
    let head = door.database.read_head(ReadHead).await.ok(); // Before the first era there is none.
    let look = door.hubs.look(registrations.iter().map(|one| &one.client));
    let here = tokio::time::timeout(LOOK_MAX, look).await.unwrap_or_default();
    let clients = registrations.into_iter().map(|one| of(one, head.as_ref(), &here)).collect();
    answer::json(StatusCode::OK, &ClientsJson { v: 1, head: head.map(|head| head.position()), clients, next })
}

fn of(one: Registration, head: Option<&Head>, here: &BTreeMap<ClientId, SessionPhase>) -> ClientJson {
    let phase = here.get(&one.client).copied();
    let comparable = head.zip(one.position).filter(|(head, position)| head.era() == position.era);
    let lag = comparable.map(|(head, at)| head.position().commit_lsn.0.saturating_sub(at.position.commit_lsn.0));
    ClientJson {
        id: one.client,
        epoch: one.epoch.0,
        era: one.position.map(|at| at.era),
        position: one.position.map(|at| at.position),
        schema: one.position.map(|at| at.schema.0),
        lag_bytes: lag,
        seen_at_ms: one.seen_at.0.div_euclid(1_000),
        expires_at_ms: one.expires_at.0.div_euclid(1_000),
        connected: phase.is_some(),
        phase,
    }
}
