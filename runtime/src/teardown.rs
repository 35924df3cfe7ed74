//! `dormouse teardown`: removes from a database what servers made in it, and nothing else.

use crate::cli::CommandError;
use crate::db::{self, Config, quoted};
use crate::doctor::DatabaseArgs;
use crate::doctor::report::literal;
use crate::setup::{connect, said};
use std::io::{BufRead, IsTerminal, Write};
use tokio_postgres::{Client, Error};

/// What to remove.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the SQL instead of running it, for an administrator to paste into psql
    #[arg(long)]
    print: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Also while a server is at work, which then fails
    #[arg(long)]
    force: bool,
}

/// Drops our slot, our publication and the schema `dormouse`, as far as they are there. Says what it removed on stdout.
///
/// # Errors
/// When a server is at work, something of our name is not ours, nobody confirmed, or the role may not.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let config: Config = args.database.config()?;
    let client = connect(&config).await?;
    let failed = |why: Error| CommandError::Environment(format!("teardown stopped: {}", said(&why)));
    let remains = look(&client).await.map_err(failed)?;
    if let Some(why) = remains.foreign.first() {
        return Err(CommandError::Failed(why.clone()));
    }
    let steps = remains.steps();
    if args.print {
        println!(
            "-- What Dormouse made in database {}. Run it in psql, in that database, once no server runs.",
            remains.database
        );
        for step in &steps {
            println!("-- {}\n{}", step.what, step.sql);
        }
        if steps.is_empty() {
            println!("-- nothing is there");
        }
        return Ok(());
    }
    if steps.is_empty() {
        println!("nothing of Dormouse is in database {}", remains.database);
        return Ok(());
    }
    if let Some((holder, seconds)) = remains.holder.as_ref().filter(|_| !args.force) {
        return Err(CommandError::Failed(format!(
            "a server is at work ({holder}; its lease runs for {seconds:.0} s more): stop it first, or say --force"
        )));
    }
    confirm(&args, &remains.database, &steps)?;
    // The slot goes first: one that outlives its publication could not be decoded by whoever comes next.
    for step in steps {
        client.batch_execute(&step.sql).await.map_err(failed)?;
        println!("removed  {}", step.what);
    }
    Ok(())
}

struct Step {
    what: String,
    sql: String,
}

/// What there is of Dormouse.
#[derive(Default)]
struct Remains {
    database: String,
    ours: String,
    slot: bool,
    publication: bool,
    schema: bool,
    holder: Option<(String, f64)>,
    /// What bears our name and is not ours.
    foreign: Vec<String>,
}

impl Remains {
    fn steps(&self) -> Vec<Step> {
        let (slot, publication) = (literal(&self.ours), quoted(&self.ours));
        let mut steps = Vec::new();
        if self.slot {
            let sql = format!(
                "select pg_terminate_backend(active_pid, 10000) from pg_replication_slots where slot_name = {slot} and active;\n\
                 select pg_drop_replication_slot({slot});"
            );
            steps.push(Step { what: format!("slot {}", self.ours), sql });
        }
        if self.publication {
            steps.push(Step {
                what: format!("publication {}", self.ours),
                sql: format!("drop publication {publication};"),
            });
        }
        if self.schema {
            let what = "schema dormouse, with history and registrations".into();
            steps.push(Step { what, sql: "drop schema dormouse cascade;".into() });
        }
        steps
    }
}

async fn look(client: &Client) -> Result<Remains, Error> {
    let sql = "select current_database()::text, 'dormouse_' || oid, to_regnamespace('dormouse') is not null, \
           (select count(*) from pg_class c where c.relnamespace = to_regnamespace('dormouse') \
              and c.relname in ('version', 'lease') and has_schema_privilege(c.relnamespace, 'usage') \
              and has_table_privilege(c.oid, 'select')) = 2, \
           exists (select from pg_class c where c.relnamespace = to_regnamespace('dormouse')), \
           exists (select from pg_publication where pubname = 'dormouse_' || d.oid) \
         from pg_database d where datname = current_database()";
    let row = client.query_one(sql, &[]).await?;
    let mut remains = Remains {
        database: row.get(0),
        ours: row.get(1),
        schema: row.get(2),
        publication: row.get(5),
        ..Remains::default()
    };
    let (readable, filled): (bool, bool) = (row.get(3), row.get(4));
    if readable {
        remains.holder = db::lease_holder(client).await?;
    } else if filled {
        let why = "the schema dormouse is not Dormouse's, or this role may not read it: nothing was removed";
        remains.foreign.push(why.into());
    }
    let sql = "select s.slot_type = 'logical' and s.plugin = 'pgoutput' and s.database = current_database(), s.active_pid, \
           a.application_name from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1";
    if let Some(row) = client.query_opt(sql, &[&remains.ours]).await? {
        let (pid, application): (Option<i32>, Option<&str>) = (row.get(1), row.get(2));
        remains.slot = true;
        if !row.get::<_, bool>(0) {
            let why = format!("the slot {} was not made by Dormouse: nothing was removed", remains.ours);
            remains.foreign.push(why);
        } else if let Some(pid) = pid.filter(|_| application != Some(db::APPLICATION_NAME)) {
            let why = format!(
                "the slot {} is held by process {pid}, which is no Dormouse server or belongs to another role: end it first; nothing was removed",
                remains.ours
            );
            remains.foreign.push(why);
        }
    }
    Ok(remains)
}

/// Asks on a terminal; elsewhere somebody must have said `--yes`.
fn confirm(args: &Args, database: &str, steps: &[Step]) -> Result<(), CommandError> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let message = "this removes history and registrations for good, and nobody is here to confirm: say --yes, or look with --print";
        return Err(CommandError::Usage(message.into()));
    }
    eprintln!("This removes from database {database}, for good:");
    for step in steps {
        eprintln!("  {}", step.what);
    }
    eprint!("Type the database's name to go on: ");
    let _ = std::io::stderr().flush(); // A terminal that is gone answers nothing either.
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == database {
        return Ok(());
    }
    Err(CommandError::Usage("nothing was removed".into()))
}
