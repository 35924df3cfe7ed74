//! `shrink`: from a failing seed or trace to the few choices that matter.

use super::{OK, ShrinkArgs, USAGE, VIOLATED, find_run};
use crate::engine::shrink::shrink;
use serde_json::json;

pub(super) fn run(args: &ShrinkArgs) -> u8 {
    let run = match find_run(&args.run, args.without.as_deref()) {
        Ok(run) => run,
        Err(why) => {
            eprintln!("{why}");
            return USAGE;
        }
    };
    let Some(shrunk) = shrink(&run) else {
        eprintln!("{}: nothing breaks, so there is nothing to shrink", args.run);
        return VIOLATED;
    };
    let text = shrunk.file.to_string();
    if let Some(path) = &args.out
        && let Err(why) = std::fs::write(path, &text)
    {
        eprintln!("cannot write {}: {why}", path.display());
        return USAGE;
    }
    eprintln!(
        "{} choices became {} in {} runs; {} transactions are left",
        run.choices.len(),
        shrunk.file.choices.len(),
        shrunk.runs,
        shrunk.file.setup.transactions
    );
    if args.json {
        let choices: Vec<_> = shrunk.file.choices.iter().map(ToString::to_string).collect();
        println!("{}", json!({ "v": 1, "ok": true, "runs": shrunk.runs, "trace": choices, "file": text }));
    } else if args.out.is_none() {
        print!("{text}");
    }
    OK
}
