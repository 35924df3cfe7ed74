//! What `dormouse serve` can be told, on the command line or in the environment.

use crate::access::Access;
use crate::cli::CommandError;
use crate::db;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// How to serve.
#[derive(Clone, clap::Args)]
pub struct Args {
    /// The database, as in postgres://user:password@host:5432/database
    #[arg(long, env = "DORMOUSE_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Where to listen: an address and a port; port 0 takes any free one
    #[arg(long, env = "DORMOUSE_LISTEN", default_value = "127.0.0.1:7654")]
    pub listen: String,
    /// Sync what this publication names, instead of every table with a key
    #[arg(long, env = "DORMOUSE_PUBLICATION", conflicts_with = "tables")]
    pub publication: Option<String>,
    /// Sync these tables only, as in public.item,public.person
    #[arg(long, env = "DORMOUSE_TABLES", value_delimiter = ',')]
    pub tables: Vec<String>,
    /// Who may connect: `none` for everybody (on loopback only, unless --insecure), or a file of lines `credential client-id-prefix`
    #[arg(long, env = "DORMOUSE_AUTH", default_value = "none", value_name = "none|FILE")]
    pub auth: String,
    /// Serve everybody although others than this machine can connect
    #[arg(long, env = "DORMOUSE_INSECURE")]
    pub insecure: bool,
    /// Let pages of this origin connect, beside the server's own; can be repeated
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
    /// Keep copies of snapshots here [default: the system's folder for temporary files]
    #[arg(long, env = "DORMOUSE_SPOOL_DIR")]
    pub spool_dir: Option<PathBuf>,
}

/// Without the database's URL, which may hold a password.
impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl Args {
    /// Where to listen.
    ///
    /// # Errors
    /// When it is no address and port, or no address of this machine can be found for it.
    pub fn address(&self) -> Result<SocketAddr, CommandError> {
        let wrong =
            || CommandError::Usage(format!("--listen {} is no address and port, as in 127.0.0.1:7654", self.listen));
        self.listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()).ok_or_else(wrong)
    }

    /// Who may come in.
    ///
    /// # Errors
    /// When everybody could, unasked, or the file of credentials is not usable.
    pub fn access(&self, address: SocketAddr) -> Result<Access, CommandError> {
        if self.auth != "none" {
            return Access::from_file(self.auth.as_ref(), self.origins.clone()).map_err(CommandError::Usage);
        }
        if address.ip().is_loopback() || self.insecure {
            return Ok(Access::open(self.origins.clone(), self.insecure));
        }
        let message = "others than this machine could connect without a credential: give --auth FILE, listen on 127.0.0.1, or say --insecure";
        Err(CommandError::Usage(message.into()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn args(more: &[&str]) -> Args {
        let all = ["serve", "--database-url", "postgres://u:secret@h/d"].iter().chain(more);
        Command::try_parse_from(all).map(|command| command.args).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000), ("7d", 604_800_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
        }
        for wrong in ["", "10", "s", "10 s", "-1s", "1w", "99999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong:?} is no duration");
        }
    }

    #[test]
    fn nobody_is_let_in_by_accident() {
        let judge = |args: Args| args.address().and_then(|address| args.access(address)).is_ok();
        assert!(judge(args(&[])));
        assert!(judge(args(&["--listen", "[::1]:0"])));
        assert!(!judge(args(&["--listen", "0.0.0.0:0"])));
        assert!(judge(args(&["--listen", "0.0.0.0:0", "--insecure"])));
        assert!(!judge(args(&["--auth", "/nonexistent/credentials"])));
        assert!(!judge(args(&["--listen", "nowhere"])));
    }

    #[test]
    fn the_password_is_not_printed() {
        assert!(!format!("{:?}", args(&[])).contains("secret"));
    }
}
