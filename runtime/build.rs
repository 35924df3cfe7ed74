//! Notes the commit that the program is built from, for `dormouse --version`.
//!
//! `DORMOUSE_COMMIT` says it where there is no repository, as in an image's build. Debug builds say so instead: following
//! each commit would compile them again after each.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../runtime/build.rs"); // The simulator is built with this file, too.
    println!("cargo:rerun-if-env-changed=DORMOUSE_COMMIT");
    let given = std::env::var("DORMOUSE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let is_debug = std::env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    let commit = match given {
        Some(commit) => commit.chars().take(12).collect(),
        None if is_debug => "debug build".into(),
        None => follow_git().unwrap_or_else(|| "unknown commit".into()),
    };
    println!("cargo:rustc-env=DORMOUSE_VERSION={} ({commit})", env!("CARGO_PKG_VERSION"));
}

/// The commit that is checked out, and a wish to be built again when that is another.
fn follow_git() -> Option<String> {
    let commit = git(&["rev-parse", "--short=7", "HEAD"])?;
    for file in ["HEAD", "logs/HEAD"] {
        // In a worktree these lie elsewhere than in `.git`.
        let path = git(&["rev-parse", "--git-path", file])?;
        if std::path::Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    Some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
