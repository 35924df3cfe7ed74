//! What is on its way to one session: a bound, and the age of the oldest part of it.

use super::Config;
use crate::position::Position;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A run of pages on their way, freed together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    through: Position,
    pages: u32,
    bytes: u64,
    since: Timestamp,
}

/// Counts pages and bytes that were sent and not acknowledged.
///
/// Pages are counted in runs of up to an eighth of the window, so that the count of a session is small whatever is on its way.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    older: VecDeque<Mark>,
    last: Option<Mark>,
    pages: u32,
    bytes: u64,
    last_page: u64,
}

impl Window {
    /// Whether one more page may be sent.
    pub fn has_room(&self, config: &Config) -> bool {
        self.pages < config.window_pages && self.bytes < config.window_bytes
    }

    /// Counts a page that was sent.
    pub fn add(&mut self, through: Position, bytes: u64, now: Timestamp, config: &Config) {
        self.pages += 1;
        self.bytes += bytes;
        self.last_page = bytes;
        match &mut self.last {
            Some(mark) if mark.pages < config.window_pages / 8 && mark.bytes < config.window_bytes / 8 => {
                mark.through = through;
                mark.pages += 1;
                mark.bytes += bytes;
            }
            last => self.older.extend(last.replace(Mark { through, pages: 1, bytes, since: now })),
        }
    }

    /// Frees what an acknowledgement covers; the rest counts as fresh, because its client makes progress.
    pub fn ack(&mut self, position: Position, now: Timestamp) {
        while let Some(mark) = self.older.pop_front_if(|mark| mark.through <= position) {
            self.free(&mark);
        }
        if let Some(mark) = self.last.take_if(|mark| mark.through <= position) {
            self.free(&mark);
        }
        if self.older.is_empty() {
            self.older.shrink_to(0);
        }
        if let Some(oldest) = self.older.front_mut().or(self.last.as_mut()) {
            oldest.since = now;
        }
    }

    fn free(&mut self, mark: &Mark) {
        self.pages -= mark.pages;
        self.bytes -= mark.bytes;
    }

    /// Since when the oldest part waits for its acknowledgement.
    pub fn waiting_since(&self) -> Option<Timestamp> {
        self.older.front().or(self.last.as_ref()).map(|mark| mark.since)
    }

    /// Whether nothing is on its way.
    pub const fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// Whether the bounds hold: the last page alone may exceed that of bytes.
    pub const fn is_within(&self, config: &Config) -> bool {
        self.pages <= config.window_pages && self.bytes.saturating_sub(self.last_page) <= config.window_bytes
    }

    /// How many bytes are on their way.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Lsn;

    fn at(n: u64) -> Position {
        Position::after(Lsn(n))
    }

    #[test]
    fn a_full_window_has_room_again_after_half_of_it_is_acknowledged() {
        let config = Config { window_pages: 16, window_bytes: 1_000, ..Config::default() };
        let mut window = Window::default();
        for n in 1..=16 {
            assert!(window.has_room(&config), "page {n} of 16 fits");
            window.add(at(n), 10, Timestamp(n), &config);
        }
        assert!(!window.has_room(&config));
        window.ack(at(8), Timestamp(20));
        assert!(window.has_room(&config));
        assert_eq!(window.bytes(), 80);
        window.ack(at(16), Timestamp(21));
        assert!(window.is_empty());
        assert_eq!(window, Window { last_page: 10, ..Window::default() });
    }

    #[test]
    fn bytes_are_exceeded_by_one_page_at_most() {
        let config = Config { window_pages: 16, window_bytes: 100, ..Config::default() };
        let mut window = Window::default();
        window.add(at(1), 99, Timestamp(1), &config);
        assert!(window.has_room(&config));
        window.add(at(2), 5_000, Timestamp(2), &config);
        assert!(!window.has_room(&config));
        assert!(window.is_within(&config));
        assert_eq!(window.waiting_since(), Some(Timestamp(1)));
        window.ack(at(1), Timestamp(7));
        assert_eq!(window.waiting_since(), Some(Timestamp(7)));
    }
}
