//! The machine that turns the WAL into history: lease, slot, eras, the pipelined read → record → announce → confirm.

mod config;
mod io;

pub use config::*;
pub use io::*;

use crate::machine::{BrokenInvariant, Machine};
use crate::position::Lsn;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The one replicator, or one that stands by to become it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    config: Config,
    outputs: VecDeque<Output>,
}

impl Replication {
    /// A machine that waits for [`Input::Started`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, outputs: VecDeque::new() }
    }

    /// A view for people and monitors.
    #[must_use]
    pub fn status(&self) -> Status {
        Status { phase: PhaseName::Idle, token: None, head: None, confirmed: Lsn::ZERO, halt: None }
    }
}

impl Machine for Replication {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, _: Timestamp, _: Input) {}

    fn handle_timeout(&mut self, _: Timestamp) {}

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    fn check(&self) -> Result<(), BrokenInvariant> {
        Ok(())
    }

    fn check_all(&self) -> Result<(), BrokenInvariant> {
        self.check()
    }
}
