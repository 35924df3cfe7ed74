//! The page for operators: read-only, with nothing from elsewhere.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// The page's other files, which are no secret: name, type, text.
const ASSETS: [(&str, &str, &str); 4] = [
    ("base.css", CSS, include_str!("../../assets/base.css")),
    ("console.css", CSS, include_str!("../../assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_str!("../../assets/console.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];
const CSS: &str = "text/css; charset=utf-8";

/// `GET /console`.
pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("../../assets/console.html"))
}

/// The page's files, and the way to it from the root.
pub(super) fn assets<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let router = Router::new().route("/", get(async || Redirect::temporary("/console")));
    ASSETS.into_iter().fold(router, |router, (name, kind, text)| {
        router.route(&format!("/assets/{name}"), get(async move || file(kind, text)))
    })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
