//! `golden`: the hashes of some seeds are in the repository. They are the same in debug and release, and on every machine.

use super::{GoldenArgs, OK, USAGE, VIOLATED};
use crate::golden::{differences, table};

pub(super) fn run(args: &GoldenArgs) -> u8 {
    let now = table();
    if args.write {
        return match std::fs::write(&args.file, &now) {
            Ok(()) => OK,
            Err(why) => {
                eprintln!("cannot write {}: {why}", args.file.display());
                USAGE
            }
        };
    }
    let golden = match std::fs::read_to_string(&args.file) {
        Ok(golden) => golden,
        Err(why) => {
            eprintln!("cannot read {}: {why}", args.file.display());
            return USAGE;
        }
    };
    let differ = differences(&golden, &now);
    differ.iter().for_each(|line| println!("{line}"));
    if differ.is_empty() {
        println!("{} seeds hash to what they hashed to", now.lines().count());
        return OK;
    }
    println!("if the change was meant, write them anew: dormouse-sim golden --write");
    VIOLATED
}
