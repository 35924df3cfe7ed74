//! Answers in JSON.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// An answer that no cache keeps.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why there is no answer: a code for programs, a sentence for people.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, &json!({ "v": 1, "error": { "code": code, "message": message } }))
}
