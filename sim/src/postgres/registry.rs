//! Our table of clients.

use super::Postgres;
use dormouse_core::fault::Failure;
use dormouse_core::hub::{
    EpochTaken, REPLACED_MAX, RenewRegistrations, SavePositions, StoredPosition, TakeEpoch, Unregister,
};
use dormouse_core::position::Waypoint;
use dormouse_core::session::{ClientId, Epoch};
use dormouse_core::time::Timestamp;
use std::collections::BTreeMap;

/// A client's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Of its newest session.
    pub epoch: Epoch,
    /// Of the store that greeted last; `None` for thin clients.
    pub instance: Option<u64>,
    /// Of the greeting.
    pub attempt: u64,
    /// Those that were replaced, the last one first.
    pub replaced: Vec<u64>,
    /// What it last acknowledged.
    pub position: Option<Waypoint>,
    /// When it ends unless renewed.
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Registry {
    epochs: u64,
    rows: BTreeMap<ClientId, Registration>,
}

impl Registry {
    pub(super) const fn rows(&self) -> &BTreeMap<ClientId, Registration> {
        &self.rows
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.rows.retain(|_, row| row.expires_at > now);
    }
}

impl Postgres {
    /// Answers [`TakeEpoch`]. A greeting of the same instance whose attempt is no higher is stale; a thin client's never is. An instance
    /// that was replaced is set apart.
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_take_epoch(&mut self, now: Timestamp, ask: &TakeEpoch) -> Result<EpochTaken, Failure> {
        let before = self.registry.rows.get(&ask.client);
        let same_instance = |row: &&Registration| row.instance.is_some() && row.instance == ask.instance;
        if before.filter(same_instance).is_some_and(|row| ask.attempt <= row.attempt) {
            return Ok(EpochTaken::Stale);
        }
        let is_replaced = |row: &&Registration| ask.instance.is_some_and(|instance| row.replaced.contains(&instance));
        if ask.apart && before.is_some_and(|row| is_replaced(&row)) {
            return Ok(EpochTaken::Apart);
        }
        let mut replaced = before.map(|row| row.replaced.clone()).unwrap_or_default();
        let last = before.and_then(|row| row.instance).filter(|last| Some(*last) != ask.instance);
        replaced.splice(0..0, last);
        replaced.truncate(REPLACED_MAX);
        let position = match ask.position {
            StoredPosition::Keep => before.and_then(|row| row.position),
            StoredPosition::Set(waypoint) => Some(waypoint),
            StoredPosition::Clear => None,
        };
        self.registry.epochs += 1;
        let epoch = Epoch(self.registry.epochs);
        let (instance, attempt, expires_at) = (ask.instance, ask.attempt, now + ask.ttl);
        let row = Registration { epoch, instance, attempt, replaced, position, expires_at };
        self.registry.rows.insert(ask.client.clone(), row);
        self.own_write();
        Ok(EpochTaken::Taken { epoch, stored: position })
    }

    /// Answers [`SavePositions`]. A client without a row stays without.
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_save_positions(&mut self, ask: &SavePositions) -> Result<(), Failure> {
        for (client, epoch, position) in &ask.entries {
            let Some(row) = self.registry.rows.get_mut(client) else { continue };
            if ask.fenced && *epoch < row.epoch {
                continue;
            }
            if let (true, Some(new), Some(stored)) = (ask.monotonic, position, &row.position)
                && *epoch == row.epoch
                && new.era == stored.era
                && new.position < stored.position
            {
                continue;
            }
            row.position = *position;
        }
        self.own_write();
        Ok(())
    }

    /// Answers [`RenewRegistrations`]. A registration that ran out in use, and was deleted, is entered again.
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_renew_registrations(
        &mut self,
        now: Timestamp,
        ask: &RenewRegistrations,
    ) -> Result<Vec<ClientId>, Failure> {
        let mut fenced = Vec::new();
        for (client, epoch) in &ask.entries {
            match self.registry.rows.get_mut(client) {
                Some(row) if row.epoch > *epoch => fenced.push(client.clone()),
                Some(row) => row.expires_at = row.expires_at.max(now + ask.ttl),
                None => {
                    let expires_at = now + ask.ttl;
                    let (epoch, replaced) = (*epoch, Vec::new());
                    let row = Registration { epoch, instance: None, attempt: 0, replaced, position: None, expires_at };
                    self.registry.rows.insert(client.clone(), row);
                }
            }
        }
        self.own_write();
        Ok(fenced)
    }

    /// Answers [`Unregister`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_unregister(&mut self, ask: &Unregister) -> Result<(), Failure> {
        let newer = self.registry.rows.get(&ask.client).is_some_and(|row| row.epoch > ask.epoch);
        if !(ask.fenced && newer) {
            self.registry.rows.remove(&ask.client);
        }
        self.own_write();
        Ok(())
    }

    /// All clients' rows.
    #[must_use]
    pub const fn registrations(&self) -> &BTreeMap<ClientId, Registration> {
        self.registry.rows()
    }
}
