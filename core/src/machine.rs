//! The contract that all three machines share.

use crate::time::Timestamp;

/// A sans-IO state machine: facts go in, commands come out, and all work happens while a fact is handled.
///
/// Handlers cannot fail and every input is legal in every state. `poll_output` only pops. A machine's state is plain
/// data (`Clone`, serde), so that a run can be recorded, replayed, hashed and compared.
pub trait Machine {
    /// A fact, in the past tense.
    type Input;
    /// A command, in the imperative.
    type Output;

    /// Takes one fact.
    fn handle(&mut self, now: Timestamp, input: Self::Input);

    /// Tells the machine that the time which [`Machine::poll_timeout`] named has come. Harmless when it has not.
    fn handle_timeout(&mut self, now: Timestamp);

    /// The next command to carry out, oldest first.
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// When [`Machine::handle_timeout`] wants to be called, if ever.
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// Checks, in O(1), what the last input touched. Called after every input, in release too.
    ///
    /// # Errors
    /// The invariant that no longer holds.
    fn check(&self) -> Result<(), BrokenInvariant>;

    /// Checks everything. For the simulator, tests, and after each wake.
    ///
    /// # Errors
    /// The first invariant that no longer holds.
    fn check_all(&self) -> Result<(), BrokenInvariant>;
}

/// An invariant of a machine that no longer holds: a defect of ours, never of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenInvariant {
    /// What should have been true.
    pub what: String,
}

impl std::fmt::Display for BrokenInvariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "broken invariant: {}", self.what)
    }
}

/// Returns a [`BrokenInvariant`] from the function around it unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::machine::BrokenInvariant { what: format!($($what)+) });
        }
    };
}
