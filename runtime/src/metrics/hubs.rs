//! What the hubs of one server count.

use dormouse_core::fault::ResyncReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The counters of all hubs. A cheap handle.
#[derive(Debug, Clone)]
pub struct HubCounts {
    /// Frames handed to sockets.
    pub frames: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Messages encoded: fewer than frames, as far as these are shared.
    pub encoded: Counter,
    /// Frames of pages and chunks sent to one more session as they were kept.
    pub reused: Counter,
    /// Pages read from history, each for all sessions that wait at its place.
    pub history_reads: Counter,
    /// Messages of clients.
    pub received: Counter,
    /// Backfills whose first part was sent.
    pub backfills_started: Counter,
    /// Backfills whose last part was sent.
    pub backfills_completed: Counter,
    /// Machines built.
    pub wakes: Counter,
    /// Machines dropped by their own wish.
    pub hibernations: Counter,
    /// Machines dropped by the operator.
    pub evictions: Counter,
    /// Announcements that a hub was too busy for.
    pub lagged: Counter,
    /// From a commit to its frames, in seconds.
    pub commit_to_sent: Histogram,
    /// From a commit to an acknowledgement of its place, in seconds.
    pub commit_to_acked: Histogram,
    /// How many frames leave a socket together.
    pub frames_per_flush: Histogram,
    resyncs: Family<Resync, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resync {
    reason: &'static str,
}

impl HubCounts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let (frames, bytes) = (
            counter("frames_sent", "WebSocket frames handed to sockets"),
            counter("sent_bytes", "Bytes of the frames handed to sockets"),
        );
        let encoded = counter("frames_encoded", "Messages encoded; what several recipients share is encoded once");
        let reused =
            counter("frames_reused", "Frames kept from an earlier session, as of a page that clients catch up with");
        let history_reads = counter("history_reads", "Pages read from history, each for all who wait at its place");
        let received = counter("messages_received", "Messages received from clients, greetings and pings excluded");
        let backfills_started = counter("backfills_started", "First parts of backfills sent");
        let backfills_completed = counter("backfills_completed", "Last parts of backfills sent");
        let wakes = counter("hub_wakes", "Hubs built from what is kept with their sockets, the first time included");
        let hibernations = counter("hub_hibernations", "Hubs that went to sleep");
        let evictions = counter("hub_evictions", "Hubs dropped by SIGUSR1");
        let lagged = counter("announcements_lagged", "Announcements that a busy hub missed, and read from history");
        let resyncs = Family::<Resync, Counter>::default();
        // A series that is there from the start can be watched for its first step.
        for reason in REASONS {
            drop(resyncs.get_or_create(&Resync { reason: name(reason) }));
        }
        registry.register("resyncs", "Clients told to take everything again, by reason", resyncs.clone());
        let commit_to_sent = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        registry.register(
            "commit_to_sent_seconds",
            "From the commit time by Postgres' clock until frames were handed to sockets by this host's clock, skew included, per batch of a hub",
            commit_to_sent.clone(),
        );
        // The last bucket ends at nine minutes: a client that comes back acknowledges what it missed.
        let commit_to_acked = Histogram::new(exponential_buckets(0.001, 2.0, 20));
        registry.register(
            "commit_to_acked_seconds",
            "From the commit time by Postgres' clock until a client's acknowledgement of that place by this host's clock, skew included",
            commit_to_acked.clone(),
        );
        let frames_per_flush = Histogram::new(exponential_buckets(1.0, 2.0, 12));
        registry.register(
            "frames_per_flush",
            "How many frames, the greater ones in two parts, were handed to a connection together",
            frames_per_flush.clone(),
        );
        Self {
            frames_per_flush,
            frames,
            bytes,
            encoded,
            reused,
            history_reads,
            received,
            backfills_started,
            backfills_completed,
            wakes,
            hibernations,
            evictions,
            lagged,
            commit_to_sent,
            commit_to_acked,
            resyncs,
        }
    }

    /// Counts a client that gets everything again.
    pub fn resynced(&self, reason: ResyncReason) {
        self.resyncs.get_or_create(&Resync { reason: name(reason) }).inc();
    }
}

const REASONS: [ResyncReason; 6] = [
    ResyncReason::NoPosition,
    ResyncReason::OtherEra,
    ResyncReason::SchemaChanged,
    ResyncReason::Pruned,
    ResyncReason::UnknownPosition,
    ResyncReason::ScopeChanged,
];

const fn name(reason: ResyncReason) -> &'static str {
    match reason {
        ResyncReason::NoPosition => "no_position",
        ResyncReason::OtherEra => "other_era",
        ResyncReason::SchemaChanged => "schema_changed",
        ResyncReason::Pruned => "pruned",
        ResyncReason::UnknownPosition => "unknown_position",
        ResyncReason::ScopeChanged => "scope_changed",
    }
}
