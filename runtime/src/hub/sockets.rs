//! The sockets of one hub, and what is kept with each while the hub sleeps.

use crate::socket::Outbox;
use dormouse_core::session::{Attachment, ClientId, SessionId};
use std::sync::Arc;

/// One open socket.
#[derive(Debug)]
pub(super) struct Entry {
    serial: u64,
    pub(super) outbox: Arc<Outbox>,
    pub(super) attachment: Option<Arc<Attachment>>,
}

/// A slab: a slot is used again, a serial never, so that a late word of an earlier session is told apart.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    serial: u64,
}

impl Sockets {
    pub(super) fn insert(&mut self, outbox: Arc<Outbox>) -> SessionId {
        self.serial += 1;
        let serial = self.serial;
        let entry = Some(Entry { serial, outbox, attachment: None });
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = entry;
            slot
        } else {
            self.slots.push(entry);
            u32::try_from(self.slots.len() - 1).expect("there are fewer than 2^32 open files")
        };
        SessionId { slot, serial }
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Entry> {
        self.slots.get_mut(session.slot as usize)?.as_mut().filter(|entry| entry.serial == session.serial)
    }

    pub(super) fn remove(&mut self, session: SessionId) -> Option<Entry> {
        self.get_mut(session)?;
        self.free.push(session.slot);
        let entry = self.slots[session.slot as usize].take();
        if self.is_empty() {
            (self.slots, self.free) = (Vec::new(), Vec::new()); // After a storm nothing is left.
        }
        entry
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The clients of the open sockets, as far as they are kept.
    pub(super) fn clients(&self) -> impl Iterator<Item = &ClientId> {
        self.slots.iter().flatten().filter_map(|entry| Some(&entry.attachment.as_ref()?.client))
    }

    /// What a woken hub is told.
    pub(super) fn kept(&self) -> Vec<(SessionId, Option<Attachment>)> {
        let slots = self.slots.iter().zip(0..);
        let open = slots.filter_map(|(entry, slot)| entry.as_ref().map(|entry| (slot, entry)));
        open.map(|(slot, entry)| (SessionId { slot, serial: entry.serial }, entry.attachment.as_deref().cloned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_a_serial_never() {
        let mut sockets = Sockets::default();
        let first = sockets.insert(Arc::default());
        let second = sockets.insert(Arc::default());
        assert!(sockets.remove(first).is_some() && sockets.remove(first).is_none());
        let third = sockets.insert(Arc::default());
        assert_eq!(third.slot, first.slot);
        assert!(sockets.get_mut(first).is_none() && sockets.get_mut(third).is_some());
        assert_eq!(sockets.kept().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [third, second]);
        assert!(sockets.remove(second).is_some() && sockets.remove(third).is_some() && sockets.is_empty());
        let fourth = sockets.insert(Arc::default());
        assert!(fourth.serial > third.serial);
    }
}
