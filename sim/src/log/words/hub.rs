//! A hub's facts, commands and questions.

use super::message::{client_message, server_message};
use super::{at, chunk, count, count_of, head, list, page, reply};
use crate::entity::Entity;
use crate::log::names::client;
use crate::log::{Draft, Link, Names, What};
use dormouse_core::ask::AskId;
use dormouse_core::history::HistoryRead;
use dormouse_core::hub::{ClosedReason, EpochTaken, Input, Output, Recipients, SnapshotTaken, StoredPosition};

/// What a hub is told.
#[must_use]
pub fn hub_input(hub: u8, input: &Input, names: &Names) -> Draft {
    let lane = Entity::Hub(hub);
    let draft = |what, words: String| Draft::new(lane, what, words).raw(input);
    match input {
        Input::Woke { sessions, .. } if sessions.is_empty() => draft(What::Wake, "wakes; no socket is open".into()),
        Input::Woke { sessions, .. } => {
            let known = |(session, kept): &(_, Option<dormouse_core::session::Attachment>)| match kept {
                None => format!("{}, of whom nothing is kept", names.of(*session)),
                Some(kept) => format!("{} at {}", names.of(*session), at(kept.position.as_ref())),
            };
            draft(What::Wake, format!("wakes with the open sockets of {}", list(sessions.iter().map(known))))
        }
        Input::Opened { session, .. } => draft(What::Received, format!("takes the dial of {}", names.of(*session))),
        Input::CredentialRenewed { session, .. } => {
            draft(What::Input, format!("is told that the credential of {} is good for longer", names.of(*session)))
        }
        Input::Received { session, message: Ok(message) } => {
            draft(What::Received, format!("hears {} from {}", client_message(message), names.of(*session)))
        }
        Input::Received { session, message: Err(why) } => {
            draft(What::Received, format!("hears garbage from {}: {}", names.of(*session), why.why))
        }
        Input::Closed { session, reason } => {
            let why = match reason {
                ClosedReason::Peer => "closed by it",
                ClosedReason::Broken => "broken",
                ClosedReason::Silent => "silent for too long",
            };
            draft(What::Received, format!("loses the socket of {}: {why}", names.of(*session)))
        }
        Input::Announced(announcement) => {
            let what = announcement.page.as_ref().map_or_else(|| "no page".into(), |changes| page(changes));
            let words = format!("hears the announcement: covered {}, {what}", announcement.head.covered);
            let draft = draft(What::Received, words);
            if announcement.page.is_none() { draft.minor() } else { draft }
        }
        Input::Draining => draft(What::Input, "is told that its process ends".into()),
        Input::EpochTaken(_)
        | Input::PositionJudged(_)
        | Input::SnapshotTaken(_)
        | Input::ChunkRead(_)
        | Input::HistoryRead(_)
        | Input::HeadRead(_)
        | Input::PositionsSaved(_)
        | Input::RegistrationsRenewed(_)
        | Input::Unregistered(_) => {
            let Some((id, words)) = hub_reply(input) else { return draft(What::Answer, "hears an answer".into()) };
            let draft = draft(What::Answer, format!("hears from postgres: {words}")).receives(Link::answer(id));
            if matches!(input, Input::RegistrationsRenewed(_)) { draft.minor() } else { draft }
        }
    }
}

/// What a hub commands.
#[must_use]
pub fn hub_output(hub: u8, output: &Output, names: &Names) -> Draft {
    let lane = Entity::Hub(hub);
    let draft = |what, words: String| Draft::new(lane, what, words).raw(output);
    match output {
        Output::Send { to: Recipients::One(to), message } => {
            draft(What::Sent, format!("sends {} to {}", server_message(message), names.of(*to)))
        }
        Output::Send { to: Recipients::Many(to), message } => {
            let to = list(to.iter().map(|to| names.of(*to)));
            draft(What::Sent, format!("sends {} to {to}", server_message(message)))
        }
        Output::Close { session, fault } => {
            let why = fault
                .as_ref()
                .map_or_else(String::new, |fault| format!(": {}, {}", fault.code.as_str(), fault.message));
            draft(What::Sent, format!("closes the socket of {}{why}", names.of(*session)))
        }
        Output::Attach { session, attachment } => {
            let kept = at(attachment.position.as_ref());
            draft(What::Output, format!("keeps {kept} with the socket of {}", names.of(*session))).minor()
        }
        Output::Hibernate { .. } => draft(What::Sleep, "sleeps".into()),
        Output::WantCovered { lsn } => draft(What::Sent, format!("waits until covered has reached {lsn}")),
        Output::DropSpool { spool } => draft(What::Output, format!("drops snapshot {}", spool.0)).minor(),
        Output::TakeEpoch(_)
        | Output::JudgePosition(_)
        | Output::TakeSnapshot(_)
        | Output::ReadChunk(_)
        | Output::ReadHistory(_)
        | Output::ReadHead(_)
        | Output::SavePositions(_)
        | Output::RenewRegistrations(_)
        | Output::Unregister(_) => {
            let Some((id, words)) = hub_question(output) else { return draft(What::Question, "asks".into()) };
            let draft = draft(What::Question, format!("asks postgres: {words}")).sends(Link::question(id));
            if matches!(output, Output::RenewRegistrations(_)) { draft.minor() } else { draft }
        }
    }
}

/// A question of a hub; `None` for other commands.
#[must_use]
pub fn hub_question(output: &Output) -> Option<(AskId, String)> {
    Some(match output {
        Output::TakeEpoch(ask) => {
            let place = match &ask.question.position {
                StoredPosition::Keep => "it goes on from the stored position".into(),
                StoredPosition::Set(at) => format!("it stands at {}", at.position),
                StoredPosition::Clear => "it has nothing".into(),
            };
            let whose = client(&ask.question.client);
            (ask.id, format!("take an epoch for {whose} (attempt {}); {place}", ask.question.attempt))
        }
        Output::JudgePosition(ask) => match &ask.question.claim {
            None => (ask.id, "read head and mark; no position is claimed".into()),
            Some(claim) => (ask.id, format!("judge the position {} of era {}", claim.position, claim.era.counter)),
        },
        Output::TakeSnapshot(ask) => (ask.id, format!("copy a snapshot of {}", ask.question.scope)),
        Output::ReadChunk(ask) => {
            (ask.id, format!("read chunk {} of snapshot {}", ask.question.n, ask.question.spool.0))
        }
        Output::ReadHistory(ask) => {
            let until = ask.question.until.map_or_else(String::new, |until| format!(" below {until}"));
            (ask.id, format!("read history after {}{until}", ask.question.after))
        }
        Output::ReadHead(ask) => (ask.id, "read the head".into()),
        Output::SavePositions(ask) => {
            let entry = |(whose, epoch, place): &(_, dormouse_core::session::Epoch, _)| {
                format!("{} at {} (epoch {})", client(whose), at(Option::as_ref(place)), epoch.0)
            };
            (ask.id, format!("save where clients stand: {}", list(ask.question.entries.iter().map(entry))))
        }
        Output::RenewRegistrations(ask) => {
            let whose = ask.question.entries.iter().map(|(whose, _)| client(whose));
            (ask.id, format!("renew the registrations of {}", list(whose)))
        }
        Output::Unregister(ask) => {
            (ask.id, format!("unregister {} (epoch {})", client(&ask.question.client), ask.question.epoch.0))
        }
        Output::Send { .. }
        | Output::Close { .. }
        | Output::Attach { .. }
        | Output::Hibernate { .. }
        | Output::WantCovered { .. }
        | Output::DropSpool { .. } => return None,
    })
}

/// An answer to a hub; `None` for other facts.
#[must_use]
pub fn hub_reply(input: &Input) -> Option<(AskId, String)> {
    Some(match input {
        Input::EpochTaken(answer) => (
            answer.id,
            reply(&answer.reply, |taken| match taken {
                EpochTaken::Taken { epoch, stored } => format!("epoch {}, stored is {}", epoch.0, at(stored.as_ref())),
                EpochTaken::Stale => "a later greeting came before".into(),
                EpochTaken::Apart => "another instance has replaced this one, which needs an id of its own".into(),
            }),
        ),
        Input::PositionJudged(answer) => (
            answer.id,
            reply(&answer.reply, |judged| {
                let named = if judged.named.is_some() { ", history knows the position" } else { "" };
                format!(
                    "{}, the mark is {}, history begins after {}{named}",
                    head(&judged.head),
                    judged.mark,
                    judged.horizon
                )
            }),
        ),
        Input::SnapshotTaken(answer) => (
            answer.id,
            reply(&answer.reply, |taken| match taken {
                SnapshotTaken::Spooled(spool) => {
                    let running = match spool.snapshot.running.is_empty() {
                        true => String::new(),
                        false => format!(", while xid {} ran", list(&spool.snapshot.running)),
                    };
                    format!(
                        "snapshot {} with {} in {}; it sees what ended below xid {}{running}; the seam is {}..{}",
                        spool.id.0,
                        count_of(spool.rows, "row"),
                        count_of(u64::from(spool.chunks), "chunk"),
                        spool.snapshot.xmax,
                        spool.start.position,
                        spool.fence
                    )
                }
                SnapshotTaken::EraStarting => "not yet, what ran when the era began still runs".into(),
                SnapshotTaken::OtherEra { head: now } => format!("another era has begun, {}", head(now)),
            }),
        ),
        Input::ChunkRead(answer) => (
            answer.id,
            reply(&answer.reply, |read| {
                read.as_ref().map_or_else(|| "the snapshot is gone".into(), |rows| chunk(rows))
            }),
        ),
        Input::HistoryRead(answer) => (
            answer.id,
            reply(&answer.reply, |read| match read {
                HistoryRead::Page { page: changes, .. } => page(changes),
                HistoryRead::End { head: now } => format!("nothing follows, {}", head(now)),
                HistoryRead::Pruned { .. } => "the position is older than history".into(),
                HistoryRead::OtherEra { head: now } => format!("another era has begun, {}", head(now)),
            }),
        ),
        Input::HeadRead(answer) => (answer.id, reply(&answer.reply, head)),
        Input::PositionsSaved(answer) => (answer.id, reply(&answer.reply, |()| "saved".into())),
        Input::RegistrationsRenewed(answer) => (
            answer.id,
            reply(&answer.reply, |fenced| match fenced.len() {
                0 => "renewed".into(),
                n => format!("renewed, {} fenced by newer sessions", count(n, "client")),
            }),
        ),
        Input::Unregistered(answer) => (answer.id, reply(&answer.reply, |()| "unregistered".into())),
        Input::Woke { .. }
        | Input::Opened { .. }
        | Input::CredentialRenewed { .. }
        | Input::Received { .. }
        | Input::Closed { .. }
        | Input::Announced(_)
        | Input::Draining => return None,
    })
}
