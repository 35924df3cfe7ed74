//! Flags, environment and file become one configuration, judged once, with every error listed.
//!
//! The flags' definition is the only list of what exists: their names are the file's keys, their variables the
//! environment's. So each value is read by the same parser, wherever it stands.

use super::source::{Setting, Source};
use super::{Args, file, print};
use crate::cli::CommandError;
use crate::db::{self, REDACTED};
use clap::builder::{PossibleValue, Resettable};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Id, value_parser};
use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::Path;

/// What only makes sense on the command line.
const NOT_IN_A_FILE: [&str; 4] = ["help", "version", "config", "print-config"];
/// What names a database for many programs, and so for this one.
const DATABASE_URL_OF_ALL: &str = "DATABASE_URL";

/// What the process was told.
#[derive(Debug)]
pub enum Loaded {
    /// To serve.
    Serve(Box<Args>),
    /// To print the configuration: this text.
    Print(String),
}

/// The command in a form that takes whatever stands on the command line: what is missing, contradictory or wrong in
/// value is found by [`load`], together with what the environment and the file say.
#[must_use]
pub fn lenient(command: Command) -> Command {
    independent(command).mut_args(|arg| match arg.get_action() {
        ArgAction::Set | ArgAction::Append => arg.value_parser(value_parser!(OsString)).value_delimiter(None),
        _ => arg,
    })
}

/// The command with every argument judged by itself, and the environment unread.
fn independent(command: Command) -> Command {
    command.mut_args(|arg| {
        let arg = without_environment(arg).required(false).default_value(Resettable::Reset);
        arg.conflicts_with(Resettable::<Id>::Reset).requires(Resettable::<Id>::Reset)
    })
}

fn without_environment(arg: Arg) -> Arg {
    arg.env(Resettable::Reset)
}

/// Makes one configuration. `command` is `serve` as it is defined; `matches` come from its [`lenient`] form.
///
/// # Errors
/// All that is wrong, in one text of one line each. With `--print-config` the configuration is printed all the same.
pub fn load(
    command: &Command,
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Loaded, (CommandError, Option<String>)> {
    let mut loading = Loading { command, settings: BTreeMap::new(), errors: Vec::new() };
    let printing = matches.get_flag("print_config");
    loading.read_file(matches, environment);
    loading.read_environment(environment);
    loading.read_flags(matches);
    loading.drop_overruled();
    let printed = printing.then(|| print::render(command, &loading.settings));
    let args = loading.judge(printing);
    match (loading.errors.is_empty(), args, printed) {
        (true, Some(_), Some(printed)) => Ok(Loaded::Print(printed)),
        (true, Some(args), None) => Ok(Loaded::Serve(Box::new(args))),
        (_, _, printed) => Err((CommandError::Usage(listed(&loading.errors)), printed)),
    }
}

fn listed(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => format!("the configuration has {} errors:\n  {}", many.len(), many.join("\n  ")),
    }
}

struct Loading<'a> {
    command: &'a Command,
    settings: BTreeMap<String, Setting>,
    errors: Vec<String>,
}

/// The arguments that can be set, with their keys.
pub(super) fn settable(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let named = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
    named.filter(|(key, _)| !NOT_IN_A_FILE.contains(key))
}

impl Loading<'_> {
    /// Sources are read from the weakest to the strongest, so that a later one replaces an earlier one.
    fn set(&mut self, setting: Setting) {
        self.settings.insert(setting.key.clone(), setting);
    }

    fn read_file(&mut self, matches: &ArgMatches, environment: &dyn Fn(&str) -> Option<OsString>) {
        let path = matches.get_raw("config").and_then(|mut paths| paths.next()).map(OsString::from);
        let variable = self.command.get_arguments().find(|arg| arg.get_id() == "config").and_then(Arg::get_env);
        let variable = variable.and_then(|name| environment(name.to_str()?)).filter(|path| !path.is_empty());
        let Some(path) = path.or(variable) else { return };
        let known: Vec<_> = settable(self.command).map(|(key, _)| key).collect();
        let (settings, errors) = file::read(Path::new(&path), &known);
        settings.into_iter().for_each(|setting| self.set(setting));
        self.errors.extend(errors);
    }

    fn read_environment(&mut self, environment: &dyn Fn(&str) -> Option<OsString>) {
        // An empty variable is how many tools write one that is not set.
        let read = |name: &str| environment(name).filter(|value| !value.is_empty());
        let mut set = Vec::new();
        for (key, arg) in settable(self.command) {
            let Some(variable) = arg.get_env().and_then(|name| name.to_str()) else { continue };
            if let Some(value) = read(variable) {
                let source = Source::Environment { variable: variable.into() };
                set.push(Setting { key: key.into(), values: vec![value], source });
            }
        }
        if !set.iter().any(|setting| setting.key.starts_with("database-url"))
            && let Some(value) = read(DATABASE_URL_OF_ALL)
        {
            let source = Source::Environment { variable: DATABASE_URL_OF_ALL.into() };
            set.push(Setting { key: "database-url".into(), values: vec![value], source });
        }
        set.into_iter().for_each(|setting| self.set(setting));
    }

    fn read_flags(&mut self, matches: &ArgMatches) {
        for (key, arg) in settable(self.command) {
            let id = arg.get_id().as_str();
            if matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let values = match arg.get_action() {
                ArgAction::SetTrue => vec!["true".into()],
                _ => matches.get_raw(id).into_iter().flatten().map(OsString::from).collect(),
            };
            self.set(Setting { key: key.into(), values, source: Source::Flag });
        }
    }

    /// Of settings that exclude each other, the one from the stronger source stays.
    fn drop_overruled(&mut self) {
        let mut overruled = Vec::new();
        for (key, arg) in settable(self.command) {
            let others = self.command.get_arg_conflicts_with(arg).into_iter().filter_map(Arg::get_long);
            for other in others {
                let (Some(one), Some(two)) = (self.settings.get(key), self.settings.get(other)) else { continue };
                match one.source.rank().cmp(&two.source.rank()) {
                    std::cmp::Ordering::Less => overruled.push(key.to_owned()),
                    std::cmp::Ordering::Greater => overruled.push(other.to_owned()),
                    std::cmp::Ordering::Equal => {
                        let (one, two) = (format!("{one:?}"), format!("{two:?}"));
                        self.errors.push(format!("{one} and {two} exclude each other: give one of them"));
                        overruled.push(other.to_owned());
                    }
                }
            }
        }
        for key in overruled {
            self.settings.remove(&key);
        }
    }

    /// Reads every value, then looks at how they fit together. `None` when that cannot be told.
    fn judge(&mut self, printing: bool) -> Option<Args> {
        self.read_database_url_file();
        let alone = independent(self.command.clone());
        let mut line = vec![OsString::from(self.command.get_name())];
        let mut wrong = Vec::new();
        for (key, arg) in settable(self.command) {
            let Some(setting) = self.settings.get(key) else { continue };
            let judged = words(arg, setting).and_then(|words| {
                let one = [OsString::from(self.command.get_name())].into_iter().chain(words.iter().cloned());
                let parsed = alone.clone().try_get_matches_from(one);
                parsed.map(|_| words).map_err(|error| reason(&error, arg))
            });
            match judged {
                Ok(words) => line.extend(words),
                Err(why) => wrong.push((key.to_owned(), format!("{setting:?}: {why}"))),
            }
        }
        let has_database = self.settings.contains_key("database-url");
        for (key, error) in wrong {
            self.errors.push(error);
            self.settings.remove(&key);
        }
        if !line.iter().any(|word| word.as_encoded_bytes().starts_with(b"--database-url=")) {
            line.push("--database-url=".into()); // Nothing else can be judged without it.
            if !has_database && !printing && self.errors.iter().all(|error| !error.starts_with("database-url")) {
                self.errors.push(
                    "no database is named: give --database-url, DORMOUSE_DATABASE_URL, DATABASE_URL or database-url in the file, as in postgres://user:password@host:5432/database".into(),
                );
            }
        }
        let command = self.command.clone().mut_args(without_environment);
        match command.try_get_matches_from(line).and_then(|matches| Args::from_arg_matches(&matches)) {
            Ok(args) => {
                let faults = args.faults().into_iter().map(|fault| self.located(fault.key, &fault.why));
                let mut faults: Vec<_> = faults.collect();
                if !printing
                    && args.database_url.contains(REDACTED)
                    && db::redact(&args.database_url) == args.database_url
                {
                    let why = format!("this was printed by --print-config: put the password where {REDACTED} stands");
                    faults.push(self.located("database-url", &why));
                }
                self.errors.extend(faults);
                Some(args)
            }
            Err(error) => {
                self.errors.push(first_line(&error));
                None
            }
        }
    }

    /// A fault with the place where its setting stands.
    fn located(&self, key: &str, why: &str) -> String {
        match self.settings.get(key) {
            Some(setting) => format!("{setting:?}: {why}"),
            None => format!("{key} (default): {why}"),
        }
    }

    /// The file's content stands for the URL itself.
    fn read_database_url_file(&mut self) {
        let Some(setting) = self.settings.remove("database-url-file") else { return };
        let path = setting.values.last().cloned().unwrap_or_default();
        let read = std::fs::read_to_string(&path).map_err(|why| format!("cannot be read: {why}"));
        let url = read.and_then(|text| match text.trim() {
            "" => Err("is empty".into()),
            url => Ok(url.to_owned()),
        });
        match url {
            Ok(url) => {
                let source = setting.source.clone();
                self.set(Setting { key: "database-url".into(), values: vec![url.into()], source });
            }
            Err(why) => self.errors.push(format!("{setting:?}: {} {why}", Path::new(&path).display())),
        }
    }
}

/// A setting as words of a command line.
fn words(arg: &Arg, setting: &Setting) -> Result<Vec<OsString>, String> {
    let flag = format!("--{}", setting.key);
    let with_value = |value: &OsString| {
        let mut word = OsString::from(format!("{flag}="));
        word.push(value);
        word
    };
    match (arg.get_action(), &setting.values[..]) {
        (ArgAction::SetTrue, [truth]) => match truth.to_str() {
            Some("true" | "1" | "yes" | "on") => Ok(vec![flag.into()]),
            Some("false" | "0" | "no" | "off") => Ok(Vec::new()),
            _ => Err("this is true or false".into()),
        },
        (ArgAction::SetTrue, _) => Err("this is true or false, and not a list".into()),
        (ArgAction::Append, values) => Ok(values.iter().map(with_value).collect()),
        (_, [value]) => Ok(vec![with_value(value)]),
        _ => Err("this is one value, and not a list".into()),
    }
}

/// What a parser of values says, without the value where it is secret.
fn reason(error: &clap::Error, arg: &Arg) -> String {
    if arg.is_hide_env_values_set() {
        return "the value cannot be used".into();
    }
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => format!("`{value}`: "),
        _ => String::new(),
    };
    let possible: Vec<_> = arg.get_possible_values().iter().map(PossibleValue::get_name).map(String::from).collect();
    match (error.source(), &possible[..]) {
        (Some(source), _) => format!("{value}{source}"),
        (None, []) => first_line(error),
        (None, possible) => format!("{value}this is one of {}", possible.join(", ")),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
