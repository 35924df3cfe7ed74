//! A replicator that is told that a newer one holds the lease goes on under it no more.

use super::World;
use crate::entity::Entity;
use crate::oracle::Promise;
use dormouse_core::position::Era;
use dormouse_core::replication::{Fenced, Input, PhaseName, Replication, Token};

/// The lease that is lost, and how many answers were for nobody before.
pub(super) type Superseded = Option<(Token, u64)>;

/// One that was told to stop takes nothing up any more: it waits for its append, and gives the lease back.
fn lease(machine: &Replication) -> Superseded {
    let status = machine.status();
    let lease = status.token.filter(|_| status.phase != PhaseName::Stopping);
    lease.map(|token| (token, machine.stale_answers()))
}

impl World {
    /// The lease under which a question was asked, when its answer says that a newer one exists.
    pub(super) fn superseded(&self, node: u8, life: u64, input: &Input) -> Superseded {
        let host = &self.replications[node as usize];
        let machine = host.machine.as_ref().filter(|_| host.life == life)?;
        is_superseded(input).then(|| lease(machine)).flatten()
    }

    /// The machine has heard it: unless nobody asked any more, the lease is given up.
    pub(super) fn judge_superseded(&mut self, node: u8, before: Superseded) {
        let kept = self.replications[node as usize].machine.as_ref().and_then(lease);
        if before.is_some() && kept == before {
            let event = "goes on under its lease, and was told that a newer one holds it".into();
            self.violate(Promise::Durable, "superseded", Entity::Replication(node), event);
        }
    }

    /// Tables were noted: as they are now, or were when somebody looked last, and never as they were before that.
    pub(super) fn judge_noted(&mut self, whose: Entity, before: Option<(Era, u32)>) {
        let (Some((era, before)), Some((still, noted))) = (before, self.postgres.noted()) else { return };
        if era == still && noted < before {
            let event = format!("notes tables that were altered {noted} times, and had noted {before} alterations");
            self.violate(Promise::Durable, "noted back", whose, event);
        }
    }
}

fn is_superseded(input: &Input) -> bool {
    macro_rules! any {
        ($($name:ident)+) => {
            match input {
                $(Input::$name(answer) => matches!(answer.reply, Ok(Fenced::Superseded)),)+
                _ => false,
            }
        };
    }
    any!(LeaseRenewed SourceInspected ProgressLoaded SlotCreated SlotSettled EraBegun AttemptNoted CoveredSaved TablesInspected SchemaRaised Pruned)
}
