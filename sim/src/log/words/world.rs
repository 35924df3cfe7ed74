//! What happens outside the machines: in the database, in stores, and to timers.

use super::replication::{is_idle, stream};
use super::{reply, store_request};
use crate::entity::Entity;
use crate::log::{Draft, Link, What};
use crate::postgres::{Committed, Write};
use dormouse_core::ask::{Ask, AskId};
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::source::SourceItem;
use dormouse_core::store::Store;
use dormouse_core::xid::Xid;
use std::fmt::Debug;

/// A machine's timer fires.
#[must_use]
pub fn timer(lane: Entity) -> Draft {
    Draft::new(lane, What::Timer, "wakes: its timer fires".into()).minor()
}

/// A question takes effect in the database.
#[must_use]
pub fn asked(whose: Entity, question: Option<(AskId, String)>, raw: &impl Debug, minor: bool) -> Draft {
    let (id, words) = question.unzip();
    let words = words.unwrap_or_else(|| "something".into());
    let draft = Draft::new(Entity::Postgres, What::Effect, format!("for {whose}: {words}")).raw(raw);
    let draft = match id {
        Some(id) => draft.receives(Link::question(id)),
        None => draft,
    };
    if minor { draft.minor() } else { draft }
}

/// The database answers a question. Not `sent`: nobody will hear it.
#[must_use]
pub fn answered(whose: Entity, answer: Option<(AskId, String)>, raw: &impl Debug, sent: bool, minor: bool) -> Draft {
    let (id, words) = answer.unzip();
    let words = words.unwrap_or_else(|| "something".into());
    let lost = if sent { "" } else { " (the answer is lost)" };
    let draft = Draft::new(Entity::Postgres, What::Sent, format!("answers {whose}: {words}{lost}")).raw(raw);
    let draft = match id.filter(|_| sent) {
        Some(id) => draft.sends(Link::answer(id)),
        None => draft,
    };
    if minor { draft.minor() } else { draft }
}

/// The stream delivers to a read.
#[must_use]
pub fn streamed(node: u8, id: AskId, items: &Result<Vec<SourceItem>, Failure>) -> Draft {
    let words = format!("answers replication/{node}: {}", reply(items, |items| stream(items)));
    let draft = Draft::new(Entity::Postgres, What::Sent, words).raw(items).sends(Link::answer(id));
    if items.as_ref().is_ok_and(|items| is_idle(items)) { draft.minor() } else { draft }
}

/// A confirmation reaches the slot.
#[must_use]
pub fn confirmed(node: u8, lsn: Lsn) -> Draft {
    let words = format!("may forget the WAL below {lsn}, says replication/{node}");
    Draft::new(Entity::Postgres, What::Effect, words).receives(Link::Confirm(node, lsn))
}

/// A store carries out a request.
#[must_use]
pub fn stored(client: u8, ask: &Ask<Store>) -> Draft {
    let words = format!("in its store: {}", store_request(&ask.question.request));
    Draft::new(Entity::Client(client), What::Effect, words).raw(ask).receives(Link::question(ask.id))
}

/// A writer writes.
#[must_use]
pub fn written(writer: u8, write: &Write) -> Draft {
    let words = match write {
        Write::Insert { table, key, .. } => format!("inserts row {key} into t{table}"),
        Write::Update { table, key, .. } => format!("updates row {key} of t{table}"),
        Write::Delete { table, key } => format!("deletes row {key} of t{table}"),
        Write::Move { table, key, to, .. } => format!("moves row {key} of t{table} to {to}"),
        Write::Truncate { table } => format!("truncates t{table}"),
    };
    Draft::new(Entity::Writer(writer), What::Output, words).raw(write).minor()
}

/// A writer commits.
#[must_use]
pub fn committed(writer: u8, committed: &Committed) -> Draft {
    let words = format!("commits xid {} at {}", committed.xid, committed.commit_lsn);
    Draft::new(Entity::Writer(writer), What::Output, words).raw(committed)
}

/// A writer rolls back.
#[must_use]
pub fn rolled_back(writer: u8) -> Draft {
    Draft::new(Entity::Writer(writer), What::Output, "rolls back".into()).minor()
}

/// A commit becomes visible to snapshots.
#[must_use]
pub fn visible(xid: Option<Xid>) -> Draft {
    let xid = xid.map_or_else(|| "a transaction".into(), |xid| format!("xid {xid}"));
    Draft::new(Entity::Postgres, What::Effect, format!("shows {xid} to snapshots from now on"))
}
