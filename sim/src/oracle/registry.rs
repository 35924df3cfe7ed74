//! Durable, in the registry: what an older session writes never harms a newer one, and positions tell the truth.

use super::{Checked, Oracle, Promise, broken};
use crate::postgres::{Postgres, Registration};
use dormouse_core::ask::Answer;
use dormouse_core::change::Scope;
use dormouse_core::hub::{EpochTaken, Input, Output, SavePositions, StoredPosition, TakeEpoch};
use dormouse_core::position::Waypoint;
use dormouse_core::session::{Attachment, ClientId, Epoch};
use dormouse_core::wire::Resume;
use std::time::Duration;

/// The rows that a question concerns, before it takes effect.
pub type RegistryBefore = Vec<(ClientId, Option<Registration>)>;

impl Oracle {
    /// Looks at the rows that a question concerns.
    #[must_use]
    pub fn registry_before(&self, postgres: &Postgres, question: &Output) -> RegistryBefore {
        let row = |client: &ClientId| (client.clone(), postgres.registrations().get(client).cloned());
        match question {
            Output::SavePositions(ask) => ask.question.entries.iter().map(|(client, ..)| row(client)).collect(),
            Output::Unregister(ask) => vec![row(&ask.question.client)],
            _ => Vec::new(),
        }
    }

    /// Compares the rows after a question took effect.
    ///
    /// # Errors
    /// When an older session overwrote a newer one, or a position lies or moved back.
    pub fn registry_after(
        &mut self,
        postgres: &Postgres,
        before: &RegistryBefore,
        question: &Output,
        answer: &Input,
    ) -> Checked {
        match (question, answer) {
            (Output::TakeEpoch(ask), Input::EpochTaken(Answer { reply: Ok(EpochTaken::Taken { epoch, .. }), .. })) => {
                self.epochs.insert(*epoch, ask.question.client.clone());
                self.as_greeted(&ask.question)
            }
            (Output::SavePositions(ask), _) => self.saved(postgres, before, &ask.question),
            (Output::Unregister(ask), _) => {
                self.is_own_epoch(&ask.question.client, ask.question.epoch)?;
                let (client, was) = &before[0];
                let left = self.leavers.get(client).is_some_and(|newest| ask.question.epoch <= *newest);
                if self.honest(client).next().is_some() && !left {
                    let event = format!("the registration of {client} is removed, which did not ask for that");
                    return broken(Promise::Durable, "unasked", event);
                }
                if let Some(was) = was.as_ref().filter(|was| was.epoch > ask.question.epoch)
                    && !postgres.registrations().contains_key(client)
                {
                    let event =
                        format!("a session of epoch {} removed {client}'s of {}", ask.question.epoch.0, was.epoch.0);
                    return broken(Promise::Durable, "registry", event);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A client asks its hub to be forgotten.
    pub fn wants_to_be_forgotten(&mut self, client: ClientId) {
        let newest = self.epochs.iter().rev().find(|(_, owner)| **owner == client).map(|(epoch, _)| *epoch);
        self.leavers.insert(client, newest.unwrap_or_default());
    }

    /// An epoch is taken for what its client said when it greeted.
    fn as_greeted(&self, ask: &TakeEpoch) -> Checked {
        let mut hellos = self.honest(&ask.client).filter_map(|client| self.clients[client].hello.as_ref());
        let theirs = hellos.find(|(instance, attempt, _)| (&ask.instance, &ask.attempt) == (instance, attempt));
        let Some((instance, _, resume)) = theirs else { return Ok(()) };
        let said = match resume {
            Resume::Nothing => StoredPosition::Clear,
            Resume::Stored => StoredPosition::Keep,
            Resume::At(waypoint) => StoredPosition::Set(*waypoint),
        };
        if instance.is_some() && ask.position != said {
            let event = format!("{} greeted with {said:?}, and its row is told {:?}", ask.client, ask.position);
            return broken(Promise::Durable, "greeting", event);
        }
        Ok(())
    }

    fn saved(&self, postgres: &Postgres, before: &RegistryBefore, ask: &SavePositions) -> Checked {
        for ((client, epoch, position), (_, was)) in ask.entries.iter().zip(before) {
            self.is_own_epoch(client, *epoch)?;
            if let Some(position) = position.as_ref().filter(|position| self.is_made_up(client, position)) {
                let event = format!("{client} is said to hold {}, which it never did", position.position);
                return broken(Promise::Durable, "position", event);
            }
            let Some(was) = was else { continue };
            let now = postgres.registrations().get(client);
            let changed = now.is_none_or(|now| now.position != was.position);
            if changed && was.epoch > *epoch {
                let event =
                    format!("a session of epoch {} wrote the position of {client}'s of {}", epoch.0, was.epoch.0);
                return broken(Promise::Durable, "registry", event);
            }
            let back = |now: &Waypoint, was: &Waypoint| now.era == was.era && now.position < was.position;
            if let (Some(now), Some(was_at)) = (now.and_then(|now| now.position), was.position)
                && was.epoch == *epoch
                && back(&now, &was_at)
            {
                let event = format!("{client}'s position moved back from {} to {}", was_at.position, now.position);
                return broken(Promise::Durable, "monotonic", event);
            }
        }
        Ok(())
    }

    /// Whether nobody has taken an epoch of this client that is later than this one.
    #[must_use]
    pub fn is_newest(&self, client: &ClientId, epoch: Epoch) -> bool {
        !self.epochs.iter().rev().take_while(|(later, _)| **later > epoch).any(|(_, owner)| owner == client)
    }

    /// A hub welcomes a client at a place.
    ///
    /// # Errors
    /// When history does not hold exactly what that names.
    pub fn welcomed(&self, postgres: &Postgres, from: &Waypoint) -> Checked {
        let commit = postgres.commit_at(from.position.commit_lsn).filter(|_| self.is_all_kept());
        let Some(commit) = commit.filter(|_| postgres.era() == Some(from.era)) else { return Ok(()) };
        let inside = from.position.is_boundary() || (from.position.index as usize) < commit.changes.len();
        if !inside || from.committed_at != commit.committed_at {
            let event = format!("a client is welcome at {from:?}, which is not what was committed there");
            return broken(Promise::Durable, "welcome", event);
        }
        Ok(())
    }

    fn is_own_epoch(&self, client: &ClientId, epoch: Epoch) -> Checked {
        match self.epochs.get(&epoch) {
            Some(owner) if owner == client => Ok(()),
            owner => {
                let event = format!("{client} writes under epoch {}, which belongs to {owner:?}", epoch.0);
                broken(Promise::Durable, "epoch", event)
            }
        }
    }

    /// A hub keeps something with a socket.
    ///
    /// # Errors
    /// When it is ahead of what the client has stored or history holds, or says that the registration lasts longer than it does. The
    /// clock of the hub's node is so far ahead.
    pub fn attached(&self, postgres: &Postgres, attachment: &Attachment, ahead: Duration) -> Checked {
        if let Scope::Tables(names) = &attachment.scope
            && let Some(unknown) = names.iter().find(|name| !postgres.has_table(name))
        {
            return broken(
                Promise::Scoped,
                "unknown scope",
                format!("{unknown} is served, and there is no such table"),
            );
        }
        if self.is_all_kept() {
            let row = postgres.registrations().get(&attachment.client).filter(|row| row.epoch == attachment.epoch);
            if let Some(row) = row.filter(|row| attachment.expires_at - ahead > row.expires_at) {
                let event = format!(
                    "the registration of {} ends at {:?}, and what is kept says {:?}",
                    attachment.client, row.expires_at, attachment.expires_at
                );
                return broken(Promise::Durable, "registration's end", event);
            }
            let head = postgres.head().filter(|head| head.era() == attachment.era).map(|head| head.position());
            if let (Some(position), Some(head)) = (attachment.position, head)
                && position.position > head
            {
                let event = format!("an attachment says {}, and history ends at {head}", position.position);
                return broken(Promise::Durable, "attachment", event);
            }
        }
        let made_up = |position: &&Waypoint| self.is_made_up(&attachment.client, position);
        if let Some(position) = attachment.position.as_ref().filter(made_up) {
            let event = format!("an attachment says {}, which {} never held", position.position, attachment.client);
            return broken(Promise::Durable, "attachment", event);
        }
        Ok(())
    }
}
