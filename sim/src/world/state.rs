//! What a world is, as a number: two worlds of one number have the same futures, however they came there.
//!
//! It is made of what `Debug` says of every part that has a future. Times count from now. Ids that are only ever compared for
//! equality, lives and generations, are numbered in the order in which they are met. What is left out cannot be asked by a step:
//! hashes, probes, the log, the choices made.

use super::World;
use crate::chooser::Kind;
use crate::digest::Digest;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// After these words stands a number that is only compared for equality, or 0 for none.
const RENAMED: [&str; 5] = ["Incarnation", "life", "generation", "in_flight_of", "client_life"];
const TIME: &str = "Timestamp";

impl World {
    pub(super) fn state_digest(&self) -> u128 {
        let mut text = Text::new(self.now.micros());
        let queue: Vec<_> = self.queue.iter().collect();
        let parts: [&dyn fmt::Debug; 10] = [
            &queue,
            &self.postgres,
            &self.replications,
            &self.hubs,
            &self.clients,
            &self.network,
            &self.workload,
            &self.oracle,
            &self.quiet,
            &self.window,
        ];
        for part in parts {
            let _ = write!(text, "{part:?};"); // A hash refuses nothing.
        }
        // The workload goes on from where its draws are; the differences between latencies are none in a search of all ways.
        for kind in [Kind::Work, Kind::LateEffect] {
            self.chooser.drawn(kind).iter().for_each(|n| text.digest.word(u64::from(*n)));
        }
        text.end();
        text.digest.finish()
    }
}

/// Reads the text of a value word by word.
struct Text {
    digest: Digest,
    now: u64,
    /// The word before the present one, and the present one.
    before: String,
    word: String,
    names: BTreeMap<u64, u64>,
}

impl Text {
    fn new(now: u64) -> Self {
        let (before, word) = (String::new(), String::new());
        Self { digest: Digest::default(), now, before, word, names: BTreeMap::new() }
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
        if number == 0 || !RENAMED.contains(&self.before.as_str()) {
            return number;
        }
        let next = self.names.len() as u64 + 1;
        *self.names.entry(number).or_insert(next)
    }
}

impl Write for Text {
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
    use dormouse_core::ask::Incarnation;
    use dormouse_core::time::Timestamp;

    fn of(now: u64, value: &impl fmt::Debug) -> u128 {
        let mut text = Text::new(now);
        write!(text, "{value:?}").expect("it refuses nothing");
        text.end();
        text.digest.finish()
    }

    #[test]
    fn times_count_from_now_and_ids_in_their_order() {
        assert_eq!(of(100, &Timestamp(150)), of(300, &Timestamp(350)));
        assert_ne!(of(100, &Timestamp(150)), of(300, &Timestamp(351)));
        let pair = |a, b| [Incarnation(a), Incarnation(b)];
        assert_eq!(of(0, &pair(4, 9)), of(0, &pair(7, 8)));
        assert_ne!(of(0, &pair(4, 4)), of(0, &pair(7, 8)));
        assert_ne!(of(0, &Incarnation(0)), of(0, &Incarnation(1)), "none is not some");
        assert_ne!(of(0, &(1, 23)), of(0, &(12, 3)));
        assert_ne!(of(0, &"ab"), of(0, &"ba"));
    }
}
