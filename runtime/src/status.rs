//! `dormouse status`: asks a server where it stands.

use crate::cli::CommandError;
use crate::client::{Address, OpenError, Security};
use axum::body::Body;
use axum::http::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use std::path::PathBuf;

/// What to ask.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server, as in http://127.0.0.1:7654
    #[arg(long, env = "DORMOUSE_URL")]
    url: Uri,
    /// Trust these authorities behind https:// (a file in PEM), instead of the system's
    #[arg(long, env = "DORMOUSE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints the server's status on stdout.
///
/// # Errors
/// When the server cannot be reached or does not answer with a status.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let text = fetch(&args.url, &Security::new(args.ca), "/api/replication/status").await?;
    if args.json {
        println!("{}", text.trim_end());
        return Ok(());
    }
    let status: serde_json::Value = serde_json::from_str(&text).map_err(|why| {
        CommandError::Failed(format!("{} answered with something else than a status: {why}", args.url))
    })?;
    let text = serde_json::to_string_pretty(&status).expect("a value read from JSON is JSON");
    println!("{text}");
    Ok(())
}

async fn fetch(url: &Uri, security: &Security, path: &str) -> Result<String, CommandError> {
    let unreachable = |why: &dyn std::fmt::Display| CommandError::Environment(format!("cannot reach {url}: {why}"));
    let host = url.host().ok_or_else(|| CommandError::Usage(format!("{url} names no host")))?;
    let address = Address::parse(&url.to_string()).map_err(|wrong| CommandError::Usage(wrong.0))?;
    let stream = security.open(&address).await.map_err(|error| match error {
        OpenError::Unreachable(why) | OpenError::Untrusted(why) => unreachable(&why),
    })?;
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|why| unreachable(&why))?;
    tokio::spawn(connection);
    let authority = url.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(path).header(header::HOST, authority).body(Body::empty());
    let request = request.map_err(|why| CommandError::Usage(format!("{url} is no address: {why}")))?;
    let response = send.send_request(request).await.map_err(|why| unreachable(&why))?;
    let code = response.status();
    let body = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await.map_err(|why| unreachable(&why))?;
    if code != StatusCode::OK {
        return Err(CommandError::Failed(format!("{url}{path} answered {code}")));
    }
    String::from_utf8(body.to_vec()).map_err(|why| CommandError::Failed(format!("{url} answered with no text: {why}")))
}

/// A size for people, as in `1.5 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut unit = 0;
    let mut size = count;
    let mut tenths = 0;
    while size >= 1024 && unit < 5 {
        tenths = size % 1024 * 10 / 1024;
        size /= 1024;
        unit += 1;
    }
    let unit = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
    if size < 10 && unit != "B" { format!("{size}.{tenths} {unit}") } else { format!("{size} {unit}") }
}
