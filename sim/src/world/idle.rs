//! A world that rests does nothing but its upkeep.

use super::World;
use crate::entity::Entity;
use crate::oracle::Promise;
use crate::plan::Family;
use std::time::Duration;

/// So long after everybody has come to rest nothing is left over that anything else could follow from: a question that was held and
/// takes effect late does so 6.5 s after it was asked, and a lease that is lost by that is noticed when it is renewed, a second later.
const SETTLED: Duration = Duration::from_secs(8);

/// What goes on for ever: leases, registrations and credentials are renewed, tables and the head are looked at, history is pruned, a
/// standby asks for the lease, and sockets that their clients have left are closed, whenever that is noticed.
const UPKEEP: &[&str] = &[
    "Attach",
    "Close",
    "Confirm",
    "Credential",
    "Hibernate",
    "InspectTables",
    "Notify",
    "Ping",
    "Prune",
    "ReadHead",
    "ReadSource",
    "RenewLease",
    "RenewRegistrations",
    "SaveCovered",
    "SendCredential",
    "TakeLease",
];

impl World {
    /// A machine puts something out.
    pub(super) fn judge_idle(&mut self, entity: Entity) {
        let doing = self.doing;
        // Whoever's credential runs out is sent away, and comes back with another. What was waited for before the database was restored
        // can be far ahead of it. A stream that went dark is given up when its silence is noticed.
        // A copy at another hub hears late that it was replaced: when its registration is renewed.
        if [Family::Credentials, Family::Restore, Family::HalfOpen, Family::Cloned]
            .iter()
            .any(|family| self.plan.has(*family))
        {
            return;
        }
        if self.rests_since().is_none_or(|since| self.now.since(since) < SETTLED) || UPKEEP.contains(&doing) {
            return;
        }
        let event = format!("does {doing}, although everybody has come to rest");
        self.violate(Promise::Bounded, "idle", entity, event);
    }
}
