//! What must be true of a hub after every input.

use super::session::{Fresh, Phase, Serve, Session};
use super::{Config, Hub};
use crate::ensure;
use crate::machine::BrokenInvariant;
use crate::safeguard::Safeguard;

impl Hub {
    /// Checks one session.
    pub(super) fn check_session(&self, session: &Session) -> Result<(), BrokenInvariant> {
        let config: &Config = &self.desk.config;
        let id = session.id;
        let Phase::Served(served) = &session.phase else { return Ok(()) };
        ensure!(served.peer.id == id, "session {id} knows its own id");
        match &served.serve {
            Serve::Backfill(backfill) => {
                ensure!(backfill.staged <= backfill.sent, "session {id} has staged what was not sent");
                ensure!(
                    backfill.in_flight() <= config.window_chunks,
                    "session {id} has {} chunks on their way",
                    backfill.in_flight()
                );
            }
            Serve::CatchUp { flow, .. } | Serve::Live(flow) => {
                ensure!(flow.window.is_within(config), "session {id} has more on its way than its window");
                if config.safeguards.holds(Safeguard::MonotonicPosition) {
                    ensure!(
                        flow.acked.position <= flow.sent,
                        "session {id} acknowledged {} and was sent {}",
                        flow.acked.position,
                        flow.sent
                    );
                }
            }
        }
        if let (Serve::Live(_), Some(head)) = (&served.serve, self.desk.head) {
            ensure!(served.peer.era == head.era(), "session {id} is live in an era that has ended");
        }
        Ok(())
    }

    /// Checks everything.
    pub(super) fn check_everything(&self) -> Result<(), BrokenInvariant> {
        let (mut served, mut backfills, mut scanned, mut noted) = (0, 0, 0, 0);
        for session in self.slab.iter() {
            self.check_session(session)?;
            ensure!(self.slab.get(session.id).is_some(), "session {} is found by its id", session.id);
            scanned += 1;
            if let Some(epoch) = session.epoch()
                && let Some(client) = session.client()
            {
                let newest = self.clients.get(client).and_then(|id| self.slab.get(*id)?.epoch());
                ensure!(newest >= Some(epoch), "the newest session of {client} is known");
            }
            if let Some(of) = session.served() {
                served += 1;
                noted += usize::from(of.peer.noted);
                let spool = if let Serve::Backfill(backfill) = &of.serve { backfill.spool() } else { None };
                backfills += usize::from(spool.is_some());
                let waits = of.peer.fresh != Fresh::NoMark || self.mark_is_coming();
                ensure!(waits, "session {} waits for a mark that nobody reads", session.id);
            }
        }
        ensure!(scanned == self.slab.len(), "the slab counts its sessions");
        ensure!(noted == self.desk.saves.noted(), "sessions whose acknowledgements are to be stored are counted");
        ensure!(self.desk.scopes.users() == served, "each served session has one scope");
        ensure!(self.desk.spools.users() == backfills, "each backfill uses one spool");
        ensure!(self.desk.ring.is_sound(), "recent pages chain");
        self.check_waits()?;
        for (client, id) in &self.clients {
            let known = self.slab.get(*id).and_then(Session::client) == Some(client);
            ensure!(known, "{client} has the session {id}");
        }
        Ok(())
    }

    fn mark_is_coming(&self) -> bool {
        let desk = &self.desk;
        !desk.markless.is_empty() || !desk.judgements.is_empty() || !desk.retries.is_empty()
    }
}
