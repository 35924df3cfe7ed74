//! `dormouse doctor`: looks at a database as a server would use it, and names what is in the way, with its remedy.
//!
//! It writes nothing, needs no more rights than the server, and ends within seconds.

mod code;
mod connection;
mod publication;
pub(crate) mod report;
mod role;
mod server;
mod slot;
pub(crate) mod tables;

pub use code::Code;
pub use report::{Finding, Report, Severity};
pub(crate) use role::{grant_own_schema, may_use_own_schema};

use crate::cli::CommandError;
use crate::db::{self, Config, Selection};
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Client;

/// The longest that the whole examination may take.
const EXAMINATION_MAX: Duration = Duration::from_secs(45);

/// What to examine.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Which database: what the operator's commands share with `serve`.
#[derive(Clone, clap::Args)]
pub struct DatabaseArgs {
    /// The database, as in postgres://user:password@host:5432/database; DATABASE_URL is read when nothing else names one
    #[arg(long, env = "DORMOUSE_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Read the database's URL from this file
    #[arg(long, env = "DORMOUSE_DATABASE_URL_FILE", value_name = "FILE", conflicts_with = "database_url")]
    database_url_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// As `serve` would connect.
    ///
    /// # Errors
    /// When no database is named, or the file that names it cannot be read.
    pub(crate) fn config(&self) -> Result<Config, CommandError> {
        if let Some(path) = &self.database_url_file {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|why| CommandError::Usage(format!("cannot read {}: {why}", path.display())))?;
            return Ok(Config::new(text.trim()));
        }
        let given = self.database_url.clone().or_else(|| std::env::var("DATABASE_URL").ok());
        let missing = "name a database with --database-url, --database-url-file or DATABASE_URL";
        let url = given.filter(|url| !url.is_empty()).ok_or_else(|| CommandError::Usage(missing.into()))?;
        Ok(Config::new(url))
    }
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for DatabaseArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseArgs").finish_non_exhaustive()
    }
}

/// A database, and what of it is synced.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    #[command(flatten)]
    database: DatabaseArgs,
    /// What this publication names is synced, instead of every table with a key
    #[arg(long, env = "DORMOUSE_PUBLICATION", conflicts_with = "tables")]
    pub publication: Option<String>,
    /// These tables only are synced, as in public.item,public.person
    #[arg(long, env = "DORMOUSE_TABLES", value_delimiter = ',')]
    pub tables: Vec<String>,
}

impl Target {
    /// As `serve` would be configured.
    ///
    /// # Errors
    /// When no database is named, or the file that names it cannot be read.
    pub(crate) fn config(&self) -> Result<Config, CommandError> {
        let selection = match (&self.publication, &self.tables[..]) {
            (Some(publication), _) => Selection::Publication(publication.clone()),
            (None, []) => Selection::Keyed,
            (None, tables) => Selection::Tables(tables.to_vec()),
        };
        Ok(self.database.config()?.with_selection(selection))
    }
}

/// Prints what is found on stdout.
///
/// # Errors
/// When something would keep a server from serving: status 1. Wrong usage when the URL cannot be read.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let report = examine(&args.target.config()?).await?;
    report.print(args.json);
    if report.ok() {
        return Ok(());
    }
    let errors = report::counted(report.count(Severity::Error), "error");
    Err(CommandError::Failed(format!("{errors} found; the remedies stand with the findings")))
}

/// Examines a database.
///
/// # Errors
/// When the URL cannot be read. All else is a finding.
pub async fn examine(config: &Config) -> Result<Report, CommandError> {
    if let Some(refused) = connection::examine_tls(config).await {
        return Ok(Report { findings: vec![refused] });
    }
    let settings = connection::settings(config).map_err(|why| CommandError::Usage(why.reason().into()))?;
    let mut report = Report::default();
    let examined = tokio::time::timeout(EXAMINATION_MAX, examine_all(&settings, config, &mut report)).await;
    match examined {
        Ok(Ok(())) => {}
        Ok(Err(why)) => report.push(unanswered("the database", &why)),
        Err(_) => report.push(
            Finding::error(Code::Unanswered, "the database", "it did not answer all questions within 45 seconds")
                .advise("Look what the server is busy with, and ask again."),
        ),
    }
    Ok(report)
}

/// The database under examination.
pub(crate) struct Patient {
    client: Client,
    settings: db::Target,
    selection: Selection,
    role: String,
    database: String,
    /// As `server_version_num`.
    version: i32,
    /// The name of our slot and our publication.
    ours: String,
}

impl Patient {
    fn address(&self) -> String {
        connection::address(self.settings.config())
    }
}

async fn examine_all(settings: &db::Target, config: &Config, report: &mut Report) -> Result<(), tokio_postgres::Error> {
    let client = match connection::connect(settings).await {
        Ok(client) => client,
        Err(finding) => {
            report.push(finding);
            return Ok(());
        }
    };
    let sql = "select current_user::text, current_database()::text, current_setting('server_version_num')::int, \
         'dormouse_' || oid from pg_database where datname = current_database()";
    let row = client.query_one(sql, &[]).await?;
    let patient = Patient {
        client,
        settings: settings.clone(),
        selection: config.selection.clone(),
        role: row.get(0),
        database: row.get(1),
        version: row.get(2),
        ours: row.get(3),
    };
    if !server::examine_kind(&patient, report).await? {
        return Ok(());
    }
    // A question that cannot be asked must not keep the others from being asked.
    let answered = server::examine_settings(&patient, report).await;
    note(report, "settings", answered);
    let answered = role::examine(&patient, report).await;
    note(report, "the role", answered);
    if !report.has(Code::RoleReplication, Severity::Error) && !report.has(Code::WalSenders, Severity::Error) {
        report.push(connection::examine_replication(settings).await);
    }
    let streamed = match publication::examine(&patient, report).await {
        Ok(streamed) => streamed,
        Err(why) => {
            report.push(unanswered("the publication", &why));
            patient.selection.clone()
        }
    };
    let answered = tables::examine(&patient, &streamed, report).await;
    note(report, "tables", answered);
    let answered = slot::examine(&patient, report).await;
    note(report, "the slot", answered);
    let answered = server::examine_transactions(&patient, report).await;
    note(report, "transactions", answered);
    Ok(())
}

fn note(report: &mut Report, subject: &str, answered: Result<(), tokio_postgres::Error>) {
    if let Err(why) = answered {
        report.push(unanswered(subject, &why));
    }
}

fn unanswered(subject: &str, why: &tokio_postgres::Error) -> Finding {
    let message = format!("this could not be looked at: {}", connection::cause(why));
    Finding::error(Code::Unanswered, subject, message).advise("Ask again; the server's log may say more.")
}
