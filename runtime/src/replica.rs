//! The store that a command is told of with `--store`.

use crate::cli::CommandError;
use crate::client::sqlite::{OpenError, SqliteOptions, SqliteStore};
use dormouse_core::change::Scope;
use dormouse_core::session::ClientId;
use std::path::Path;

/// A store and whose it is.
#[derive(Debug)]
pub struct Replica {
    /// The store.
    pub store: SqliteStore,
    /// The client id: of the store, as given, or drawn for a new store.
    pub client_id: String,
    /// What of the publication it holds; `None` when it is new.
    pub scope: Option<Scope>,
}

impl Replica {
    /// Opens a store, or makes one. A client id that is given must be the store's, if it has one, or what it was before the server gave
    /// the store, as a copy of another, an id of its own.
    ///
    /// # Errors
    /// When it cannot be opened, or is another client's.
    pub fn open(path: &Path, given: Option<&str>, prefix: &str) -> Result<Self, CommandError> {
        let store = SqliteStore::open_with(path, SqliteOptions::default()).map_err(explain)?;
        let client_id = match (given, store.client_id()) {
            (Some(given), Some(own)) if is_copy_of(own, given) => own.to_owned(),
            (Some(given), Some(own)) if given != own => {
                return Err(CommandError::Usage(format!(
                    "{} is the store of the client {own:?}, not of {given:?}; leave --client-id out, or name another file",
                    path.display()
                )));
            }
            (Some(id), _) | (None, Some(id)) => id.to_owned(),
            (None, None) => format!("{prefix}-{:016x}", rand::random::<u64>()),
        };
        let scope = store.scope();
        Ok(Self { store, client_id, scope })
    }

    /// The same, for a store that must be there already.
    ///
    /// # Errors
    /// When it is not, or cannot be opened.
    pub fn open_existing(path: &Path, given: Option<&str>) -> Result<Self, CommandError> {
        if !path.exists() {
            return Err(CommandError::Usage(format!(
                "there is no file {}; `dormouse tail --store` makes a store",
                path.display()
            )));
        }
        Self::open(path, given, "replica")
    }
}

fn is_copy_of(own: &str, given: &str) -> bool {
    ClientId::new(own).is_ok_and(|own| own.base() == given)
}

fn explain(error: OpenError) -> CommandError {
    match error {
        OpenError::NotAStore { .. } | OpenError::Newer { .. } => CommandError::Usage(error.to_string()),
        OpenError::InUse(_) | OpenError::Damaged { .. } | OpenError::Unusable { .. } => {
            CommandError::Environment(error.to_string())
        }
    }
}
