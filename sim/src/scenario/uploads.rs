//! F. Uploads.

use super::Promised::{Atomic, Complete, Converges, Once};
use super::{Scenario, State};

const UPLOADS: State = State::Waiting("uploads");

/// Its races.
pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "upload-retried-after-commit",
        tells: "the upload committed, its verdict was lost, and the client sends it again",
        promises: &[Once],
        state: UPLOADS,
    },
    Scenario {
        name: "upload-partly-applied",
        tells: "one change of an upload fails in the middle, and the rest is reported as applied",
        promises: &[Atomic, Once],
        state: UPLOADS,
    },
    Scenario {
        name: "echo-by-author",
        tells: "own echoes are suppressed by who wrote the row, which hides other people's edits of it",
        promises: &[Complete],
        state: UPLOADS,
    },
    Scenario {
        name: "verdict-before-echo",
        tells: "the verdict comes before the change itself, and the optimistic state is dropped too early",
        promises: &[Atomic],
        state: UPLOADS,
    },
    Scenario {
        name: "two-tabs",
        tells: "two tabs of one client interleave the numbers of uploads, and one is skipped as already seen",
        promises: &[Once],
        state: UPLOADS,
    },
    Scenario {
        name: "stale-parent-for-ever",
        tells: "two offline clients retry against the same stale parent without end",
        promises: &[Converges],
        state: UPLOADS,
    },
];
