//! Converges: nobody is told everything again who could have gone on from where it is.

use super::{Checked, Oracle, Promise, broken};
use crate::postgres::Postgres;
use dormouse_core::fault::ResyncReason;
use dormouse_core::position::Waypoint;
use dormouse_core::wire::Resume;

impl Oracle {
    /// A hub tells a client that everything comes again; `kept` is the place that the hub keeps with its socket.
    ///
    /// # Errors
    /// When history reaches back to where the client is, or nothing was ever lost that it could have.
    pub fn resyncs(&self, postgres: &Postgres, client: u8, kept: Option<Waypoint>, reason: ResyncReason) -> Checked {
        let truth = &self.clients[client as usize];
        let said = match truth.hello {
            Some((_, _, Resume::At(said))) => Some(said),
            _ => None,
        };
        let Some(at) = kept.or(said).filter(|at| Some(at.era) == postgres.era()) else { return Ok(()) };
        let why = match reason {
            ResyncReason::Pruned
                if !self.lost.was_pruned(&at)
                    && postgres.horizon().is_some_and(|horizon| at.position >= horizon.position) =>
            {
                "history was pruned"
            }
            ResyncReason::UnknownPosition if self.lost.is_nothing() => "its place is not known",
            ResyncReason::OtherEra if self.lost.is_nothing() => "another era has begun",
            ResyncReason::SchemaChanged if self.lost.is_nothing() && Some(at.schema) == postgres.schema() => {
                "the tables were altered"
            }
            _ => return Ok(()),
        };
        let event = format!("client/{client} holds {}, and is told that {why}", at.position);
        broken(Promise::Converges, "needless resync", event)
    }
}
