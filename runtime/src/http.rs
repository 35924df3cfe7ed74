//! A small HTTP client, for the few things that this program asks others.

use axum::body::Body;
use axum::http::uri::Scheme;
use axum::http::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpError {
    /// The address cannot be used.
    Address(String),
    /// Nobody answers there, or not in time, or not in HTTP.
    Unreachable(String),
    /// The answer is not 200. Redirects are not followed.
    Status(StatusCode),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(why) | Self::Unreachable(why) => f.write_str(why),
            Self::Status(status) => write!(f, "it answered {status}"),
        }
    }
}

/// Asks for what is at an `http` or `https` address, of at most `bytes_max` bytes.
///
/// # Errors
/// When there is no good answer within `timeout`.
pub async fn get(url: &Uri, bytes_max: usize, timeout: Duration) -> Result<Vec<u8>, HttpError> {
    let asked = tokio::time::timeout(timeout, ask(url, bytes_max));
    asked.await.unwrap_or_else(|_| Err(HttpError::Unreachable(format!("no answer within {timeout:?}"))))
}

async fn ask(url: &Uri, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    let secure = match url.scheme() {
        None => false,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(_) => return Err(HttpError::Address(format!("{url} is not an http:// or https:// address"))),
    };
    let host = url.host().ok_or_else(|| HttpError::Address(format!("{url} names no host")))?;
    let host = host.trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    if !secure {
        return converse(stream, url, bytes_max).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|why| HttpError::Address(why.to_string()))?;
    let config = TLS.as_ref().map_err(|why| HttpError::Unreachable(why.clone()))?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(unreachable)?;
    converse(stream, url, bytes_max).await
}

async fn converse<S>(stream: S, url: &Uri, bytes_max: usize) -> Result<Vec<u8>, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    tokio::spawn(connection);
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, authority).body(Body::empty());
    let request = request.map_err(|why| HttpError::Address(format!("{url} is no address: {why}")))?;
    let response = send.send_request(request).await.map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(HttpError::Status(response.status()));
    }
    let body = axum::body::to_bytes(Body::new(response.into_body()), bytes_max).await.map_err(unreachable)?;
    Ok(body.to_vec())
}

fn unreachable(why: impl fmt::Display) -> HttpError {
    HttpError::Unreachable(why.to_string())
}

/// Trusts what the system trusts. Built once.
static TLS: LazyLock<Result<Arc<rustls::ClientConfig>, String>> = LazyLock::new(|| {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|why| why.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
});
