//! `dormouse setup`: makes beforehand what a server would make, or prints the SQL for somebody who may.

mod plan;

use crate::cli::CommandError;
use crate::db::{self, Config, quoted};
use crate::doctor::Target;
use plan::{Place, Plan};
use std::fmt::Write;
use tokio_postgres::Client;

/// Creating a slot waits for the transactions that run now.
const SLOT_PATIENCE: &str = "set statement_timeout = '10min'; set lock_timeout = '30s'";

/// What to make.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Print the SQL instead of running it, for an administrator to paste into psql
    #[arg(long)]
    print: bool,
    /// Make it for this role, which then needs no right to create anything: it is made if missing, and given what it lacks
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
}

/// Makes the schema `dormouse`, the publication and the slot, as far as they are not there. Says what it did on stdout.
///
/// # Errors
/// When the database cannot be reached, or the role may not.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let config = args.target.config()?;
    let mut client = connect(&config).await?;
    let failed = |why: &tokio_postgres::Error| CommandError::Environment(format!("setup stopped: {}", said(why)));
    client.batch_execute(SLOT_PATIENCE).await.map_err(|why| failed(&why))?;
    if args.print {
        let plan = plan::make(&client, &config.selection, args.role.as_deref(), true).await?;
        print!("{}", printed(&plan));
        return Ok(());
    }
    // Servers that start now take the same lock, so that nothing is made twice.
    let transaction = client.transaction().await.map_err(|why| failed(&why))?;
    db::lock_schema(&transaction).await.map_err(|why| CommandError::Environment(why.reason().into()))?;
    let plan = plan::make(transaction.client(), &config.selection, args.role.as_deref(), false).await?;
    for step in plan.steps(Place::Before) {
        // Outside of this transaction: a slot goes at once.
        transaction.batch_execute(step).await.map_err(|why| failed(&why))?;
    }
    for step in plan.steps(Place::Inside) {
        transaction.batch_execute(step).await.map_err(|why| failed(&why))?;
    }
    transaction.commit().await.map_err(|why| failed(&why))?;
    for step in plan.steps(Place::After) {
        client.batch_execute(step).await.map_err(|why| failed(&why))?;
    }
    for step in &plan.steps {
        println!("{:<8} {}", if step.sql.is_some() { step.done } else { "there" }, step.what);
    }
    for note in &plan.notes {
        println!("note     {note}");
    }
    Ok(())
}

/// The SQL, in the order in which it has to run.
fn printed(plan: &Plan) -> String {
    let mut text = format!(
        "-- What Dormouse needs in database {}{}.\n-- Run it in psql, in that database, as a superuser or as the owner of the database and its tables.\n",
        plan.database,
        plan.role.as_ref().map_or_else(String::new, |role| format!(", for the role {role}")),
    );
    let mut section = |place: Place, frame: (&str, &str)| {
        let steps: Vec<_> = plan.steps.iter().filter(|step| step.place == place).collect();
        for step in steps.iter().filter(|step| step.sql.is_none()) {
            let _ = writeln!(text, "-- there already: {}", step.what);
        }
        let missing: Vec<_> =
            steps.iter().filter_map(|step| Some((step.what.as_str(), step.sql.as_deref()?))).collect();
        if missing.is_empty() {
            return;
        }
        let _ = write!(text, "\n{}", frame.0);
        for (what, sql) in missing {
            let _ = writeln!(text, "-- {what}\n{}", sql.trim_end());
        }
        let _ = write!(text, "{}", frame.1);
    };
    section(Place::Before, ("", ""));
    section(Place::Inside, ("begin;\n", "commit;\n"));
    section(
        Place::After,
        ("-- A slot is made outside of transactions, and keeps WAL from then on: start a server soon.\n", ""),
    );
    for note in &plan.notes {
        let _ = writeln!(text, "-- {note}");
    }
    text
}

/// A session of an administrator.
pub(crate) async fn connect(config: &Config) -> Result<Client, CommandError> {
    let settings = config.parsed().map_err(|why| CommandError::Usage(why.reason().into()))?;
    let (client, connection) = settings
        .connect()
        .await
        .map_err(|why| CommandError::Environment(format!("cannot use the database: {}", said(&why))))?;
    tokio::spawn(connection);
    let recovery = client.query_one("select pg_is_in_recovery()", &[]).await;
    if recovery.is_ok_and(|row| row.get(0)) {
        let message = "this database is a standby: point --database-url at the primary";
        return Err(CommandError::Environment(message.into()));
    }
    Ok(client)
}

/// An error of the database in words, with its code and hint.
pub(crate) fn said(why: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    let Some(db) = why.as_db_error() else {
        return why.source().map_or_else(|| why.to_string(), ToString::to_string);
    };
    let hint = match db.code() {
        &tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE => {
            "; let an administrator run it, or what --print prints"
        }
        _ => "",
    };
    format!("{} [{}]{hint}", db.message(), db.code().code())
}

/// A role as SQL names it.
fn role(name: &str) -> String {
    quoted(name)
}
