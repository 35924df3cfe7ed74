//! What a world is, as a number: two worlds of one number have the same futures, however they came there.
//!
//! It is made of what `Debug` says of every part that has a future. Times count from now. Ids that are only ever compared for
//! equality are numbered in the order in which they are met; one whose order matters is no such id. Leave out what no step asks:
//! hashes, probes, logs, the choices made. Draws go on from where they are, so add what [`super::chooser::Chooser::drawn`] tells.

use crate::digest::Digest;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::Timestamp;

const TIME: &str = "Timestamp";

/// Gathers the state of a world.
pub struct State<'a> {
    digest: Digest,
    now: u64,
    renamed: &'a [&'a str],
    /// The word before the present one, and the present one.
    before: String,
    word: String,
    names: BTreeMap<u64, u64>,
}

impl<'a> State<'a> {
    /// The state at this time. After one of the words `renamed`, names of fields or of newtypes, stands a number that is only
    /// compared for equality, or 0 for none.
    #[must_use]
    pub fn new(now: Timestamp, renamed: &'a [&'a str]) -> Self {
        let (before, word) = (String::new(), String::new());
        Self { digest: Digest::default(), now: now.micros(), renamed, before, word, names: BTreeMap::new() }
    }

    /// Adds a part.
    pub fn part(&mut self, part: &dyn fmt::Debug) {
        let _ = write!(self, "{part:?};"); // A hash refuses nothing.
    }

    /// Adds a number as it is.
    pub fn number(&mut self, number: u64) {
        self.end();
        self.digest.word(number);
    }

    /// The number of all that was added.
    #[must_use]
    pub fn finish(mut self) -> u128 {
        self.end();
        self.digest.finish()
    }

    fn end(&mut self) {
        if self.word.is_empty() {
            return;
        }
        match self.word.parse::<u64>() {
            Ok(number) => {
                let number = self.meaning(number);
                self.digest.word(number);
            }
            Err(_) => self.digest.bytes(self.word.as_bytes()),
        }
        std::mem::swap(&mut self.before, &mut self.word);
        self.word.clear();
    }

    fn meaning(&mut self, number: u64) -> u64 {
        if self.before == TIME {
            return number.wrapping_sub(self.now);
        }
        if number == 0 || !self.renamed.contains(&self.before.as_str()) {
            return number;
        }
        let next = self.names.len() as u64 + 1;
        *self.names.entry(number).or_insert(next)
    }
}

impl Write for State<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                self.word.push(char::from(byte));
            } else {
                self.end();
                if byte != b' ' {
                    self.digest.word(u64::from(byte));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Life(#[expect(dead_code, reason = "read by its Debug")] u64);

    fn of(now: u64, value: &dyn fmt::Debug) -> u128 {
        let mut state = State::new(Timestamp(now), &["Life"]);
        state.part(value);
        state.finish()
    }

    #[test]
    fn times_count_from_now_and_ids_in_their_order() {
        assert_eq!(of(100, &Timestamp(150)), of(300, &Timestamp(350)));
        assert_ne!(of(100, &Timestamp(150)), of(300, &Timestamp(351)));
        let pair = |a, b| [Life(a), Life(b)];
        assert_eq!(of(0, &pair(4, 9)), of(0, &pair(7, 8)));
        assert_ne!(of(0, &pair(4, 4)), of(0, &pair(7, 8)));
        assert_ne!(of(0, &Life(0)), of(0, &Life(1)), "none is not some");
        assert_ne!(of(0, &(1, 23)), of(0, &(12, 3)));
        assert_ne!(of(0, &"ab"), of(0, &"ba"));
    }
}
