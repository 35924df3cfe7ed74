//! Who may see the page and press its buttons: browsers on this machine, from the page itself.

use super::page::Desk;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The header in which the page shows that it is the page.
const TOKEN_HEADER: &str = "x-dormouse-demo";

/// The rules, with this run's token.
#[derive(Debug)]
pub struct Guard {
    port: u16,
    token: String,
}

impl Guard {
    /// For a page on this port.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self { port, token: format!("{:032x}", rand::random::<u128>()) }
    }

    /// What the page shows with each order.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Every request must name this machine as its host: a foreign name that was made to resolve to it gets nothing.
    pub async fn judge_host(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
        if desk.guard.is_own_host(text(request.headers(), header::HOST.as_str())) {
            next.run(request).await
        } else {
            (StatusCode::FORBIDDEN, "this page is served to browsers on this machine only\n").into_response()
        }
    }

    /// An order must come from the page: with its origin, which no other page can claim, and with its token.
    pub async fn judge_order(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
        if desk.guard.is_own_order(request.headers()) {
            next.run(request).await
        } else {
            (StatusCode::FORBIDDEN, "orders are taken from the demo's own page only\n").into_response()
        }
    }

    fn is_own_host(&self, host: Option<&str>) -> bool {
        let hosts = ["127.0.0.1", "localhost", "[::1]"];
        host.is_some_and(|host| hosts.iter().any(|own| host == format!("{own}:{}", self.port)))
    }

    fn is_own_order(&self, headers: &HeaderMap) -> bool {
        let host = text(headers, header::HOST.as_str());
        let origin = text(headers, header::ORIGIN.as_str()).and_then(|origin| origin.strip_prefix("http://"));
        self.is_own_host(host) && origin == host && text(headers, TOKEN_HEADER) == Some(&self.token)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn only_the_page_gives_orders() {
        let guard = Guard::new(7654);
        let own = "127.0.0.1:7654";
        let order = |host: &str, origin: &str, token: &str| {
            guard.is_own_order(&headers(&[("host", host), ("origin", origin), (TOKEN_HEADER, token)]))
        };
        assert!(order(own, "http://127.0.0.1:7654", guard.token()));
        assert!(order("localhost:7654", "http://localhost:7654", guard.token()));
        assert!(!order(own, "http://127.0.0.1:7654", "guessed"));
        assert!(!order(own, "http://127.0.0.1:8000", guard.token()), "another page of this machine");
        assert!(!order(own, "http://localhost:7654", guard.token()));
        assert!(!order("rebound.example:7654", "http://rebound.example:7654", guard.token()));
        assert!(!guard.is_own_order(&headers(&[("host", own), (TOKEN_HEADER, guard.token())])), "no origin");
        assert!(!guard.is_own_host(Some("127.0.0.1:7655")) && !guard.is_own_host(None));
    }
}
