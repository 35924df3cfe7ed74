//! The machine that serves the sessions of one shard, from greeting to live.

mod config;
mod io;

pub use config::Config;
pub use io::*;

use crate::machine::{BrokenInvariant, Machine};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Serves the sessions of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hub {
    config: Config,
    outputs: VecDeque<Output>,
}

impl Hub {
    /// A hub before its first life; [`Input::Woke`] starts it.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, outputs: VecDeque::new() }
    }

    /// How many sessions are in which phase.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::default()
    }
}

impl Machine for Hub {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, _now: Timestamp, _input: Input) {}

    fn handle_timeout(&mut self, _now: Timestamp) {}

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
        Ok(())
    }
}
