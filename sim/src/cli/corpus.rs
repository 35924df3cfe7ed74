//! `corpus`: runs the inputs of a folder, and lets them grow.

use super::{CorpusArgs, OK, USAGE, VIOLATED};
use crate::corpus::{Corpus, trace};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(super) fn run(args: &CorpusArgs) -> u8 {
    match grow(args) {
        Ok(true) => OK,
        Ok(false) => VIOLATED,
        Err(why) => {
            eprintln!("{why}");
            USAGE
        }
    }
}

fn grow(args: &CorpusArgs) -> Result<bool, String> {
    let mut corpus = Corpus::default();
    let mut broken = Vec::new();
    let mut note = |world: &crate::world::World, name: String| {
        if let Some(v) = &world.violation {
            broken.push(json!({ "input": name, "promise": v.promise.to_string(), "event": v.event, "file": trace(world).to_string() }));
        }
    };
    let paths = inputs(&args.dir)?;
    for path in &paths {
        let bytes = std::fs::read(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        note(&corpus.offer(&bytes).0, path.display().to_string());
    }
    let (read, shown) = (paths.len(), corpus.seen.len());
    for _ in 0..args.grow {
        let input = corpus.mutate();
        let (world, new) = corpus.offer(&input);
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        note(&world, hex.clone());
        if new {
            let path = args.dir.join(format!("{:016x}", name_of(&input)));
            std::fs::write(&path, &input).map_err(|why| format!("cannot write {}: {why}", path.display()))?;
        }
    }
    let (kept, seen) = (corpus.inputs.len(), corpus.seen.len());
    if args.json {
        println!(
            "{}",
            json!({ "v": 1, "ok": broken.is_empty(), "inputs": read, "shown": shown, "tried": args.grow, "kept": kept, "seen": seen, "violations": broken })
        );
    } else {
        println!("{read} inputs show {shown} things; after {} more there are {kept} that show {seen}", args.grow);
        broken.iter().for_each(|found| println!("{}", found["file"].as_str().unwrap_or_default()));
    }
    Ok(broken.is_empty())
}

fn inputs(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|why| format!("cannot read {}: {why}", dir.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    Ok(paths)
}

fn name_of(input: &[u8]) -> u128 {
    let mut digest = crate::digest::Digest::default();
    digest.bytes(input);
    digest.finish() >> 64
}
