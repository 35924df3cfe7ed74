//! What `dormouse serve` can be told: on the command line, in the environment, or in a file.

mod file;
mod jwt;
mod load;
mod print;
mod source;
#[cfg(test)]
mod tests;

pub use jwt::JwtArgs;
pub use load::{Loaded, lenient, load};
pub use source::Fault;

use crate::access::Access;
use crate::cli::CommandError;
use crate::db;
use crate::listener::OperatorAccess;
use crate::record;
use crate::source::{Kind, poll};
use crate::tls::{Acceptor, ServerIdentity};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// Said below `serve --help`.
pub const HELP: &str = "Each setting can be given as a flag, as an environment variable, or as a line `name = value` of the file that --config \
    names (TOML; the names are the flags' without dashes). Flags win over the environment, the environment over the file, the file over the defaults. \
    `serve --print-config` shows what is in force and where it comes from.";

/// How to serve. This is the only list of settings: what is added here can be set in every way.
///
/// A value that is a secret is marked with `hide_env_values`: it is printed nowhere.
#[derive(Clone, clap::Args)]
pub struct Args {
    /// Read settings from this file, too
    #[arg(long, env = "DORMOUSE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the settings in force, each with its source, and end; no database is needed
    #[arg(long)]
    pub print_config: bool,
    /// The database, as in postgres://user:password@host:5432/database; DATABASE_URL is read when nothing else names one
    #[arg(long, env = "DORMOUSE_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: String,
    /// Read the database's URL from this file, so that no process list or environment shows its password
    #[arg(long, env = "DORMOUSE_DATABASE_URL_FILE", value_name = "FILE", conflicts_with = "database_url")]
    database_url_file: Option<PathBuf>,
    /// Where to listen: an address and a port; port 0 takes any free one
    #[arg(long, env = "DORMOUSE_LISTEN", default_value = "127.0.0.1:7654")]
    pub listen: String,
    /// Speak TLS, with this certificate and what leads to its authority (PEM); read again on SIGHUP
    #[arg(long, env = "DORMOUSE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM, not encrypted)
    #[arg(long, env = "DORMOUSE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Sync what this publication names, instead of every table with a key
    #[arg(long, env = "DORMOUSE_PUBLICATION", conflicts_with = "tables")]
    pub publication: Option<String>,
    /// Sync these tables only, as in public.item,public.person
    #[arg(long, env = "DORMOUSE_TABLES", value_delimiter = ',')]
    pub tables: Vec<String>,
    /// How changes are read: over a replication connection, or by SQL where such connections are not to be had
    #[arg(long, env = "DORMOUSE_SOURCE", value_enum, default_value_t = Kind::Stream)]
    pub source: Kind,
    /// With --source poll: between two looks at the database while changes come
    #[arg(long, env = "DORMOUSE_POLL_INTERVAL", default_value = "20ms", value_parser = duration)]
    pub poll_interval: Duration,
    /// With --source poll: between two looks while nothing happens, which a change after a rest waits at most
    #[arg(long, env = "DORMOUSE_POLL_INTERVAL_MAX", default_value = "500ms", value_parser = duration)]
    pub poll_interval_max: Duration,
    /// With --source poll: so many bytes of WAL in which no transaction of others ended do not wake it
    #[arg(long, env = "DORMOUSE_POLL_HIBERNATE_DISTANCE", default_value_t = 1 << 20, value_name = "BYTES")]
    pub poll_hibernate_distance: u64,
    /// Who may connect: `none` for everybody (on loopback only, unless --insecure), a file of lines
    /// `credential client-id-prefix [expiry]`, or `jwt` for whoever has a good token
    #[arg(long, env = "DORMOUSE_AUTH", default_value = "none", value_name = "none|FILE|jwt")]
    pub auth: String,
    /// How tokens are judged.
    #[command(flatten)]
    pub jwt: JwtArgs,
    /// Serve everybody although others than this machine can connect
    #[arg(long, env = "DORMOUSE_INSECURE")]
    pub insecure: bool,
    /// Let whoever shows the credential in this file, its only line, see metrics, reports, clients and the console; not given, everybody
    /// may with --auth none, and else nobody
    #[arg(long, env = "DORMOUSE_ADMIN_CREDENTIAL_FILE", value_name = "FILE")]
    pub admin_credential_file: Option<PathBuf>,
    /// Prove this often that replication makes progress, by a small message when nothing else moves
    #[arg(long, env = "DORMOUSE_HEARTBEAT", default_value = "30s", value_parser = duration)]
    pub heartbeat: Duration,
    /// Let pages of this origin connect, beside the server's own, as in `https://app.example` or `https://*.example.com`;
    /// can be repeated, `*` for every page
    #[arg(long = "origin", env = "DORMOUSE_ORIGINS", value_delimiter = ',')]
    pub origins: Vec<String>,
    /// How many hubs serve the sessions [default: one per processor]
    #[arg(long, env = "DORMOUSE_HUBS")]
    pub hubs: Option<usize>,
    /// Keep history at least this long
    #[arg(long, env = "DORMOUSE_KEEP_MIN", default_value = "1h", value_parser = duration)]
    pub keep_min: Duration,
    /// Keep history at most this long; clients that were away longer get everything again
    #[arg(long, env = "DORMOUSE_KEEP_MAX", default_value = "7d", value_parser = duration)]
    pub keep_max: Duration,
    /// Forget clients that were away longer than this
    #[arg(long, env = "DORMOUSE_REGISTRATION_TTL", default_value = "24h", value_parser = duration)]
    pub registration_ttl: Duration,
    /// Close sockets that did not greet in this time
    #[arg(long, env = "DORMOUSE_GREET_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub greet_timeout: Duration,
    /// Close sockets from which nothing, not even a `ping`, came for this time
    #[arg(long, env = "DORMOUSE_SILENCE_TIMEOUT", default_value = "60s", value_parser = duration)]
    pub silence_timeout: Duration,
    /// Let a hub without work sleep after this time
    #[arg(long, env = "DORMOUSE_HIBERNATE_AFTER", default_value = "10s", value_parser = duration)]
    pub hibernate_after: Duration,
    /// Refuse connections beyond this many [default: what the limit of open files allows]
    #[arg(long, env = "DORMOUSE_CONNECTIONS_MAX")]
    pub connections_max: Option<usize>,
    /// Close a socket from which more messages a second come; four seconds' worth may come at once, 0 means no limit
    #[arg(long, env = "DORMOUSE_MESSAGE_RATE", default_value_t = 1_000)]
    pub message_rate: u32,
    /// Refuse an address for the rest of a minute in which more wrong credentials than this came from it; 0 means no limit
    #[arg(long, env = "DORMOUSE_FAILURES_PER_MINUTE", default_value_t = 60)]
    pub failures_per_minute: u32,
    /// The most MiB of frames that may wait for all clients together; beyond, those for whom most waits are let go and told when to
    /// come back. What several share counts once
    #[arg(long, env = "DORMOUSE_OUTBOX_MAX_MIB", default_value_t = 512, value_name = "MIB")]
    pub outbox_max_mib: u32,
    /// Keep copies of snapshots here [default: the system's folder for temporary files]
    #[arg(long, env = "DORMOUSE_SPOOL_DIR")]
    pub spool_dir: Option<PathBuf>,
    /// Record what the machines are told into this folder, for `dormouse-sim replay`; made if it is not there
    #[arg(long, env = "DORMOUSE_RECORD", value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// With --record: the most that the folder may hold; the oldest goes first
    #[arg(long, env = "DORMOUSE_RECORD_MAX_MIB", default_value_t = 256, value_name = "MIB")]
    pub record_max_mib: u32,
    /// With --record: keep lengths and drop contents, such as the values of rows
    #[arg(long, env = "DORMOUSE_REDACT")]
    pub redact: bool,
}

/// Without the database's URL, which may hold a password.
impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl Args {
    /// Everything that is wrong with these settings, alone or together, as far as it can be told without a database.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut unless = |holds: bool, key, why: &str| {
            if !holds {
                faults.push(Fault::new(key, why));
            }
        };
        unless(self.keep_min <= self.keep_max, "keep-max", "history cannot be kept for less than keep-min");
        unless(self.hubs != Some(0), "hubs", "at least one hub is needed to serve anybody");
        unless(
            self.connections_max != Some(0),
            "connections-max",
            "at least one connection is needed to serve anybody",
        );
        unless(self.outbox_max_mib > 0, "outbox-max-mib", "with no room at all nobody could be sent anything");
        for (key, time) in [
            ("registration-ttl", self.registration_ttl),
            ("greet-timeout", self.greet_timeout),
            ("heartbeat", self.heartbeat),
            ("silence-timeout", self.silence_timeout),
        ] {
            unless(!time.is_zero(), key, "with no time at all nobody could stay");
        }
        unless(!self.poll_interval.is_zero(), "poll-interval", "with no time at all the database would never rest");
        unless(
            self.poll_interval <= self.poll_interval_max,
            "poll-interval-max",
            "an idle database cannot be looked at more often than a busy one: give at least poll-interval",
        );
        if let Some(dir) = self.spool_dir.as_ref().filter(|dir| !dir.is_dir()) {
            faults.push(Fault::new("spool-dir", format!("{} is no folder", dir.display())));
        }
        if self.redact && self.record.is_none() {
            faults.push(Fault::new("redact", "nothing is recorded: give record, too"));
        }
        faults.extend(self.tls().err());
        match self.address() {
            Ok(address) => {
                faults.extend(self.access(address).err().map(|why| Fault::new("auth", why.to_string())));
                let operators = self.operators(address).err();
                faults.extend(operators.map(|why| Fault::new("admin-credential-file", why.to_string())));
            }
            Err(why) => faults.push(Fault::new("listen", why.to_string())),
        }
        if !self.database_url.is_empty() {
            let judged = db::judge_url(&self.database_url);
            faults.extend(judged.err().map(|why| Fault::new("database-url", why.reason())));
        }
        faults
    }

    /// Where to listen.
    ///
    /// # Errors
    /// When it is no address and port, or no address of this machine can be found for it.
    pub fn address(&self) -> Result<SocketAddr, CommandError> {
        let wrong = || CommandError::Usage(format!("{} is no address and port, as in 127.0.0.1:7654", self.listen));
        self.listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()).ok_or_else(wrong)
    }

    /// How TLS is spoken with clients, if it is.
    ///
    /// # Errors
    /// When one of the two files is not named, or they cannot be used.
    pub fn tls(&self) -> Result<Option<Acceptor>, Fault> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(certificates), Some(key)) => {
                let identity = ServerIdentity { certificates: certificates.clone(), key: key.clone() };
                Acceptor::new(identity).map(Some).map_err(|why| Fault::new("tls-cert", why.to_string()))
            }
            (Some(_), None) => {
                Err(Fault::new("tls-cert", "a certificate is of no use without its key: give tls-key, too"))
            }
            (None, Some(_)) => {
                Err(Fault::new("tls-key", "a key is of no use without its certificate: give tls-cert, too"))
            }
        }
    }

    /// Who may come in.
    ///
    /// # Errors
    /// When everybody could, unasked, or the file of credentials is not usable.
    pub fn access(&self, address: SocketAddr) -> Result<Access, CommandError> {
        match self.auth.as_str() {
            "jwt" => return Access::from_tokens(&self.jwt, &self.origins).map_err(CommandError::Usage),
            "none" if address.ip().is_loopback() || self.insecure => {
                return Access::open(&self.origins, self.insecure).map_err(CommandError::Usage);
            }
            "none" => {}
            file => return Access::from_file(file.as_ref(), &self.origins).map_err(CommandError::Usage),
        }
        let message = "others than this machine could connect without a credential: give --auth FILE, listen on 127.0.0.1, or say --insecure";
        Err(CommandError::Usage(message.into()))
    }

    /// Who may see what is for operators.
    ///
    /// # Errors
    /// When the file of the credential is not usable.
    pub fn operators(&self, address: SocketAddr) -> Result<OperatorAccess, CommandError> {
        let (file, open) = (self.admin_credential_file.as_deref(), self.auth == "none");
        OperatorAccess::new(file, open, self.insecure, address).map_err(CommandError::Usage)
    }

    /// What to record, if anything.
    #[must_use]
    pub fn recording(&self) -> Option<record::Config> {
        let dir = self.record.clone()?;
        Some(record::Config { dir, bytes_max: u64::from(self.record_max_mib) * 1024 * 1024, redact: self.redact })
    }

    /// How eagerly to poll, where polling is chosen.
    #[must_use]
    pub fn polling(&self) -> poll::Config {
        poll::Config {
            interval: self.poll_interval,
            interval_max: self.poll_interval_max,
            hibernate_distance: self.poll_hibernate_distance,
        }
    }

    /// Which database, and what of it.
    #[must_use]
    pub fn database(&self) -> db::Config {
        let selection = match (&self.publication, &self.tables[..]) {
            (Some(publication), _) => db::Selection::Publication(publication.clone()),
            (None, []) => db::Selection::Keyed,
            (None, tables) => db::Selection::Tables(tables.to_vec()),
        };
        db::Config {
            spool_dir: self.spool_dir.clone(),
            ..db::Config::new(&self.database_url).with_selection(selection)
        }
    }
}

/// A number with its unit: 500ms, 10s, 5m, 24h, 7d.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a duration is a number and a unit: 500ms, 10s, 5m, 24h, 7d".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a duration begins with a number".to_string())?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| "this is too long".into())
}
