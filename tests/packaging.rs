//! What is in `packaging/` speaks of the program as it is: its commands, settings, paths and signals.

use crate::support::program;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests live in the workspace").into()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join("packaging").join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

fn say(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The words that begin with `DORMOUSE_`.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit());
    words.filter(|word| word.starts_with("DORMOUSE_") && *word != "DORMOUSE_COMMIT").collect()
}

#[test]
fn every_setting_that_is_packaged_is_one_of_the_program() {
    let help = say(&["serve", "--help"]);
    // `DORMOUSE_SPOOL_DIR` is `--spool-dir`.
    let flag = |name: &str| name.replacen("DORMOUSE_", "--", 1).replace('_', "-").to_lowercase();
    let is_known = |name: &str| help.split_whitespace().any(|word| word == flag(name));
    assert!(!is_known("DORMOUSE_DATABASE"), "a part of a name is not a name");
    for name in ["Dockerfile", "compose.yaml", "dormouse.service"] {
        let text = read(name);
        let used = variables(&text);
        assert!(!used.is_empty(), "{name} sets something");
        let unknown: Vec<_> = used.into_iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{name} sets {unknown:?}, which `serve` does not read");
    }
}

#[test]
fn the_image_is_small_and_runs_as_nobody_of_importance() {
    let file = read("Dockerfile");
    let steps: Vec<&str> = file.lines().filter(|line| !line.starts_with(['#', ' ']) && !line.is_empty()).collect();
    let bases: Vec<_> = steps.iter().filter(|step| step.starts_with("FROM ")).collect();
    assert_eq!(bases.len(), 2, "one stage builds, one runs");
    assert!(bases.iter().all(|base| base.contains(':') && !base.contains(":latest")), "each base has a version");
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(bases[0].contains(&format!("rust:{version}")), "it is built with the Rust that the workspace asks for");
    let last = file.rsplit("\nFROM ").next().expect("a stage");
    assert!(last.contains("\nUSER 10001:10001\n") && last.contains("--uid 10001"), "not as root");
    assert!(last.contains("\nSTOPSIGNAL SIGTERM\n") && last.contains("\nENTRYPOINT [\"dormouse\"]\n"));
    let health = last.split("HEALTHCHECK").nth(1).and_then(|rest| rest.split("CMD [").nth(1)).expect("a health check");
    let health = health.split(']').next().expect("a list").replace(['"', ','], "");
    assert!(health.starts_with("dormouse status --url http://127.0.0.1:"), "{health}");
    assert!(say(&["status", "--help"]).contains("--url"));
    let port = health.rsplit(':').next().expect("a port");
    assert!(last.contains(&format!("\nEXPOSE {port}\n")) && last.contains(&format!("DORMOUSE_LISTEN=0.0.0.0:{port}")));
    let ignored = fs::read_to_string(root().join(".dockerignore")).expect("the context is small");
    for line in ignored.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(root().join(line).exists(), "{line} is sent to the builder, but is not there");
    }
}

#[test]
fn composed_secrets_come_as_files() {
    let file = read("compose.yaml");
    assert!(
        !file.contains("POSTGRES_PASSWORD:") && !file.contains("DORMOUSE_DATABASE_URL:"),
        "no secret in the environment"
    );
    for secret in ["postgres_password", "database_url", "dormouse_auth"] {
        assert!(
            file.contains(&format!("/run/secrets/{secret}")) && file.contains(&format!("file: ./secrets/{secret}"))
        );
    }
    assert!(file.contains("wal_level=logical") && file.contains("condition: service_healthy"));
    assert!(root().join("packaging").join("..").join("packaging/Dockerfile").is_file(), "its build context");
    let ignored = fs::read_to_string(root().join(".gitignore")).expect("git ignores something");
    assert!(ignored.lines().any(|line| line == "/packaging/secrets"), "secrets are not committed");
}

#[test]
fn the_unit_is_sound() {
    let unit = read("dormouse.service");
    for line in ["DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=on-failure"] {
        assert!(unit.lines().any(|has| has == line), "{line}");
    }
    let lines = unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        assert!(line.starts_with('[') || line.contains('='), "{line:?} is no setting");
    }
    // Where systemd is installed it judges itself; the program need only be where the unit says.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("dormouse.service");
    fs::write(&path, unit.replace("/usr/local/bin/dormouse", &program().display().to_string())).expect("room");
    if let Ok(judged) = Command::new("systemd-analyze").arg("verify").arg(&path).output() {
        let said = String::from_utf8_lossy(&judged.stderr);
        assert!(judged.status.success() && !said.contains("dormouse.service"), "{said}");
    } else {
        println!("systemd-analyze is not installed here, so systemd's own judgement of the unit was not asked");
    }
}

#[test]
fn version_and_completions_are_printed() {
    let version = say(&["--version"]);
    assert!(version.starts_with(concat!("dormouse ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (shell, marker) in
        [("bash", "complete -F _dormouse"), ("zsh", "#compdef dormouse"), ("fish", "complete -c dormouse")]
    {
        let script = say(&["completions", shell]);
        assert!(script.contains(marker) && script.contains("database-url"), "{shell}: {script}");
        let path = dir.path().join(shell);
        fs::write(&path, script).expect("room");
        // The shell reads its own script, where it is installed.
        if let Ok(read) = Command::new(shell).arg("-n").arg(&path).output() {
            assert!(read.status.success(), "{shell}: {read:?}");
        }
    }
}
