//! Golden hashes: what 64 seeds come to, so that nobody changes what happens without knowing it.

use crate::chooser::Source;
use crate::engine::subject::Subject;
use crate::plan::Size;
use crate::trace_file::Setup;
use crate::world::World;
use dormouse_core::safeguard::Safeguards;
use std::fmt::Write;

const SMALL: u64 = 60;
const MIDDLE: u64 = 4;

/// The table as it is now: a seed, its events, its hash and its verdict in each line.
#[must_use]
pub fn table() -> String {
    let small = (0..SMALL).map(|seed| (Size::S, seed));
    let middle = (0..MIDDLE).map(|seed| (Size::M, seed));
    let mut text = String::new();
    for (size, seed) in small.chain(middle) {
        let mut world = World::begin(&Setup::new(seed, size, Safeguards::ALL), Source::Random);
        world.run();
        let verdict = world.broken().map_or_else(|| "holds".into(), |breaks| breaks.promise);
        let _ = writeln!(text, "{size}:{seed} {} {} {verdict}", world.events, world.digest); // A string refuses nothing.
    }
    text
}

/// Where two tables differ, in words.
#[must_use]
pub fn differences(golden: &str, now: &str) -> Vec<String> {
    let (golden, now): (Vec<_>, Vec<_>) = (golden.lines().collect(), now.lines().collect());
    let lines = golden.len().max(now.len());
    let at = |table: &[&str], n: usize| (*table.get(n).unwrap_or(&"nothing")).to_owned();
    let pairs = (0..lines).map(|n| (at(&golden, n), at(&now, n)));
    pairs.filter(|(golden, now)| golden != now).map(|(golden, now)| format!("was {golden}, is {now}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_seeds_hash_to_what_they_hashed_to() {
        let differ = differences(include_str!("../golden.txt"), &table());
        assert_eq!(differ, Vec::<String>::new(), "if it was meant: dormouse-sim golden --write");
    }

    #[test]
    fn a_difference_is_told() {
        assert_eq!(differences("a\nb\n", "a\nc\nd\n"), ["was b, is c", "was nothing, is d"]);
    }
}
