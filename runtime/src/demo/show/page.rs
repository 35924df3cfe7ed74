//! The page at `/`, what its buttons ask for, and the way through to the server.

use super::database::DatabaseError;
use super::forward::Forward;
use super::guard::Guard;
use super::stage::Stage;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

const PAGE: &str = include_str!("../../../assets/demo.html");
/// The page's other files: name, type, text.
const ASSETS: [(&str, &str, &str); 7] = [
    ("base.css", CSS, include_str!("../../../assets/base.css")),
    ("demo.css", CSS, include_str!("../../../assets/demo.css")),
    ("demo.js", JS, include_str!("../../../assets/demo.js")),
    ("card.js", JS, include_str!("../../../assets/card.js")),
    ("plot.js", JS, include_str!("../../../assets/plot.js")),
    ("client.js", JS, include_str!("../../../assets/client.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../../assets/icon.svg")),
];
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
/// Where the page has its token.
const TOKEN_PLACE: &str = "{{token}}";

/// What the routes need.
pub struct Desk {
    /// What is moved.
    pub stage: Arc<Stage>,
    /// The way to the server.
    pub forward: Forward,
    /// Who may ask.
    pub guard: Guard,
}

/// All routes.
pub fn router(desk: Arc<Desk>) -> Router {
    let orders = Router::new()
        .route("/demo/cut", post(cut))
        .route("/demo/hibernate", post(hibernate))
        .route("/demo/write", post(write))
        .route("/demo/burst", post(burst))
        .route("/demo/kill", post(kill))
        .route("/demo/writer", post(writer))
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(&desk), Guard::judge_order));
    let mut router = Router::new()
        .route("/", get(page))
        .route("/demo/state", get(state))
        .route("/demo/truth", get(truth))
        .route("/api/{*path}", any(pass))
        .merge(orders);
    for (name, kind, text) in ASSETS {
        router = router.route(&format!("/assets/{name}"), get(async move || file(kind, text)));
    }
    router.layer(axum::middleware::from_fn_with_state(Arc::clone(&desk), Guard::judge_host)).with_state(desk)
}

async fn page(State(desk): State<Arc<Desk>>) -> Response {
    file("text/html; charset=utf-8", PAGE.replace(TOKEN_PLACE, desk.guard.token()))
}

fn file(kind: &'static str, text: impl IntoResponse) -> Response {
    // Scripts and styles are files of ours; sockets and requests go to where the page came from.
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text).into_response()
}

async fn pass(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    desk.forward.pass(request).await
}

/// `GET /demo/state`.
#[derive(Serialize)]
struct StateJson {
    v: u32,
    writes: bool,
    server: super::stage::ServerProcess,
    /// The server's own report, unless it is dead.
    status: Option<serde_json::Value>,
}

async fn state(State(desk): State<Arc<Desk>>) -> Json<StateJson> {
    let (server, status) = tokio::join!(desk.stage.server(), desk.forward.status());
    Json(StateJson { v: 1, writes: desk.stage.writes(), server, status })
}

async fn truth(State(desk): State<Arc<Desk>>) -> Response {
    answer(desk.stage.truth().await)
}

#[derive(Deserialize)]
struct Which {
    client: String,
}

async fn cut(State(desk): State<Arc<Desk>>, Query(which): Query<Which>) -> Json<serde_json::Value> {
    Json(json!({ "v": 1, "cut": desk.forward.cut(&which.client) }))
}

async fn hibernate(State(desk): State<Arc<Desk>>) -> StatusCode {
    desk.stage.hibernate().await;
    StatusCode::NO_CONTENT
}

async fn kill(State(desk): State<Arc<Desk>>) -> StatusCode {
    desk.stage.kill_server().await;
    StatusCode::NO_CONTENT
}

async fn write(State(desk): State<Arc<Desk>>) -> Response {
    answer(desk.stage.write_row().await)
}

async fn burst(State(desk): State<Arc<Desk>>) -> Response {
    answer(desk.stage.burst().await)
}

#[derive(Deserialize)]
struct Writes {
    on: bool,
}

async fn writer(State(desk): State<Arc<Desk>>, Query(writes): Query<Writes>) -> StatusCode {
    desk.stage.let_write(writes.on);
    StatusCode::NO_CONTENT
}

fn answer<T: Serialize>(answer: Result<T, DatabaseError>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}
