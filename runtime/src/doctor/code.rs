//! The codes of findings: stable names for scripts and alarms.

/// Declares the codes once, with their text.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a finding is about. Its text never changes: scripts and alarms are written against it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, in the order of `docs/OPERATIONS.md`.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it is printed, in snake case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The database answers (ok).
    Connected = "connected",
    /// Nobody answers at the address.
    Unreachable = "unreachable",
    /// The server does not offer the TLS that the URL asks for.
    TlsRefused = "tls_refused",
    /// TLS was begun and failed: a certificate, a name, a version.
    TlsFailed = "tls_failed",
    /// The password is wrong or missing.
    WrongPassword = "wrong_password",
    /// `pg_hba.conf` lets this role not in from here.
    RefusedByHba = "refused_by_hba",
    /// There is no such role.
    RoleMissing = "role_missing",
    /// The role is NOLOGIN.
    RoleCannotLogin = "role_cannot_login",
    /// There is no such database.
    DatabaseMissing = "database_missing",
    /// The role may not connect to this database.
    RoleCannotConnect = "role_cannot_connect",
    /// No connection is free.
    TooManyConnections = "too_many_connections",
    /// The server is starting, stopping, or closed to everybody.
    NotAccepting = "not_accepting",
    /// A pooler refuses the settings that our sessions need.
    PoolerRefusesSettings = "pooler_refuses_settings",
    /// The server refused the connection for another reason.
    ConnectionRefused = "connection_refused",
    /// The server is older than PostgreSQL 14.
    ServerTooOld = "server_too_old",
    /// The server is a standby.
    Standby = "standby",
    /// The database has no real encoding.
    EncodingUnfit = "encoding_unfit",
    /// `wal_level` is not `logical`, or is (ok).
    WalLevel = "wal_level",
    /// Every replication slot is taken, or one is there for us (ok).
    ReplicationSlots = "replication_slots",
    /// Every WAL sender is taken, or one is there for us (ok).
    WalSenders = "wal_senders",
    /// SQL works here, and a replication connection does not.
    NoReplicationConnection = "no_replication_connection",
    /// A replication connection works (ok).
    ReplicationConnection = "replication_connection",
    /// An abandoned slot could fill the disk.
    WalUnbounded = "wal_unbounded",
    /// Postgres gives up slots that are idle for a while.
    IdleSlotTimeout = "idle_slot_timeout",
    /// Commits wait for standbys (ok).
    SynchronousStandbys = "synchronous_standbys",
    /// An old transaction holds up the creation of the slot, or WAL.
    OldTransaction = "old_transaction",
    /// A prepared transaction does.
    PreparedTransaction = "prepared_transaction",
    /// The role lacks REPLICATION, or has it (ok).
    RoleReplication = "role_replication",
    /// The role may not create what is not there yet.
    RoleCannotCreate = "role_cannot_create",
    /// The role may not use the schema `dormouse`.
    RoleLacksOwnSchema = "role_lacks_own_schema",
    /// The role lacks USAGE on a schema.
    RoleLacksUsage = "role_lacks_usage",
    /// The role lacks SELECT on tables.
    RoleLacksSelect = "role_lacks_select",
    /// Row level security would hide rows.
    RowSecurity = "row_security",
    /// The schema `dormouse` was made by a newer version.
    SchemaNewer = "schema_newer",
    /// A table has no key that identifies its rows.
    TableWithoutKey = "table_without_key",
    /// A table's REPLICA IDENTITY is NOTHING.
    IdentityNothing = "identity_nothing",
    /// A table is unlogged: its changes are in no WAL.
    TableUnlogged = "table_unlogged",
    /// Tables belong to others, so that only their owner can publish them.
    TablesNotOwned = "tables_not_owned",
    /// There is no such table.
    TableMissing = "table_missing",
    /// No table would be synced.
    NoTables = "no_tables",
    /// The tables that can be synced (ok).
    Tables = "tables",
    /// There is no such publication.
    PublicationMissing = "publication_missing",
    /// The publication is FOR ALL TABLES.
    PublicationForAllTables = "publication_for_all_tables",
    /// The publication leaves operations out.
    PublicationLacksOperations = "publication_lacks_operations",
    /// The publication names tables of the schema `dormouse`.
    PublicationFeedsItself = "publication_feeds_itself",
    /// A column list or row filter makes the application's updates fail.
    PublicationHidesKey = "publication_hides_key",
    /// The publication publishes partitions under their root's name.
    PublicationViaRoot = "publication_via_root",
    /// The publication is there and fit, or will be made (ok).
    Publication = "publication",
    /// Our slot was invalidated by Postgres.
    SlotLost = "slot_lost",
    /// A slot of our name is not ours.
    SlotForeign = "slot_foreign",
    /// Another process holds our slot.
    SlotHeld = "slot_held",
    /// Our slot holds back much WAL.
    SlotRetainsWal = "slot_retains_wal",
    /// Our slot is fit, or will be made (ok).
    Slot = "slot",
    /// A question could not be asked.
    Unanswered = "unanswered",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_snake_case() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(texts.iter().all(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        let all = texts.len();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), all);
    }
}
