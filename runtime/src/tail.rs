//! `dormouse tail`: becomes a client and prints what it receives, in order.

mod lines;
mod printer;

use crate::cli::CommandError;
use crate::client::{Client, Options};
use dormouse_core::client::Mode;
use printer::Printer;

/// What to follow.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server, as in ws://127.0.0.1:7654
    #[arg(long, env = "DORMOUSE_URL")]
    url: String,
    /// The name under which the server knows this client; drawn at random unless given
    #[arg(long)]
    client_id: Option<String>,
    /// What the client proves itself with
    #[arg(long, env = "DORMOUSE_CREDENTIAL", hide_env_values = true)]
    credential: Option<String>,
    /// Only these tables (schema.table,…)
    #[arg(long, value_delimiter = ',')]
    tables: Vec<String>,
    /// Where to begin: `0/0` prints all rows first; `stored` goes on after what this client id last acknowledged
    #[arg(long, value_enum, default_value = "0/0")]
    from: From,
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
/// When the server refuses the client.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let client_id = match (&args.client_id, args.from) {
        (Some(id), _) => id.clone(),
        (None, From::Start) => format!("tail-{:016x}", rand::random::<u64>()),
        (None, From::Stored) => {
            return Err(CommandError::Usage(
                "--from stored needs the --client-id whose acknowledgement is meant".into(),
            ));
        }
    };
    let mut options = Options::new(&args.url, &client_id).map_err(|wrong| CommandError::Usage(wrong.0))?;
    options = options.with_credential(args.credential);
    if !args.tables.is_empty() {
        options = options.with_tables(args.tables);
    }
    if args.from == From::Stored {
        options.config.mode = Mode::Thin;
    }
    let anonymous = args.client_id.is_none();
    let client = Client::connect(options, Printer::new(args.json, args.from == From::Stored));
    let done = tokio::select! {
        done = client.wait_for(|status| (args.until_live && status.live) || status.store_failure.is_some()) => done,
        _ = tokio::signal::ctrl_c() => Ok(client.status().borrow().clone()),
    };
    if anonymous {
        client.forget().await; // Nobody will come back under a name drawn at random.
    } else {
        client.close().await;
    }
    // A reader that has seen enough closes our output: that is no failure.
    done.map(drop).map_err(|stopped| CommandError::Failed(stopped.to_string()))
}
