//! A thread for replication alone.

use std::io;
use tokio::runtime::{Builder, Handle};
use tokio_util::task::TaskTracker;

/// Starts a thread that runs what is spawned in its runtime, until these tasks are closed and have ended.
///
/// A transaction passes through six tasks from the stream to history. On one thread that costs next to nothing; where several
/// threads share them each step may wake another core, and waits behind what hubs do just then.
pub(super) fn start(tasks: &TaskTracker) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (handle, tasks) = (runtime.handle().clone(), tasks.clone());
    std::thread::Builder::new().name("replication".into()).spawn(move || runtime.block_on(tasks.wait()))?;
    Ok(handle)
}
