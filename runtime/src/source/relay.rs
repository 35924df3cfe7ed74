//! TLS for the replication connection.
//!
//! The library that speaks the replication protocol has a TLS of its own, with other roots, other rules for names and errors
//! that are only text. So ours is used: it is opened here, and the library finds it behind a socket in a private folder, which
//! takes one connection and is gone. The stream is encrypted exactly as every other connection to the database is.

use crate::db::Target;
use dormouse_core::fault::Failure;
use std::io;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpStream, UnixListener};
use tokio_rustls::client::TlsStream;

/// How long the library may take to come.
const CLAIM_MAX: Duration = Duration::from_secs(10);
/// How much is carried at once from the database, and to it.
const FROM_DATABASE_BYTES: usize = 64 * 1024;
const TO_DATABASE_BYTES: usize = 4 * 1024;

/// Where the replication protocol is to be spoken.
pub(super) struct Door {
    /// A name or address, or a folder with a socket.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Opens a connection for the library, to be used once.
pub(super) async fn open(target: &Target) -> Result<Door, Failure> {
    let (_, host, port) = target.first_host()?;
    match target.open_tls().await? {
        None => Ok(Door { host, port }),
        Some(stream) => {
            let host = offer(stream, port);
            let host = host.map_err(|why| Failure::Unavailable(format!("a socket for the stream: {why}")))?;
            Ok(Door { host, port })
        }
    }
}

/// The folder in which the stream can be had. It ends when either side does, or nobody came.
fn offer(mut stream: TlsStream<TcpStream>, port: u16) -> io::Result<String> {
    let folder = tempfile::Builder::new().prefix("dormouse-stream-").tempdir()?; // For this user alone.
    let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{port}")))?;
    let path = folder.path().display().to_string();
    tokio::spawn(async move {
        let Ok(mut near) = claimed(listener, folder).await else { return };
        let carried = copy_bidirectional_with_sizes(&mut near, &mut stream, TO_DATABASE_BYTES, FROM_DATABASE_BYTES);
        if let Err(why) = carried.await {
            tracing::debug!(%why, "the encrypted stream broke");
        }
    });
    Ok(path)
}

/// The folder is gone once somebody came.
async fn claimed(listener: UnixListener, _folder: TempDir) -> io::Result<tokio::net::UnixStream> {
    Ok(tokio::time::timeout(CLAIM_MAX, listener.accept()).await??.0)
}
