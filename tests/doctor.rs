//! `dormouse doctor` on servers that were misconfigured on purpose: each is named by its code in one line, and gone once
//! its remedy was pasted into `psql`.

pub mod clinic;
mod connecting;
mod settings;
mod tables;

use dormouse_runtime::doctor::Code;
use std::collections::BTreeSet;

/// The operators' handbook lists every code, and no other.
#[test]
fn the_handbook_lists_every_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md");
    let handbook = std::fs::read_to_string(path).expect("there is a handbook");
    let (_, rest) = handbook.split_once("| code | meaning |").expect("it has a table of codes");
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    let listed: BTreeSet<String> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','))
        .map(|code| code.trim().trim_matches('`').into())
        .collect();
    let known: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(listed, known);
}
