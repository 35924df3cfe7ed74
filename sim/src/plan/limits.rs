//! How much there may be of anything in a world: so little that it is reached.

/// The most changes in one page of a simulated world.
pub const PAGE_CHANGES: u32 = 5;
/// How many pages of a session may be on their way.
pub const WINDOW_PAGES: u32 = 4;
/// The same where there is room: runs of two pages are counted as one.
pub const ROOMY_PAGES: u32 = 16;
/// How many chunks of a session may be on their way.
pub const CHUNKS: u32 = 3;

/// The bounds of a world.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most changes in one page.
    pub changes: u32,
    /// The most bytes in one page that is appended to history.
    pub recorded_bytes: u32,
    /// About the most bytes in one page read from history.
    pub read_bytes: u32,
    /// A session's window.
    pub window_bytes: u64,
    /// A hub's ring.
    pub ring_bytes: u64,
}

impl Limits {
    /// Counts are reached, and bytes are not.
    pub(super) const COUNTS: Self = Self {
        changes: PAGE_CHANGES,
        recorded_bytes: 64 * 1024,
        read_bytes: 4 * 1024,
        window_bytes: 16 * 1024,
        ring_bytes: 64 * 1024,
    };
    /// The other way round: of the largest rows one is more than a page.
    pub(super) const BYTES: Self = Self {
        changes: 3 * PAGE_CHANGES,
        recorded_bytes: 1_536,
        read_bytes: 1_024,
        window_bytes: 3 * 1_024,
        ring_bytes: 6 * 1_024,
    };
}
