use super::*;
use clap::{CommandFactory, Parser};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

#[derive(Parser)]
#[command(name = "serve")]
struct Serve {
    #[command(flatten)]
    args: Args,
}

const DATABASE: &str = "postgres://u:s3cret@h/d";

/// One start of the program: its flags, its environment, and what stands in its file.
#[derive(Default)]
struct Start<'a> {
    flags: &'a [&'a str],
    environment: &'a [(&'a str, &'a str)],
    file: Option<&'a str>,
}

impl Start<'_> {
    /// What is loaded, or the errors and what was printed beside them.
    fn load(&self) -> Result<Loaded, (String, Option<String>)> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("dormouse.toml");
        let mut flags: Vec<OsString> = ["serve"].iter().chain(self.flags).map(Into::into).collect();
        if let Some(text) = self.file {
            std::fs::write(&path, text).expect("written");
            flags.extend(["--config".into(), path.clone().into()]);
        }
        let environment: BTreeMap<_, _> = self.environment.iter().copied().collect();
        let matches = lenient(Serve::command()).try_get_matches_from(flags).unwrap_or_else(|why| panic!("{why}"));
        let loaded = load(&Serve::command(), &matches, &|name| environment.get(name).map(Into::into));
        let name = path.display().to_string();
        let short = |text: String| text.replace(&name, "FILE");
        loaded.map_err(|(error, printed)| (short(error.to_string()), printed.map(short)))
    }

    fn args(&self) -> Args {
        match self.load() {
            Ok(Loaded::Serve(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn errors(&self) -> Vec<String> {
        let (text, _) = self.load().expect_err("something is wrong");
        let lines = text.lines().filter(|line| !line.starts_with("the configuration has"));
        lines.map(|line| line.trim().to_owned()).collect()
    }

    fn printed(&self) -> String {
        match self.load() {
            Ok(Loaded::Print(text)) => text,
            other => panic!("{other:?}"),
        }
    }
}

fn with_flags(more: &[&str]) -> Args {
    let flags: Vec<_> = ["--database-url", DATABASE].iter().chain(more).copied().collect();
    Start { flags: &flags, ..Start::default() }.args()
}

#[test]
fn durations_have_a_unit() {
    for (text, ms) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000), ("7d", 604_800_000)] {
        assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
    }
    for wrong in ["", "10", "s", "10 s", "-1s", "1w", "99999999999999999d"] {
        assert!(duration(wrong).is_err(), "{wrong:?} is no duration");
    }
}

#[test]
fn nobody_is_let_in_by_accident() {
    let judge = |flags: &[&str]| {
        let flags: Vec<_> = ["--database-url", DATABASE].iter().chain(flags).copied().collect();
        Start { flags: &flags, ..Start::default() }.load().is_ok()
    };
    assert!(judge(&[]));
    assert!(judge(&["--listen", "[::1]:0"]));
    assert!(!judge(&["--listen", "0.0.0.0:0"]));
    assert!(judge(&["--listen", "0.0.0.0:0", "--insecure"]));
    assert!(!judge(&["--auth", "/nonexistent/credentials"]));
    assert!(!judge(&["--listen", "nowhere"]));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file_and_that_over_the_default() {
    let file = "listen = \"127.0.0.1:1\"\nhubs = 1\nkeep-min = \"1m\"\ninsecure = true\ntables = [\"a\", \"b\"]\n";
    let environment = [("DORMOUSE_HUBS", "2"), ("DORMOUSE_LISTEN", "127.0.0.1:2"), ("DORMOUSE_INSECURE", "false")];
    let flags = ["--listen", "127.0.0.1:3", "--database-url", DATABASE];
    let args = Start { flags: &flags, environment: &environment, file: Some(file) }.args();
    assert_eq!(args.listen, "127.0.0.1:3");
    assert_eq!(args.hubs, Some(2));
    assert!(!args.insecure);
    assert_eq!(args.keep_min, Duration::from_secs(60));
    assert_eq!(args.tables, ["a", "b"]);
    assert_eq!(args.keep_max, Duration::from_secs(7 * 86_400));
}

#[test]
fn the_database_is_found_where_it_is_named_most_plainly() {
    let url =
        |flags: &[&str], environment: &[(&str, &str)], file| Start { flags, environment, file }.args().database_url;
    let all = [("DORMOUSE_DATABASE_URL", "postgres://ours"), ("DATABASE_URL", "postgres://all")];
    assert_eq!(url(&["--database-url", "postgres://flag"], &all, None), "postgres://flag");
    assert_eq!(url(&[], &all, Some("database-url = \"postgres://file\"")), "postgres://ours");
    assert_eq!(url(&[], &all[1..], None), "postgres://all");
    assert_eq!(url(&[], &[("DORMOUSE_DATABASE_URL", ""), all[1]], None), "postgres://all");
    assert_eq!(url(&[], &[], Some("database-url = \"postgres://file\"")), "postgres://file");
    let errors = Start::default().errors();
    assert!(errors.len() == 1 && errors[0].starts_with("no database is named: give --database-url"), "{errors:?}");
}

#[test]
fn the_database_is_read_from_a_mounted_file() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&secret, format!("{DATABASE}\n")).expect("written");
    let path = secret.path().to_str().expect("text");
    let flags = ["--database-url-file", path];
    assert_eq!(Start { flags: &flags, ..Start::default() }.args().database_url, DATABASE);
    let environment = [("DATABASE_URL", "postgres://all")];
    assert_eq!(Start { flags: &flags, environment: &environment, file: None }.args().database_url, DATABASE);
    let printed = Start { flags: &["--database-url-file", path, "--print-config"], ..Start::default() }.printed();
    assert!(printed.contains(&format!("database-url-file = \"{path}\"  # flag")), "{printed}");
    std::fs::write(&secret, " \n").expect("written");
    let errors = Start { flags: &flags, ..Start::default() }.errors();
    assert_eq!(errors, [format!("database-url-file (flag): {path} is empty")]);
    let both = Start { flags: &["--database-url-file", path, "--database-url", DATABASE], ..Start::default() }.errors();
    assert!(both[0].contains("exclude each other"), "{both:?}");
}

#[test]
fn of_settings_that_exclude_each_other_the_stronger_source_decides() {
    let file = format!("database-url = \"{DATABASE}\"\ntables = [\"a\"]\n");
    let args = Start { flags: &["--publication", "p"], environment: &[], file: Some(&file) }.args();
    assert_eq!((args.publication.as_deref(), &args.tables[..]), (Some("p"), &[][..]));
    let both = format!("{file}publication = \"p\"\n");
    let errors = Start { file: Some(&both), ..Start::default() }.errors();
    assert_eq!(errors, ["publication (FILE, line 3) and tables (FILE, line 2) exclude each other: give one of them"]);
}

#[test]
fn every_error_is_listed() {
    let file = "keep-min = \"2h\"\nkeep-max = \"1h\"\nlisten = \"nowhere\"\nhibernate-after = \"soon\"\nlissten = 1\nhubs = [1, 2]\n\
                insecure = \"maybe\"\nauth = \"/nonexistent/credentials\"\n";
    let environment = [("DORMOUSE_CONNECTIONS_MAX", "many"), ("DORMOUSE_SPOOL_DIR", "/nonexistent/spools")];
    let mut errors = Start { flags: &["--greet-timeout", "0s"], environment: &environment, file: Some(file) }.errors();
    errors.sort_unstable();
    let beginnings = [
        "FILE, line 5: there is no setting lissten: did you mean listen?",
        "connections-max (environment variable DORMOUSE_CONNECTIONS_MAX): `many`: invalid digit",
        "greet-timeout (flag): with no time at all",
        "hibernate-after (FILE, line 4): `soon`: a duration",
        "hubs (FILE, line 6): this is one value, and not a list",
        "insecure (FILE, line 7): this is true or false",
        "keep-max (FILE, line 2): history cannot be kept for less than keep-min",
        "listen (FILE, line 3): nowhere is no address and port",
        "no database is named",
        "spool-dir (environment variable DORMOUSE_SPOOL_DIR): /nonexistent/spools is no folder",
    ];
    assert_eq!(errors.len(), beginnings.len(), "{errors:#?}");
    for (error, beginning) in errors.iter().zip(beginnings) {
        assert!(error.starts_with(beginning), "{error} should begin with {beginning}");
    }
    // Where to listen decides what access needs: with an address the file of credentials is judged, too.
    let auth =
        Start { flags: &["--database-url", DATABASE], file: Some("auth = \"/nonexistent/x\""), environment: &[] };
    assert!(auth.errors()[0].starts_with("auth (FILE, line 1): cannot read /nonexistent/x"), "{:?}", auth.errors());
}

#[test]
fn what_is_printed_can_be_read_and_names_its_sources() {
    let file = format!("database-url = \"{DATABASE}\"\nkeep-min = \"2h\"\ntables = [\"a\", \"b c\"]\nhubs = 3\n");
    let environment = [("DORMOUSE_ORIGINS", "https://a.example,https://b.example"), ("DORMOUSE_CONNECTIONS_MAX", "10")];
    let flags = ["--greet-timeout", "3s", "--print-config"];
    let printed = Start { flags: &flags, environment: &environment, file: Some(&file) }.printed();
    for line in [
        "database-url = \"postgres://u:REDACTED@h/d\"  # ",
        "greet-timeout = \"3s\"  # flag",
        "connections-max = 10  # environment variable DORMOUSE_CONNECTIONS_MAX",
        "origin = [\"https://a.example\", \"https://b.example\"]  # environment variable DORMOUSE_ORIGINS",
        "insecure = false  # default",
        "keep-max = \"7d\"  # default",
        "# publication is not set",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    let empty = format!("{file}tables = []\npublication = \"p\"\n").replace("tables = [\"a\", \"b c\"]\n", "");
    let with_publication = Start { flags: &["--print-config"], environment: &[], file: Some(&empty) }.printed();
    assert!(with_publication.contains("publication = \"p\"  # "), "{with_publication}");
    Start { flags: &["--print-config"], environment: &[], file: Some(&with_publication) }.printed();
    let again = Start { flags: &["--print-config"], environment: &[], file: Some(&printed) }.printed();
    let values = |text: &str| text.parse::<toml::Table>().expect("TOML");
    assert_eq!(values(&printed), values(&again));
    let refused = Start { file: Some(&printed), ..Start::default() }.errors();
    assert!(refused[0].contains("REDACTED"), "{refused:?}");
}

#[test]
fn what_is_wrong_is_printed_with_its_errors() {
    let flags = ["--print-config", "--listen", "nowhere"];
    let (error, printed) = Start { flags: &flags, ..Start::default() }.load().expect_err("nowhere is wrong");
    assert!(error.contains("nowhere"));
    assert!(printed.expect("printed all the same").contains("listen = \"nowhere\"  # flag"));
}

#[test]
fn no_secret_is_printed() {
    assert!(!format!("{:?}", with_flags(&[])).contains("s3cret"));
    let urls = [
        DATABASE,
        "host=h password='s3cret'",
        "postgres://u@h/d?password=s3cret",
        "postgres://u:s3cret@h:port/d",
        "postgres://u:p@s3cret@h/d",
        "host=h password=s3cret nonsense",
    ];
    for url in urls {
        let file = format!("database-url = {}\n", toml::Value::from(url));
        for start in [
            Start { flags: &["--print-config", "--database-url", url], ..Start::default() },
            Start { flags: &["--print-config"], environment: &[("DATABASE_URL", url)], file: None },
            Start { flags: &["--print-config"], environment: &[], file: Some(&file) },
            Start { flags: &["--listen", "nowhere"], environment: &[("DATABASE_URL", url)], file: None },
        ] {
            assert!(!format!("{:?}", start.load()).contains("s3cret"), "{url}");
        }
    }
}

#[test]
fn the_annotated_example_is_valid_and_complete() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dormouse.example.toml");
    let text = std::fs::read_to_string(path).expect("the example");
    // Everything stands in it, what is not needed as a comment: with all comments taken away each key is known.
    let uncommented: String =
        text.lines().map(|line| line.strip_prefix("#:").unwrap_or(line).to_owned() + "\n").collect();
    let keys = uncommented.parse::<toml::Table>().expect("TOML");
    let command = Serve::command();
    let known: Vec<_> = load::settable(&command).map(|(key, _)| key).collect();
    let missing: Vec<_> = known.iter().filter(|key| !keys.contains_key(**key)).collect();
    assert!(missing.is_empty(), "the example does not tell of {missing:?}");
    let unknown: Vec<_> = keys.keys().filter(|key| !known.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "the example tells of {unknown:?}");
    // Which authorities a system trusts is its own affair.
    Start { file: Some(&text.replace("verify-full\"", "disable\"")), ..Start::default() }.args();
}
