//! A replicator's facts, commands and questions.

use super::{count, head, page, reply};
use crate::entity::Entity;
use crate::log::{Draft, Link, What};
use dormouse_core::ask::AskId;
use dormouse_core::fault::Failure;
use dormouse_core::replication::{Fenced, Input, LeaseTaken, Output, Recorded};
use dormouse_core::source::SourceItem;

/// What a replicator is told.
#[must_use]
pub fn replication_input(node: u8, input: &Input) -> Draft {
    let lane = Entity::Replication(node);
    let draft = |what, words: String| Draft::new(lane, what, words).raw(input);
    match input {
        Input::Started { .. } => draft(What::Start, "starts".into()),
        Input::Stopping => draft(What::Input, "is told to stop".into()),
        Input::CoveredWanted { lsn } => {
            draft(What::Received, format!("hears that covered {lsn} is waited for")).receives(Link::Covered(node, *lsn))
        }
        _ => {
            let Some((id, words)) = replication_reply(input) else { return draft(What::Answer, "hears".into()) };
            let draft = draft(What::Answer, format!("hears from postgres: {words}")).receives(Link::answer(id));
            let idle =
                matches!(input, Input::SourceRead(answer) if answer.reply.as_ref().is_ok_and(|items| is_idle(items)));
            let minor = idle
                || matches!(
                    input,
                    Input::LeaseRenewed(_)
                        | Input::TablesInspected(_)
                        | Input::Pruned(_)
                        | Input::AttemptNoted(_)
                        | Input::HeadRead(_)
                );
            if minor { draft.minor() } else { draft }
        }
    }
}

/// What a replicator commands.
#[must_use]
pub fn replication_output(node: u8, output: &Output) -> Draft {
    let lane = Entity::Replication(node);
    let draft = |what, words: String| Draft::new(lane, what, words).raw(output);
    match output {
        Output::Announce(announcement) => {
            let what = announcement.page.as_ref().map_or_else(|| "no page".into(), |changes| page(changes));
            let draft = draft(What::Sent, format!("announces: covered {}, {what}", announcement.head.covered));
            if announcement.page.is_none() { draft.minor() } else { draft }
        }
        Output::Confirm { lsn } => {
            draft(What::Sent, format!("lets postgres forget the WAL below {lsn}")).sends(Link::Confirm(node, *lsn))
        }
        Output::NudgeSource => draft(What::Output, "nudges the idle source".into()).minor(),
        Output::StopStream => draft(What::Output, "closes its stream".into()),
        Output::Halt(halt) => draft(What::Output, format!("halts for good: {}", halt.message)),
        Output::Stopped => draft(What::Output, "has stopped".into()),
        _ => {
            let Some((id, words)) = replication_question(output) else { return draft(What::Question, "asks".into()) };
            let draft = draft(What::Question, format!("asks postgres: {words}")).sends(Link::question(id));
            let minor = matches!(
                output,
                Output::RenewLease(_)
                    | Output::ReadSource(_)
                    | Output::InspectTables(_)
                    | Output::Prune(_)
                    | Output::NoteAttempt(_)
                    | Output::ReadHead(_)
            );
            if minor { draft.minor() } else { draft }
        }
    }
}

/// A question of a replicator; `None` for other commands.
#[must_use]
pub fn replication_question(output: &Output) -> Option<(AskId, String)> {
    Some(match output {
        Output::TakeLease(ask) => (ask.id, format!("take the lease for {}", ask.question.holder)),
        Output::RenewLease(ask) => (ask.id, format!("renew lease {}", ask.question.token.0)),
        Output::ReleaseLease(ask) => (ask.id, format!("release lease {}", ask.question.token.0)),
        Output::InspectSource(ask) => (ask.id, "look at slot and tables".into()),
        Output::LoadProgress(ask) => (ask.id, "read what is recorded, and delete unfinished pieces".into()),
        Output::CreateSlot(ask) => (ask.id, "create the slot".into()),
        Output::SettleSlot(ask) => (ask.id, "settle the slot".into()),
        Output::BeginEra(ask) => (ask.id, format!("begin an era at {}: {}", ask.question.start, ask.question.reason)),
        Output::StartStream(ask) => (ask.id, format!("start the stream from {}", ask.question.from)),
        Output::ReadSource(ask) => (ask.id, "read the stream".into()),
        Output::NoteAttempt(ask) => (ask.id, format!("count an attempt at {}", ask.question.commit_lsn)),
        Output::RecordPage(ask) => {
            (ask.id, format!("record {}, after {} in history", page(&ask.question.page), ask.question.expect))
        }
        Output::SaveCovered(ask) => (ask.id, format!("save covered {}", ask.question.covered)),
        Output::InspectTables(ask) => (ask.id, "look at the tables".into()),
        Output::RaiseSchema(ask) => match &ask.question.reason {
            Some(why) => (ask.id, format!("raise the schema number: {why}")),
            None => (ask.id, "note the tables".into()),
        },
        Output::Prune(ask) => (ask.id, "prune history".into()),
        Output::ReadHead(ask) => (ask.id, "read the head".into()),
        Output::Announce(_)
        | Output::Confirm { .. }
        | Output::NudgeSource
        | Output::StopStream
        | Output::Halt(_)
        | Output::Stopped => return None,
    })
}

fn fenced<T>(answer: &Result<Fenced<T>, Failure>, words: impl FnOnce(&T) -> String) -> String {
    reply(answer, |fenced| match fenced {
        Fenced::Done(done) => words(done),
        Fenced::Superseded => "superseded, nothing was done".into(),
    })
}

/// An answer to a replicator; `None` for other facts.
#[must_use]
pub fn replication_reply(input: &Input) -> Option<(AskId, String)> {
    Some(match input {
        Input::LeaseTaken(answer) => (
            answer.id,
            reply(&answer.reply, |taken| match taken {
                LeaseTaken::Taken { token, clean: true } => format!("lease {} is taken", token.0),
                LeaseTaken::Taken { token, clean: false } => {
                    format!("lease {} is taken; its last holder did not release it", token.0)
                }
                LeaseTaken::Held { holder, .. } => format!("{holder} holds the lease"),
            }),
        ),
        Input::LeaseRenewed(answer) => (answer.id, fenced(&answer.reply, |()| "renewed".into())),
        Input::LeaseReleased(answer) => (answer.id, fenced(&answer.reply, |()| "released".into())),
        Input::SourceInspected(answer) => (
            answer.id,
            fenced(&answer.reply, |source| match &source.slot {
                None => "there is no slot".into(),
                Some(slot) if slot.usable => format!("the slot is confirmed at {}", slot.confirmed),
                Some(_) => "the slot is unusable".into(),
            }),
        ),
        Input::ProgressLoaded(answer) => (
            answer.id,
            fenced(&answer.reply, |progress| {
                progress.as_ref().map_or_else(|| "nothing is recorded".into(), |progress| head(&progress.head))
            }),
        ),
        Input::SlotCreated(answer) => (answer.id, fenced(&answer.reply, |lsn| format!("the slot begins at {lsn}"))),
        Input::SlotSettled(answer) => {
            (answer.id, fenced(&answer.reply, |lsn| format!("the slot is settled, and begins at {lsn}")))
        }
        Input::EraBegun(answer) => {
            (answer.id, fenced(&answer.reply, |now| format!("the era has begun, {}", head(now))))
        }
        Input::StreamStarted(answer) => (answer.id, reply(&answer.reply, |()| "the stream is open".into())),
        Input::SourceRead(answer) => (answer.id, reply(&answer.reply, |items| stream(items))),
        Input::AttemptNoted(answer) => (answer.id, fenced(&answer.reply, |n| format!("attempt {n}"))),
        Input::PageRecorded(answer) => (
            answer.id,
            reply(&answer.reply, |recorded| match recorded {
                Recorded::Recorded { .. } => "recorded".into(),
                Recorded::AlreadyAt { position, .. } => format!("not recorded, history is at {position} already"),
                Recorded::Superseded => "superseded, nothing was done".into(),
            }),
        ),
        Input::CoveredSaved(answer) => (answer.id, fenced(&answer.reply, |()| "saved".into())),
        Input::TablesInspected(answer) => (answer.id, fenced(&answer.reply, |tables| count(tables.len(), "table"))),
        Input::SchemaRaised(answer) => {
            (answer.id, fenced(&answer.reply, |schema| format!("the schema is {}", schema.0)))
        }
        Input::Pruned(answer) => {
            (answer.id, fenced(&answer.reply, |horizon| format!("history begins after {horizon}")))
        }
        Input::HeadRead(answer) => (answer.id, reply(&answer.reply, head)),
        Input::Started { .. } | Input::Stopping | Input::CoveredWanted { .. } => return None,
    })
}

/// Whether a read of the stream brought only signs of life.
pub(super) fn is_idle(items: &[SourceItem]) -> bool {
    items.iter().all(|item| matches!(item, SourceItem::Keepalive { .. }))
}

/// What a read of the stream brought.
pub(super) fn stream(items: &[SourceItem]) -> String {
    let mut said = Vec::new();
    let mut changes = 0;
    let flush = |changes: &mut usize, said: &mut Vec<String>| {
        if *changes > 0 {
            said.push(count(std::mem::take(changes), "change"));
        }
    };
    for item in items {
        match item {
            SourceItem::Change(_) => changes += 1,
            SourceItem::Relation(_) => {}
            SourceItem::Begin { commit_lsn, xid, .. } => {
                flush(&mut changes, &mut said);
                said.push(format!("begin of xid {xid} (commits at {commit_lsn})"));
            }
            SourceItem::Commit { end_lsn } => {
                flush(&mut changes, &mut said);
                said.push(format!("commit (ends at {end_lsn})"));
            }
            SourceItem::Keepalive { wal_end } => {
                flush(&mut changes, &mut said);
                said.push(format!("keepalive (all below {wal_end} was sent)"));
            }
        }
    }
    flush(&mut changes, &mut said);
    if said.is_empty() { "nothing from the stream".into() } else { format!("from the stream: {}", said.join(", ")) }
}
