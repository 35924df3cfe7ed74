//! `dormouse tail`: becomes a client and prints what it receives, in order.

mod lines;
mod printer;

use crate::cli::CommandError;
use crate::client::{Client, Options, Security, Status};
use crate::replica::Replica;
use dormouse_core::change::Scope;
use dormouse_core::client::Mode;
use printer::{Printer, STDOUT};
use std::path::PathBuf;

/// What to follow.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server, as in ws://127.0.0.1:7654
    #[arg(long, env = "DORMOUSE_URL")]
    url: String,
    /// Trust these authorities behind wss:// (a file in PEM), instead of the system's
    #[arg(long, env = "DORMOUSE_CA", value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    /// The name under which the server knows this client; drawn at random unless given
    #[arg(long)]
    client_id: Option<String>,
    /// What the client proves itself with
    #[arg(long, env = "DORMOUSE_CREDENTIAL", hide_env_values = true)]
    credential: Option<String>,
    /// Only these tables (schema.table,…); all, or those of the store, unless given
    #[arg(long, value_delimiter = ',')]
    tables: Vec<String>,
    /// Where to begin: `0/0` prints all rows first; `stored` goes on after what this client id last acknowledged
    #[arg(long, value_enum, default_value = "0/0")]
    from: From,
    /// Keep the replica in this SQLite file, and go on from where it stands; a new file begins with a first sync
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    store: Option<PathBuf>,
    /// End once everything that was committed before the start is printed
    #[arg(long)]
    until_live: bool,
    /// Print one object of JSON per line
    #[arg(long)]
    json: bool,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// With a first sync.
    #[value(name = "0/0")]
    Start,
    /// After what the server remembers.
    #[value(name = "stored")]
    Stored,
}

/// Prints until it is told to end.
///
/// # Errors
/// When the server refuses the client, or the store cannot be used.
pub async fn run(args: Args) -> Result<(), CommandError> {
    // Nobody will come back under a name drawn at random, unless it is kept in a store.
    let anonymous = args.client_id.is_none() && args.store.is_none();
    let Source { client_id, scope, mode, printer } = source(&args)?;
    let mut options = Options::new(&args.url, &client_id).map_err(|wrong| CommandError::Usage(wrong.0))?;
    options = options.with_credential(args.credential).with_fixed_credential();
    options.security = Security::new(args.ca);
    options.security.check(&options.address).await.map_err(|wrong| CommandError::Environment(wrong.0))?;
    options.config.mode = mode;
    options.config.scope = match args.tables.is_empty() {
        true => scope.unwrap_or_default(),
        false => Scope::tables(args.tables),
    };
    let client = Client::connect(options, printer);
    let done = tokio::select! {
        done = client.wait_for(|status| (args.until_live && status.live) || status.store_failure.is_some()) => done,
        _ = tokio::signal::ctrl_c() => Ok(client.status().borrow().clone()),
    };
    if anonymous {
        client.forget().await;
    } else {
        client.close().await;
    }
    match done {
        Ok(Status { store_failure: Some(failure), .. }) if !failure.reason().starts_with(STDOUT) => {
            Err(CommandError::Environment(failure.reason().into()))
        }
        // A reader that has seen enough closes our output: that is no failure.
        Ok(_) => Ok(()),
        Err(stopped) => Err(CommandError::Failed(stopped.to_string())),
    }
}

/// Where a client begins, and as whom.
struct Source {
    client_id: String,
    scope: Option<Scope>,
    mode: Mode,
    printer: Printer,
}

fn source(args: &Args) -> Result<Source, CommandError> {
    let Args { client_id, json, .. } = args;
    if let Some(path) = &args.store {
        let Replica { store, client_id, scope } = Replica::open(path, client_id.as_deref(), "tail")?;
        return Ok(Source { client_id, scope, mode: Mode::Replica, printer: Printer::in_file(*json, store) });
    }
    let (mode, printer) = match args.from {
        From::Start => (Mode::Replica, Printer::in_memory(*json)),
        From::Stored => (Mode::Thin, Printer::thin(*json)),
    };
    let client_id = match (client_id, args.from) {
        (Some(id), _) => id.clone(),
        (None, From::Start) => format!("tail-{:016x}", rand::random::<u64>()),
        (None, From::Stored) => {
            return Err(CommandError::Usage(
                "--from stored needs the --client-id whose acknowledgement is meant".into(),
            ));
        }
    };
    Ok(Source { client_id, scope: None, mode, printer })
}
