//! A copy of a private cluster's files, and the cluster restored from it.

use super::{Cluster, ClusterError};
use crate::demo::postgres::copy_tree;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

impl Cluster {
    /// Copies the files of a server that was ended by [`Cluster::stop`].
    ///
    /// # Errors
    /// When the disk has no room, or cannot be read.
    pub fn copy(&self) -> Result<TempDir, ClusterError> {
        let copy = tempfile::Builder::new().prefix("dormouse-postgres-").tempdir();
        let copy = copy.map_err(|error| ClusterError::io("a temporary folder", error))?;
        self.postgres.own(copy.path())?;
        self.lay(&self.data(), &copy.path().join("data"))?;
        Ok(copy)
    }

    /// Puts a copy in the place of the files of a server that was ended: what was committed since is gone.
    ///
    /// # Errors
    /// When the disk has no room, or cannot be written.
    pub fn restore(&self, copy: &TempDir) -> Result<(), ClusterError> {
        fs::remove_dir_all(self.data()).map_err(|error| ClusterError::io(self.data(), error))?;
        self.lay(&copy.path().join("data"), &self.data())
    }

    /// Makes a server that was ended a standby of nobody: `pg_promote()` then opens a new timeline.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn await_promotion(&self) -> Result<(), ClusterError> {
        let signal = self.data().join("standby.signal");
        fs::write(&signal, "").map_err(|error| ClusterError::io(&signal, error))?;
        self.postgres.own(&signal)
    }

    fn lay(&self, from: &Path, to: &Path) -> Result<(), ClusterError> {
        copy_tree(from, to, &|path| self.postgres.own(path))
    }
}
