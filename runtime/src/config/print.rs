//! `serve --print-config`: the configuration as a file that can be read again, without its secrets.

use super::load::settable;
use super::source::Setting;
use crate::db::{self, REDACTED};
use clap::{Arg, ArgAction, Command};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Every setting, in the order of the help, with its source.
pub(super) fn render(command: &Command, settings: &BTreeMap<String, Setting>) -> String {
    let mut text = String::from(
        "# What `dormouse serve` goes by. Flags win over the environment, that over the file, that over defaults.\n",
    );
    for (key, arg) in settable(command) {
        let line = match settings.get(key) {
            Some(setting) => {
                let values = setting.values.iter().map(|value| value.to_string_lossy().into_owned());
                Some((shown(key, arg, &values.collect::<Vec<_>>()), setting.source.to_string()))
            }
            None => default(key, arg).map(|value| (value, "default".into())),
        };
        let _ = match line {
            Some((value, source)) => writeln!(text, "{key} = {value}  # {}", source.replace('\n', " ")),
            None => writeln!(text, "# {key} is not set"),
        };
    }
    text
}

fn default(key: &str, arg: &Arg) -> Option<String> {
    match (arg.get_action(), arg.get_default_values()) {
        (ArgAction::SetTrue, _) => Some("false".into()),
        (_, []) => None,
        (_, values) => {
            let values = values.iter().map(|value| value.to_string_lossy().into_owned());
            Some(shown(key, arg, &values.collect::<Vec<_>>()))
        }
    }
}

fn shown(key: &str, arg: &Arg, values: &[String]) -> String {
    let secret = arg.is_hide_env_values_set();
    let show = |value: &str| match (secret, key) {
        (true, "database-url") => quoted(&db::redact(value)),
        (true, _) => quoted(REDACTED),
        (false, _) if is_number(arg) && value.parse::<u64>().is_ok() => value.to_owned(),
        (false, _) => quoted(value),
    };
    match arg.get_action() {
        ArgAction::SetTrue => {
            matches!(values, [truth] if ["true", "1", "yes", "on"].contains(&truth.as_str())).to_string()
        }
        ArgAction::Append => {
            let split = |value: &String| match arg.get_value_delimiter() {
                Some(delimiter) => value.split(delimiter).map(show).collect::<Vec<_>>(),
                None => vec![show(value)],
            };
            format!("[{}]", values.iter().flat_map(split).collect::<Vec<_>>().join(", "))
        }
        _ => values.last().map_or_else(|| quoted(""), |value| show(value)),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn is_number(arg: &Arg) -> bool {
    let id = arg.get_value_parser().type_id();
    let numbers = [TypeId::of::<usize>(), TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>()];
    numbers.iter().any(|number| id == *number)
}
