//! The configuration file: TOML whose keys are the names of the flags.

use super::source::{Setting, Source};
use std::ffi::OsString;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// How alike a misspelt key and a known one must be, of 1, for the known one to be suggested.
const LIKENESS_MIN: f64 = 0.7;

/// Reads what a file sets, and everything that is wrong with it. `known` are the keys that it may hold.
pub(super) fn read(path: &Path, known: &[&str]) -> (Vec<Setting>, Vec<String>) {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &path.display().to_string(), known),
        Err(why) => (Vec::new(), vec![format!("the configuration file {} cannot be read: {why}", path.display())]),
    }
}

fn parse(text: &str, name: &str, known: &[&str]) -> (Vec<Setting>, Vec<String>) {
    let (table, broken) = DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        // The parser's own rendering quotes the line, which may hold a secret.
        let tell = |error: &toml::de::Error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            format!("{name}, line {line}: this is not TOML: {}", error.message())
        };
        return (Vec::new(), broken.iter().map(tell).collect());
    }
    let (mut settings, mut errors) = (Vec::new(), Vec::new());
    for (key, value) in table.get_ref() {
        let line = line_at(text, key.span().start);
        let (key, value) = (key.get_ref().as_ref(), value.get_ref());
        if !known.contains(&key) {
            errors.push(format!("{name}, line {line}: there is no setting {key}{}", suggestion(key, known)));
            continue;
        }
        match values(value) {
            Ok(values) if values.is_empty() => {} // A list of nothing sets nothing.
            Ok(values) => {
                let source = Source::File { name: name.to_owned(), line };
                settings.push(Setting { key: key.to_owned(), values, source });
            }
            Err(kind) => errors.push(format!("{name}, line {line}: {key} cannot be {kind}")),
        }
    }
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    (settings, errors)
}

/// The texts of a value, or what it is instead of a plain one. What the texts mean is judged later, as that of flags is.
fn values(value: &DeValue<'_>) -> Result<Vec<OsString>, &'static str> {
    match value {
        DeValue::Array(items) => {
            items.iter().map(|item| scalar(item.get_ref()).ok_or("a list of something else than texts")).collect()
        }
        DeValue::Table(_) => Err("a table: every setting is one line, `key = value`"),
        DeValue::Datetime(_) => Err("a date"),
        single => scalar(single).map(|text| vec![text]).ok_or("a value of this type"),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<OsString> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        // TOML allows `1_000` for people; `0x10` stays as it is, and is refused as no number.
        DeValue::Integer(number) => Some(number.as_str().replace('_', "").into()),
        DeValue::Float(number) => Some(number.as_str().into()),
        DeValue::Boolean(truth) => Some(truth.to_string().into()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn suggestion(key: &str, known: &[&str]) -> String {
    let key = key.replace('_', "-").to_ascii_lowercase();
    let scored = known.iter().map(|known| (strsim::jaro_winkler(&key, known), known));
    match scored.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((likeness, nearest)) if likeness >= LIKENESS_MIN => format!(": did you mean {nearest}?"),
        _ => "; `dormouse serve --help` lists them all, without their dashes they are keys".into(),
    }
}

fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["listen", "tables", "keep-min", "hubs"];

    #[test]
    fn values_of_every_plain_type_become_text() {
        let text = "listen = \"0.0.0.0:1\"\ntables = [\"a\", \"b\"]\nhubs = 1_000\n";
        let (settings, errors) = parse(text, "f", &KNOWN);
        assert_eq!(errors, [""; 0]);
        let texts: Vec<_> = settings.iter().map(|one| (one.key.as_str(), one.values.clone())).collect();
        let expected: [(&str, Vec<OsString>); 3] = [
            ("hubs", vec!["1000".into()]),
            ("listen", vec!["0.0.0.0:1".into()]),
            ("tables", vec!["a".into(), "b".into()]),
        ];
        assert_eq!(texts, expected);
        assert_eq!(settings[2].source.to_string(), "f, line 2");
    }

    #[test]
    fn every_wrong_line_is_named() {
        let text = "listne = \"x\"\nkeep_min = \"1h\"\nzzz = 1\n[hubs]\nn = 1\n";
        let (settings, mut errors) = parse(text, "f", &KNOWN);
        errors.sort_unstable();
        assert!(settings.is_empty());
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert_eq!(errors[0], "f, line 1: there is no setting listne: did you mean listen?");
        assert_eq!(errors[1], "f, line 2: there is no setting keep_min: did you mean keep-min?");
        assert!(errors[2].starts_with("f, line 3: there is no setting zzz; "), "{errors:?}");
        assert_eq!(errors[3], "f, line 4: hubs cannot be a table: every setting is one line, `key = value`");
    }

    #[test]
    fn a_broken_line_is_not_quoted() {
        let (_, errors) = parse("listen = \"a\"\nhubs = s3cret oops\n", "f", &KNOWN);
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|error| error.starts_with("f, line 2: ") && !error.contains("s3cret")), "{errors:?}");
    }
}
