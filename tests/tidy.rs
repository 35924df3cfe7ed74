//! What the repository itself promises to its readers.

use std::fs;
use std::path::{Path, PathBuf};

/// No file of code is longer than this.
const LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests live in the workspace")
}

fn files(dir: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && name != "node_modules" && (!name.starts_with('.') || name == ".ci") {
                files(&path, extensions, found);
            }
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|known| *known == extension)) {
            found.push(path);
        }
    }
}

fn read(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(root(), extensions, &mut found);
    assert!(found.len() > 5, "there is something to look at");
    found.sort_unstable();
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect()
}

#[test]
fn files_are_short() {
    let long = read(&["rs"]).into_iter().filter(|(_, text)| text.lines().count() > LINES_MAX);
    let long: Vec<_> =
        long.map(|(path, text)| format!("{} has {} lines", path.display(), text.lines().count())).collect();
    assert!(long.is_empty(), "a file that wants to be larger is two concerns: {long:#?}");
}

#[test]
fn nothing_points_to_one_machine() {
    // Spelled apart, so that this file does not find itself.
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("../sha", "red")];
    let mut wrong = Vec::new();
    for (path, text) in read(&["rs", "md", "toml", "yml", "yaml", "sh", "sql"]) {
        for word in words.iter().filter(|word| text.contains(**word)) {
            wrong.push(format!("{} mentions {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_the_readme_names_exists() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let quoted = readme.split('`').skip(1).step_by(2);
    // Of what stands in quotes, paths of the source are those that begin with one of its folders.
    let folders = ["core/", "journal/", "runtime/", "sim/", "tests/", "docs/"];
    let quoted = quoted.filter(|text| folders.iter().any(|folder| text.starts_with(folder)));
    let linked = readme.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let linked = linked.filter(|link| !link.is_empty() && !link.contains("://"));
    let paths: Vec<_> = quoted.flat_map(alternatives).chain(linked.map(Into::into)).collect();
    assert!(paths.len() >= 4, "the README has a map of the code");
    let there = |path: &str| {
        let path = root().join(path);
        path.exists() || path.with_extension("rs").exists()
    };
    let in_src = |path: &str| path.split_once('/').is_some_and(|(top, rest)| there(&format!("{top}/src/{rest}")));
    let missing: Vec<_> = paths.into_iter().filter(|path| !there(path) && !in_src(path)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// `a/{b,c}` names `a/b` and `a/c`.
fn alternatives(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(front, rest)| Some((front, rest.split_once('}')?))) {
        Some((front, (choices, end))) => choices.split(',').map(|choice| format!("{front}{choice}{end}")).collect(),
        None => vec![path.into()],
    }
}
