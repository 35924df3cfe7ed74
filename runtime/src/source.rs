//! Where changes come from. The machine cannot tell one source from another.

mod items;
pub mod poll;
mod relay;
mod stream;
mod trouble;

pub use poll::PollSource;
pub use stream::StreamSource;

use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{ReadSource, StartStream};
use dormouse_core::source::SourceItem;
use std::future::Future;

/// Whether a replication connection can be had, in words when not. It touches no slot.
pub(crate) async fn try_replication_connection(target: &crate::db::Target) -> Result<(), String> {
    stream::try_connection(target).await.map_err(|why| why.reason().to_owned())
}

/// How to open a replication session on a slot, once, for who only wants to see how fast the walsender is.
pub(crate) async fn replication_session(
    database_url: &str,
    slot: &str,
    publication: &str,
) -> Result<pgwire_replication::config::ReplicationConfig, Failure> {
    let target = crate::db::Target::parse(database_url)?;
    stream::session(&target, slot.to_owned(), crate::db::quoted(publication)).await
}

/// How changes are read from the slot.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Over a replication connection.
    #[default]
    Stream,
    /// By SQL over an ordinary one.
    Poll,
}

/// A source of decoded changes, shared between the one who reads and the one who confirms.
pub trait Source: Send + Sync + 'static {
    /// Answers [`StartStream`]: opens the stream, ending one that is open.
    fn start(&self, q: StartStream) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Answers [`ReadSource`]: waits for at least one item, and adds what is ready, up to the limits.
    ///
    /// An error ends the stream. A read that is given up loses nothing.
    fn read(&self, q: ReadSource) -> impl Future<Output = Result<Vec<SourceItem>, Failure>> + Send;

    /// Postgres may forget the WAL below this. It is told soon, and at the latest by the next read.
    fn confirm(&self, lsn: Lsn);

    /// The source was nudged: somebody waits for what is in WAL now. A stream hears that from Postgres.
    fn nudged(&self) {}

    /// Closes the stream. An open read fails.
    fn stop(&self) -> impl Future<Output = ()> + Send;
}
