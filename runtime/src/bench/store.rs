//! A store that keeps no rows: it counts what arrives, and when.

use crate::client::Store;
use dormouse_core::change::Change;
use dormouse_core::fault::Failure;
use dormouse_core::position::{Position, Waypoint};
use dormouse_core::row::Value;
use dormouse_core::store::{Held, StoreRequest};
use std::time::Instant;

/// Counts the changes and rows of one client, and notes when each numbered row arrived.
#[derive(Debug)]
pub(super) struct Counter {
    started: Instant,
    held: Held,
    /// Rows of a snapshot.
    pub(super) rows: u64,
    /// Changes that came again.
    pub(super) duplicated: u64,
    /// Numbered rows that arrived.
    pub(super) noted: u64,
    /// The number before the first that counts: those of earlier runs may still come by.
    base: usize,
    /// Microseconds since `started`, by the number in the row's second column less `base`; 0 is never.
    pub(super) arrivals_us: Vec<u64>,
}

impl Counter {
    /// A counter for rows numbered from `base + 1` to `base + numbers`.
    pub(super) fn new(started: Instant, base: usize, numbers: usize) -> Self {
        let arrivals_us = vec![0; numbers + 1];
        Self { started, held: Held::default(), rows: 0, duplicated: 0, noted: 0, base, arrivals_us }
    }

    fn note(&mut self, change: &Change, at_us: u64) {
        let (Change::Insert { row, .. } | Change::Update { row, .. } | Change::Move { row, .. }) = change else {
            return;
        };
        let Some(Value::Text(number)) = row.values().nth(1) else { return };
        let number = number.parse().ok().and_then(|number: usize| number.checked_sub(self.base));
        let Some(arrival) = number.filter(|number| *number > 0).and_then(|number| self.arrivals_us.get_mut(number))
        else {
            return;
        };
        if *arrival == 0 {
            *arrival = at_us;
            self.noted += 1;
        } else {
            self.duplicated += 1;
        }
    }
}

impl Store for Counter {
    fn held(&self) -> Held {
        self.held
    }

    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure> {
        let at_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match request {
            StoreRequest::ApplyPage { page } => {
                for transaction in &page.transactions {
                    if Position::after(transaction.commit_lsn) <= self.held.shown.map_or(Position::ZERO, |w| w.position)
                    {
                        self.duplicated += transaction.changes.len() as u64;
                    }
                    transaction.changes.iter().for_each(|change| self.note(change, at_us));
                }
                self.stand_at(page.through);
            }
            StoreRequest::ReadHeld => {}
            StoreRequest::StageChunk { chunk, .. } => self.rows += chunk.rows.len() as u64,
            StoreRequest::StageSeam { complete, .. } => {
                if let Some(complete) = complete {
                    self.stand_at(*complete);
                }
            }
        }
        Ok(self.held)
    }
}

impl Counter {
    fn stand_at(&mut self, place: Waypoint) {
        self.held.staged = Some(place);
        if place.position.is_boundary() {
            self.held.shown = Some(place);
        }
    }
}
