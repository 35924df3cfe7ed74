//! A standby of a private cluster, which follows it by streaming.

use super::{Cluster, ClusterError, free_port};
use std::process::Command;

impl Cluster {
    /// A running hot standby of this cluster, on a port of its own. It ends when dropped, like any cluster.
    ///
    /// # Errors
    /// When `pg_basebackup` fails, or the standby does not start.
    pub fn standby(&self) -> Result<Self, ClusterError> {
        let dir = tempfile::Builder::new().prefix("dormouse-postgres-").tempdir();
        let dir = dir.map_err(|error| ClusterError::io("a temporary folder", error))?;
        self.postgres.own(dir.path())?;
        let mut copy = Command::new(self.program("pg_basebackup"));
        copy.args(["--host", "127.0.0.1", "--port", &self.port.to_string(), "--username", "postgres"]);
        copy.args(["--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--pgdata"])
            .arg(dir.path().join("data"));
        self.postgres.assume_user(&mut copy);
        let copied = copy.output().map_err(|error| ClusterError::io("pg_basebackup", error))?;
        if !copied.status.success() {
            let log = String::from_utf8_lossy(&copied.stderr).into_owned();
            return Err(ClusterError::Failed { what: "pg_basebackup failed".into(), log });
        }
        let port = free_port().map_err(|error| ClusterError::io("a free port", error))?;
        let mut standby = Self { postgres: self.postgres.clone(), dir, port, server: None };
        standby.configure(&[])?;
        standby.launch_on_some_port()?;
        Ok(standby)
    }
}
