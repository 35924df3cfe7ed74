//! Facts, commands and messages in people's words.

mod choice;
mod client;
mod hub;
mod message;
mod replication;
mod world;

pub use choice::{choice, moment};
pub use client::{client_input, client_output, store_request};
pub use hub::{hub_input, hub_output, hub_question, hub_reply};
pub use message::{client_message, server_message};
pub use replication::{replication_input, replication_output, replication_question, replication_reply};
pub use world::{answered, asked, committed, confirmed, rolled_back, stored, streamed, timer, visible, written};

use dormouse_core::change::{Chunk, Page};
use dormouse_core::fault::Failure;
use dormouse_core::history::Head;
use dormouse_core::position::Waypoint;
use dormouse_core::store::Held;
use std::fmt::Display;

/// A page: where it begins and ends, and whose changes it holds.
#[must_use]
pub fn page(page: &Page) -> String {
    const NAMED: usize = 3;
    let name = |t: &dormouse_core::change::Transaction| {
        let part = match (t.first, t.complete) {
            (0, true) => String::new(),
            (0, false) => ", its first piece".into(),
            (first, false) => format!(", a piece from change {first}"),
            (first, true) => format!(", its last piece from change {first}"),
        };
        format!("xid {} ({}{part})", t.xid, count(t.changes.len(), "change"))
    };
    let mut names: Vec<_> = page.transactions.iter().take(NAMED).map(name).collect();
    let more = page.transactions.len().saturating_sub(NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let holds = if names.is_empty() { "nothing in scope".into() } else { names.join(", ") };
    format!("page {}..{}: {holds}", page.after, page.through.position)
}

/// A chunk: how many rows of which table.
fn chunk(chunk: &Chunk) -> String {
    format!("{} of {}", count(chunk.rows.len(), "row"), chunk.relation.full_name())
}

/// What a store holds.
#[must_use]
pub fn held(held: &Held) -> String {
    let shown = held.shown.map_or("nothing".into(), |at| at.position.to_string());
    let staged = match held.staged {
        Some(at) if held.staged != held.shown => format!(", pieces staged through {}", at.position),
        _ => String::new(),
    };
    let wrong = if held.anomalies > 0 { format!(", {}", count_of(held.anomalies, "misfit")) } else { String::new() };
    format!("shows {shown}{staged}{wrong}")
}

fn head(head: &Head) -> String {
    format!("the head is {} in era {}, covered {}", head.position(), head.era().counter, head.covered)
}

fn at(waypoint: Option<&Waypoint>) -> String {
    waypoint.map_or_else(|| "no position".into(), |at| at.position.to_string())
}

fn failure(failure: &Failure) -> String {
    match failure {
        Failure::Unavailable(why) => format!("no answer: {why}"),
        Failure::Refused(why) => format!("refused: {why}"),
    }
}

fn reply<T>(reply: &Result<T, Failure>, words: impl FnOnce(&T) -> String) -> String {
    match reply {
        Ok(reply) => words(reply),
        Err(why) => failure(why),
    }
}

fn count(n: usize, what: &str) -> String {
    count_of(n as u64, what)
}

fn count_of(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn list<T: Display>(all: impl IntoIterator<Item = T>) -> String {
    const NAMED: usize = 16;
    let mut all: Vec<_> = all.into_iter().map(|one| one.to_string()).collect();
    let more = all.len().saturating_sub(NAMED);
    if more > 0 {
        all.truncate(NAMED);
        all.push(format!("{more} more"));
    }
    if all.is_empty() { "nobody".into() } else { all.join(", ") }
}
