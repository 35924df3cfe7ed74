//! All connections, in the order in which they were opened, and whose they are.

use super::connection::Connection;
use crate::sorted::Sorted;
use std::fmt;

/// All connections that one side still holds.
#[derive(Clone, Default)]
pub(super) struct Connections {
    by_id: Sorted<u64, Box<Connection>>,
    /// Those of each client: most are looked for as somebody's.
    by_client: Vec<Vec<u64>>,
}

impl Connections {
    pub(super) fn get(&self, id: u64) -> Option<&Connection> {
        self.by_id.get(&id).map(|connection| &**connection)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Connection> {
        self.by_id.get_mut(&id).map(|connection| &mut **connection)
    }

    pub(super) fn insert(&mut self, id: u64, connection: Connection) {
        let client = usize::from(connection.client);
        if self.by_client.len() <= client {
            self.by_client.resize(client + 1, Vec::new());
        }
        self.by_client[client].push(id);
        self.by_id.insert(id, Box::new(connection));
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(connection) = self.by_id.remove(&id) {
            self.by_client[usize::from(connection.client)].retain(|other| *other != id);
        }
    }

    /// The connections of a client, in order.
    pub(super) fn of(&self, client: u8) -> impl Iterator<Item = (u64, &Connection)> {
        let ids = self.by_client.get(usize::from(client)).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.get(*id)?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Connection)> {
        self.by_id.iter().map(|(id, connection)| (*id, &**connection))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Connection> {
        self.by_id.values().map(|connection| &**connection)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.by_id.values_mut().map(|connection| &mut **connection)
    }
}

/// Whose they are is said by each.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_id.fmt(f)
    }
}
