//! The simulator's model and a real Postgres answer the same questions alike.
//!
//! A script of typed steps is played on both; the replies, told by rank, must be the same words. On the real side every
//! question goes through the database code that `serve` itself uses, over either source. What was found, and how it was
//! mended in the model, stands in `docs/CONFORMANCE.md`.

mod cases;
mod model;
mod op;
mod random;
mod real;
mod reply;
mod script;
mod subject;
mod tell;
mod wire;

use dormouse_runtime::source::Kind;
use model::Model;
use op::Op;
use real::{Lab, Real};
use reply::Reply;
use script::Player;
use std::fmt::Write as _;
use subject::Subject;
use tell::Ranks;

/// How many tables both have.
const TABLES: usize = 2;
/// How large the large column is: large enough that Postgres stores it apart, and leaves it out when it is unchanged.
const LARGE_BYTES: usize = 2_100;
const _: () = assert!(LARGE_BYTES > 2_048, "smaller values stay in their row");

/// Plays a script; returns what each step came to, in words.
async fn play<S: Subject>(subject: S, ops: &[Op]) -> Vec<String> {
    let mut player = Player::new(subject);
    let mut replies: Vec<Reply> = Vec::with_capacity(ops.len());
    for op in ops {
        replies.push(player.play(op).await);
    }
    let ranks = Ranks::new(player.subject.anchors().await, &replies);
    replies.iter().map(|reply| ranks.tell(reply)).collect()
}

/// Plays a script on both, and tells the first step whose replies differ.
async fn difference(lab: &mut Lab, kind: Kind, ops: &[Op]) -> Option<String> {
    let model = play(Model::new(), ops).await;
    let real = play(Real::new(lab, kind).await, ops).await;
    let n = (0..ops.len()).find(|n| model[*n] != real[*n])?;
    let mut told = format!("step {}, {:?}:\n", n + 1, ops[n]);
    let names = (Model::NAME, <Real<'_> as Subject>::NAME);
    let _ = writeln!(told, "  {}: {}\n  {}: {}\nafter", names.0, model[n], names.1, real[n]);
    for (n, op) in ops.iter().take(n).enumerate() {
        let _ = writeln!(told, "  {:3} {op:?} -> {}", n + 1, model[n]);
    }
    Some(told)
}

/// The same of a random script behind a preparation, made shorter for as long as it tells any difference.
async fn shortest(lab: &mut Lab, kind: Kind, mut ops: Vec<Op>) -> Option<String> {
    let prepared = cases::prepared();
    let mut told = difference(lab, kind, &[&prepared[..], &ops].concat()).await?;
    let mut cut = ops.len() / 2;
    while cut > 0 {
        let mut from = 0;
        while from < ops.len() {
            let fewer = [&ops[..from], &ops[(from + cut).min(ops.len())..]].concat();
            let whole = [&prepared[..], &fewer].concat();
            match if random::is_playable(&fewer) { difference(lab, kind, &whole).await } else { None } {
                Some(difference) => (told, ops) = (difference, fewer),
                None => from += cut,
            }
        }
        cut /= 2;
    }
    Some(told)
}

/// Which random scripts are played: `SCRIPTS=100..200` chooses others, and more.
fn chosen() -> std::ops::Range<u64> {
    let bounds = std::env::var("SCRIPTS").ok();
    let bounds = bounds.as_deref().and_then(|text| text.split_once(".."));
    bounds.map_or(0..16, |(from, to)| from.parse().expect("a number")..to.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_answers_random_scripts_as_postgres_does() {
    let mut lab = Lab::new().await;
    let mut differences = Vec::new();
    for seed in chosen() {
        let (kind, ops) = random::script(seed);
        let began = std::time::Instant::now();
        if let Some(difference) = shortest(&mut lab, kind, ops).await {
            differences.push(format!("script {seed} ({kind:?}), {difference}"));
        }
        eprintln!("{} ms: script {seed} ({kind:?})", began.elapsed().as_millis());
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_answers_as_postgres_does() {
    let mut lab = Lab::new().await;
    let mut differences = Vec::new();
    let only = std::env::var("CASE").unwrap_or_default();
    for case in cases::all().into_iter().filter(|case| case.name.contains(&only)) {
        for kind in case.kinds {
            let began = std::time::Instant::now();
            if let Some(difference) = difference(&mut lab, *kind, &case.ops).await {
                differences.push(format!("{} ({kind:?}), {difference}", case.name));
            }
            eprintln!("{} ms: {} ({kind:?})", began.elapsed().as_millis(), case.name);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
