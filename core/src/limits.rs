//! A limit on everything, and the relations between the limits, asserted at compile time.

/// The most changes in one page or piece.
pub const PAGE_CHANGES_MAX: usize = 4_096;
/// The most bytes ([`crate::change::Page::weight`]) in one page or piece; a single larger change still travels alone.
pub const PAGE_BYTES_MAX: usize = 512 * 1024;
/// The most changes waiting to be recorded.
pub const QUEUE_CHANGES_MAX: usize = 4 * PAGE_CHANGES_MAX;
/// The most bytes waiting to be recorded.
pub const QUEUE_BYTES_MAX: usize = 4 * PAGE_BYTES_MAX;
/// The most changes that one read of the source returns.
pub const READ_CHANGES_MAX: usize = PAGE_CHANGES_MAX;
/// The most bytes that one read of the source returns.
pub const READ_BYTES_MAX: usize = PAGE_BYTES_MAX;

/// The most pages on their way to one session, sent and not acknowledged.
pub const WINDOW_PAGES_MAX: usize = 64;
/// The most bytes of pages on their way to one session; one page more than this may be under way.
pub const WINDOW_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most chunks on their way to one session.
pub const WINDOW_CHUNKS_MAX: u32 = 8;
/// The most rows in a chunk.
pub const CHUNK_ROWS_MAX: usize = 2_048;
/// The most bytes in a chunk; a single larger row still travels alone.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// The most bytes on their way to one session.
pub const SESSION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most recent pages that a hub keeps for its live sessions.
pub const RING_PAGES_MAX: usize = 1_024;
/// The most bytes of recent pages that a hub keeps.
pub const RING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most bytes in a frame that a client may send.
pub const CLIENT_FRAME_BYTES_MAX: usize = 64 * 1024;
/// The most bytes in a client id.
pub const CLIENT_ID_BYTES_MAX: usize = 128;
/// The most tables that a scope may name.
pub const SCOPE_TABLES_MAX: usize = 256;
/// The most bytes in a frame that a server sends: the largest page or chunk in JSON, where each byte may take six.
pub const SERVER_FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Values above this size travel as the marker `omitted`.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () =
    assert!(QUEUE_CHANGES_MAX >= 2 * PAGE_CHANGES_MAX, "a page must be able to fill while another is recorded");
const _: () = assert!(QUEUE_BYTES_MAX >= 2 * PAGE_BYTES_MAX, "a page must be able to fill while another is recorded");
const _: () = assert!(READ_CHANGES_MAX <= QUEUE_CHANGES_MAX, "a read must fit the queue");
const _: () = assert!(WINDOW_BYTES_MAX + PAGE_BYTES_MAX <= SESSION_BYTES_MAX, "a full window must fit a session");
const _: () =
    assert!(WINDOW_CHUNKS_MAX as usize * CHUNK_BYTES_MAX <= SESSION_BYTES_MAX, "the chunks must fit a session");
const _: () = assert!(RING_BYTES_MAX >= 2 * WINDOW_BYTES_MAX, "the ring must hold what a live session may lag");
const _: () = assert!(RING_PAGES_MAX >= 2 * WINDOW_PAGES_MAX, "the ring must hold what a live session may lag");
const _: () = assert!(VALUE_BYTES_MAX * 6 < SERVER_FRAME_BYTES_MAX, "the largest value must fit a frame");
const _: () = assert!(CLIENT_ID_BYTES_MAX * 8 < CLIENT_FRAME_BYTES_MAX, "a greeting must fit a frame");
