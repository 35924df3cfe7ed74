//! `dormouse status`: asks a server where it stands.

use crate::cli::CommandError;
use crate::client::{Address, OpenError, Security};
use axum::body::Body;
use axum::http::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
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
    /// Show the credential in this file, its only line: the one that the server's --admin-credential-file holds
    #[arg(long, env = "DORMOUSE_ADMIN_CREDENTIAL_FILE", value_name = "FILE")]
    admin_credential_file: Option<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Prints the server's status on stdout.
///
/// # Errors
/// When the server cannot be reached or does not answer with a status.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let credential = args.admin_credential_file.as_deref().map(|file| {
        let text = std::fs::read_to_string(file);
        text.map_err(|why| CommandError::Usage(format!("cannot read {}: {why}", file.display())))
    });
    let (security, credential) = (Security::new(args.ca), credential.transpose()?);
    let text = fetch(&args.url, &security, "/api/replication/status", credential.as_deref()).await?;
    let status: Value = serde_json::from_str(&text).map_err(|why| {
        CommandError::Failed(format!("{} answered with something else than a status: {why}", args.url))
    })?;
    if args.json {
        println!("{}", text.trim_end());
    } else {
        print!("{}", to_text(&status));
    }
    match halt(&status) {
        Some(why) => Err(CommandError::Failed(format!("replication is halted: {why}"))),
        None => Ok(()),
    }
}

/// Why it does not go on by itself, if so.
fn halt(status: &Value) -> Option<&str> {
    let message = status["halt"]["message"].as_str();
    message.or_else(|| (status["phase"] == "halted").then_some("the server's log says why"))
}

/// A few aligned lines. What the server does not know is a dash.
fn to_text(status: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let size = |value: &Value| value.as_u64().map(bytes);
    let lag = size(&status["lag_bytes"]).map_or_else(String::new, |lag| format!(", {lag} behind the database"));
    let lease = &status["lease"];
    let token = lease["token"].as_u64().map_or_else(String::new, |token| format!(" (token {token})"));
    let holder = lease["holder"].as_str().unwrap_or("nobody");
    let sessions = ["live", "catch_up", "backfill", "greeted", "hibernated"];
    let sessions = sessions.iter().filter_map(|phase| Some((phase, status["sessions"][phase].as_u64()?)));
    let sessions: Vec<_> = sessions
        .filter(|(phase, count)| *count > 0 || **phase == "live")
        .map(|(phase, count)| format!("{count} {}", phase.replace('_', "-")))
        .collect();
    let lines = [
        ("phase", word(&status["phase"])),
        ("halted", halt(status).unwrap_or_default().to_owned()),
        ("era", word(&status["era"])),
        ("head", word(&status["head"])),
        ("covered", format!("{}{lag}", word(&status["covered"]))),
        ("confirmed", word(&status["confirmed"])),
        ("lease", format!("{holder}{token}")),
        ("WAL held", size(&status["retained_wal_bytes"]).unwrap_or_else(|| "-".into())),
        ("sessions", sessions.join(", ")),
    ];
    let shown = lines.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{name:<10} {value}\n")).collect()
}

async fn fetch(url: &Uri, security: &Security, path: &str, credential: Option<&str>) -> Result<String, CommandError> {
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
    let mut request = Request::get(path).header(header::HOST, authority);
    if let Some(credential) = credential {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", credential.trim()));
    }
    let request = request.body(Body::empty());
    let request = request.map_err(|why| CommandError::Usage(format!("{url} is no address: {why}")))?;
    let response = send.send_request(request).await.map_err(|why| unreachable(&why))?;
    let code = response.status();
    let body = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await.map_err(|why| unreachable(&why))?;
    if code != StatusCode::OK {
        let hint = match code {
            StatusCode::UNAUTHORIZED => ": give --admin-credential-file FILE",
            StatusCode::FORBIDDEN => ": the server lets no operator in; start it with --admin-credential-file FILE",
            _ => "",
        };
        return Err(CommandError::Failed(format!("{url}{path} answered {code}{hint}")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 << 20, "20 MiB"), (u64::MAX, "16383 PiB")]
        {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_status_is_a_few_aligned_lines() {
        let status = serde_json::json!({
            "v": 1, "era": "3-9f", "head": "0/16B3748", "covered": "0/16B3780", "confirmed": "0/16B3700", "phase": "streaming",
            "lease": { "holder": "shop:7:1", "token": 4 }, "retained_wal_bytes": 25_165_824, "lag_bytes": 1536,
            "sessions": { "greeted": 0, "backfill": 1, "catch_up": 0, "live": 12, "hibernated": 0 },
        });
        let text = to_text(&status);
        assert_eq!(
            text,
            "phase      streaming\nera        3-9f\nhead       0/16B3748\ncovered    0/16B3780, 1.5 KiB behind the database\n\
             confirmed  0/16B3700\nlease      shop:7:1 (token 4)\nWAL held   24 MiB\nsessions   12 live, 1 backfill\n"
        );
        let halted = serde_json::json!({ "phase": "halted", "halt": { "code": "refused", "message": "do this" } });
        assert!(to_text(&halted).contains("halted     do this\n"));
        assert_eq!(halt(&halted), Some("do this"));
    }
}
