//! `ablate --oracles`: what each oracle is good for.
//!
//! A safeguard is switched off and a violation looked for. The oracle that noticed is then switched off too, and the same seeds are
//! run again: what is still found, another oracle notices as well; what is not, only this one does. An oracle that noticed nothing
//! first need not be switched off: the same run is found without it.

use super::ablated::{Search, search};
use super::{AblateArgs, Safeguard};
use crate::cli::searching::Way;
use crate::cli::{OK, VIOLATED};
use crate::oracle::{Oracles, Second};
use serde_json::json;
use std::collections::BTreeMap;

/// What was noticed of one safeguard, and what of it would be left.
struct Row {
    safeguard: Safeguard,
    first: Option<(&'static str, u64)>,
    then: Option<(&'static str, u64)>,
}

pub(super) fn run(args: &AblateArgs, wanted: &[Safeguard]) -> u8 {
    let mut rows = Vec::new();
    for safeguard in wanted {
        let first = noticed(args, *safeguard, None);
        let then = first.and_then(|(oracle, _)| noticed(args, *safeguard, Some(oracle)));
        let row = Row { safeguard: *safeguard, first, then };
        if !args.json {
            tell(args, &row);
        }
        rows.push(row);
    }
    let mut invisible: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in &rows {
        if let Some((oracle, _)) = row.first {
            let lost = invisible.entry(oracle).or_default();
            if row.then.is_none() {
                lost.push(row.safeguard.name());
            }
        }
    }
    let ok = rows.iter().all(|row| row.first.is_some());
    if args.json {
        let seen = |seen: Option<(&str, u64)>| seen.map(|(oracle, seeds)| json!({ "oracle": oracle, "seeds": seeds }));
        let safeguards: Vec<_> = rows
            .iter()
            .map(
                |row| json!({ "name": row.safeguard.name(), "first": seen(row.first), "without_that": seen(row.then) }),
            )
            .collect();
        let value = json!({
            "v": 1, "ok": ok, "seeds": args.seeds, "oracles": invisible, "safeguards": safeguards,
        });
        println!("{value}");
    } else {
        for (oracle, lost) in &invisible {
            let lost = if lost.is_empty() { "nothing".into() } else { lost.join(", ") };
            println!("without the oracle {oracle:?}, {lost} would not be missed");
        }
    }
    if ok { OK } else { VIOLATED }
}

fn tell(args: &AblateArgs, row: &Row) {
    let seen = |seen: Option<(&str, u64)>| match seen {
        Some((oracle, seeds)) => format!("{oracle:?} after {seeds} seeds"),
        None => format!("nobody in {} seeds", args.seeds),
    };
    println!("{}: noticed by {}; without that by {}", row.safeguard.name(), seen(row.first), seen(row.then));
}

/// Who notices first that a safeguard is missing, and after how many seeds.
fn noticed(args: &AblateArgs, safeguard: Safeguard, off: Option<&'static str>) -> Option<(&'static str, u64)> {
    let Search { found, seeds, .. } = search(args, safeguard, Oracles { off, second: Second::Never }, Way::AsItIs);
    Some((found?.oracle, seeds))
}
