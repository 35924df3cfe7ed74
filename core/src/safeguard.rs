//! Every mechanism that prevents a race, by name.
//!
//! Each machine carries a [`Safeguards`] in its configuration and reads `if self.safeguards.holds(EpochFence) && …`. Without the
//! feature `ablation` that is the constant `true` and the value has no size; with it, the simulator can switch each one
//! off and must then find the promise that breaks.

use serde::{Deserialize, Serialize};

macro_rules! safeguards {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A named mechanism that prevents races.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Safeguard { $($(#[doc = $doc])+ $name,)+ }

        impl Safeguard {
            /// All of them, in the order of the data's way.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name, as the command line takes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// One sentence on what it prevents.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

safeguards! {
    /// An era begins on a slot only once that is past all that Postgres may decode by an outdated catalogue, for that tells rows wrongly.
    SettledSlot,
    /// No confirmation to the slot exceeds what is durably covered, so a crash never skips what was not yet recorded.
    CoveredBeforeConfirm,
    /// A transaction is announced by the completion of its append and by nothing else, so no client is ahead of history.
    RecordBeforeAnnounce,
    /// A transaction's row is written with its last piece, and nothing without that row is read: half a transaction does not exist.
    TransactionRowLast,
    /// An append names what it follows and is refused otherwise, so a retry after a lost answer never appends twice.
    CompareAndSet,
    /// A process that stands by tells its hubs what another has recorded, so who is served there does not stand still for ever.
    StandbyFollows,
    /// No snapshot is taken before all that ran when the era began has ended, so nothing is in neither slot nor snapshot.
    EraStartWait,
    /// Of the seam, only transactions that the snapshot does not see are applied, so none is applied twice.
    SeamFilter,
    /// The seam's filter ends at F, never at the first xid at or above xmax, because commits do not become visible in xid order.
    SeamEndsAtF,
    /// A seam is read only when covered has reached F, so that no transaction below F is still on its way into history.
    SeamAwaitsCovered,
    /// A client is told that it is live only when covered has passed the WAL position read after its greeting.
    Fresh,
    /// A client applies a page only when the page's `after` is at or before its position: a hole means greeting again.
    ChainedPages,
    /// A client goes on from its place only if history holds exactly the transaction that it names, not one of a future that was lost.
    KnownPosition,
    /// A process that meets its database as it was earlier, or another in its place, asks it nothing more and begins anew.
    SameDatabase,
    /// What a session writes to the registry is refused once a later session of its client has taken a higher epoch.
    EpochFence,
    /// An instance that was replaced and greets again is given an id of its own: two copies of one store do not fence each other for ever.
    OwnId,
    /// The stored position of a client never moves back within one era and epoch.
    MonotonicPosition,
    /// A session is closed when its credential runs out, asleep or awake, before anything else: it is sent nothing after that.
    CredentialExpires,
    /// An answer to a question of an earlier life of a machine is ignored.
    AnswerIncarnation,
}

impl Safeguard {
    /// The races of the catalogue that it prevents, by name: each is lost in some run without it.
    #[must_use]
    pub const fn races(self) -> &'static [&'static str] {
        match self {
            Self::SettledSlot => &["slot-made-beside-ddl"],
            Self::CoveredBeforeConfirm => &["confirm-before-record", "confirm-beyond-covered"],
            Self::RecordBeforeAnnounce => &["announce-before-recorded"],
            Self::TransactionRowLast => &["partly-recorded-transaction", "transaction-larger-than-page"],
            Self::CompareAndSet => &["retry-of-a-piece"],
            Self::StandbyFollows => &["served-by-a-standby"],
            Self::EraStartWait => &["era-start-gap"],
            Self::SeamFilter => &["commit-in-wal-not-yet-visible"],
            Self::SeamEndsAtF => &["filter-ends-by-xid"],
            Self::SeamAwaitsCovered => {
                &["wait-for-initial-poll", "position-beyond-history", "change-between-snapshot-and-stream"]
            }
            Self::Fresh => &["live-before-covered", "live-before-fresh-after-wake"],
            Self::ChainedPages => &["cut-after-data-before-ack", "hole-between-pages"],
            Self::KnownPosition => &["restored-same-timeline"],
            Self::SameDatabase => &["restored-under-a-server"],
            Self::EpochFence => &["epoch-restarts"],
            Self::OwnId => &["cloned-client"],
            Self::MonotonicPosition => &["ack-goes-backward", "prune-trusts-a-wrong-mark"],
            Self::CredentialExpires => &["token-expires-in-standby"],
            Self::AnswerIncarnation => &["answer-to-an-earlier-life"],
        }
    }
}

/// Which safeguards hold. All of them, in every build without the feature `ablation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safeguards {
    /// Not written down: a recording of production, in which all hold, is read by the build that can switch them off.
    #[cfg(feature = "ablation")]
    #[serde(skip)]
    off: u64,
}

impl Safeguards {
    /// All safeguards hold.
    pub const ALL: Self = Self {
        #[cfg(feature = "ablation")]
        off: 0,
    };

    /// Whether a safeguard holds.
    #[cfg(not(feature = "ablation"))]
    #[inline(always)]
    #[must_use]
    pub const fn holds(self, _: Safeguard) -> bool {
        true
    }

    /// Whether a safeguard holds.
    #[cfg(feature = "ablation")]
    #[must_use]
    pub const fn holds(self, safeguard: Safeguard) -> bool {
        self.off & (1 << safeguard as u32) == 0
    }

    /// The same, with one safeguard switched off.
    #[cfg(feature = "ablation")]
    #[must_use]
    pub const fn without(self, safeguard: Safeguard) -> Self {
        Self { off: self.off | (1 << safeguard as u32) }
    }
}

impl Default for Safeguards {
    fn default() -> Self {
        Self::ALL
    }
}

/// True in builds whose safeguards can be switched off; the runtime refuses to compile in one.
pub const ABLATION: bool = cfg!(feature = "ablation");

#[cfg(not(feature = "ablation"))]
const _: () = assert!(size_of::<Safeguards>() == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_not_written_down_so_that_every_build_reads_every_recording() {
        let written = serde_json::to_string(&Safeguards::ALL).expect("plain data");
        assert_eq!(written, "{}");
        assert_eq!(serde_json::from_str::<Safeguards>(&written).ok(), Some(Safeguards::ALL));
    }
}
