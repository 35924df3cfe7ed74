//! A database's URL as text: what is ours to read in it, and what must never be printed.
//!
//! Both of libpq's forms are taken: `postgres://user:password@host:5432/database?key=value`, and `key=value key=value`.

use dormouse_core::fault::Failure;
use std::fmt::Write;

/// What stands for a secret in everything that is printed.
pub const REDACTED: &str = "REDACTED";

/// The parameters whose values are secrets.
const SECRETS: [&str; 2] = ["password", "sslpassword"];

/// What a URL may hold. A name that is not among these may be a piece of a password with a `&` in it.
const KNOWN: [&str; 25] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslcert",
    "sslcompression",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
/// How alike a misspelt name and a known one must be, of 1, for the known one to be suggested.
const LIKENESS_MIN: f64 = 0.8;

/// A URL taken apart. Nothing in it is printed by `Debug`.
pub(super) struct Parts {
    form: Form,
    /// Names and values, decoded, in their order.
    pub(super) parameters: Vec<(String, String)>,
}

enum Form {
    /// What stands before the parameters: the scheme, `user` and `password` as they were written, and the rest.
    Url {
        scheme: &'static str,
        user: Option<(String, Option<String>)>,
        rest: String,
    },
    KeyValue,
}

/// Whether a URL can be used.
///
/// # Errors
/// One sentence without any part of the URL.
pub fn judge(url: &str) -> Result<(), Failure> {
    super::Config::new(url).parsed().map(drop)
}

/// The same URL with [`REDACTED`] for its secrets. What cannot be read is hidden as a whole.
#[must_use]
pub fn redact(url: &str) -> String {
    let Some(mut parts) = Parts::read(url).filter(|parts| parts.unknown().is_none()) else { return REDACTED.into() };
    if let Form::Url { user: Some((_, Some(password))), .. } = &mut parts.form {
        *password = REDACTED.into();
    }
    let secrets = parts.parameters.iter_mut().filter(|(name, _)| SECRETS.contains(&name.as_str()));
    secrets.for_each(|(_, value)| *value = REDACTED.into());
    parts.text()
}

impl Parts {
    /// `None` when the text has neither form. Stricter than Postgres' own programs where they would take a part of a
    /// password for something else: then it could be printed as such.
    pub(super) fn read(text: &str) -> Option<Self> {
        for scheme in ["postgres://", "postgresql://"] {
            if let Some(rest) = text.strip_prefix(scheme) {
                return Self::read_url(scheme, rest);
            }
        }
        let parameters = read_pairs(text)?;
        Some(Self { form: Form::KeyValue, parameters })
    }

    /// What is to be said of a parameter that is not known, if there is one. Its name is not said: it may be no name.
    pub(super) fn unknown(&self) -> Option<String> {
        let (name, _) = self.parameters.iter().find(|(name, _)| !KNOWN.contains(&name.as_str()))?;
        let scored = KNOWN.iter().map(|known| (strsim::jaro_winkler(name, known), known));
        let nearest = scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
        let nearest = nearest.map(|(_, known)| format!(" (did you mean {known}?)")).unwrap_or_default();
        Some(format!("one of its parameters is not known{nearest}"))
    }

    fn read_url(scheme: &'static str, text: &str) -> Option<Self> {
        let (user, rest) = match text.split_once('@') {
            None => (None, text),
            Some((user, rest)) => {
                let (name, password) = match user.split_once(':') {
                    Some((name, password)) => (name, Some(password.to_owned())),
                    None => (user, None),
                };
                let is_name = !name.contains(['/', '?', '#', '&', '=', ' ']);
                is_name.then_some(())?;
                (Some((name.to_owned(), password)), rest)
            }
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains(['@', '#', ' ', '&', '=']) {
            return None;
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let parameters = pairs.map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name)?, decode(value)?))
        });
        let parameters = parameters.collect::<Option<_>>()?;
        Some(Self { form: Form::Url { scheme, user, rest: rest.to_owned() }, parameters })
    }

    /// The text that was read, but for what was changed.
    pub(super) fn text(&self) -> String {
        match &self.form {
            Form::Url { scheme, user, rest } => {
                let mut text = (*scheme).to_owned();
                if let Some((name, password)) = user {
                    text.push_str(name);
                    if let Some(password) = password {
                        text.push(':');
                        text.push_str(password);
                    }
                    text.push('@');
                }
                text.push_str(rest);
                for (n, (name, value)) in self.parameters.iter().enumerate() {
                    text.push(if n == 0 { '?' } else { '&' });
                    text.push_str(&encode(name));
                    text.push('=');
                    text.push_str(&encode(value));
                }
                text
            }
            Form::KeyValue => {
                let escape = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
                let pairs = self.parameters.iter().map(|(name, value)| match value.as_str() {
                    plain if !plain.is_empty() && !plain.contains(['\'', '\\', ' ', '\t', '\n', '\r']) => {
                        format!("{name}={plain}")
                    }
                    value => format!("{name}='{}'", escape(value)),
                });
                pairs.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// `key = value key='va lue'`, with backslashes before quotes and backslashes, as libpq reads it.
fn read_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_end();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then_some(())?;
        let (value, after) = read_value(after.trim_start())?;
        pairs.push((name.to_owned(), value));
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            return None;
        }
        rest = after.trim_start();
    }
    Some(pairs)
}

/// A value and what follows it.
fn read_value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next()?.1),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            '\'' => return None,
            c if c.is_whitespace() && !quoted => return Some((value, &text[at..])),
            c => value.push(c),
        }
    }
    (!quoted).then_some((value, ""))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b',' => {
                encoded.push(char::from(byte));
            }
            byte => {
                let _ = write!(encoded, "%{byte:02X}"); // A string takes everything.
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each holds the secret `s3cr` in some way, or in a way that cannot be read.
    const WITH_SECRETS: [&str; 18] = [
        "postgres://u:s3cr@h/d",
        "postgresql://u:s3cr@h:5432/d?sslmode=require",
        "postgres://u:s3cr:s3cr@h/d",
        "postgres://u:s3cr/s3cr@h/d",
        "postgres://u:s3cr?s3cr@h/d",
        "postgres://u:s3cr@s3cr@h/d",
        "postgres://:s3cr@h/d",
        "postgres://u@h/d?password=s3cr",
        "postgres://h/d?user=u&password=s3cr@1",
        "postgres://u@h/d?p%61ssword=s3cr&sslpassword=s3cr",
        "postgres://u@h/d?password=s3cr@x",
        "host=h user=u password=s3cr",
        "host=h password = 's3cr \\' s3cr' dbname=d",
        "host=h password=s3cr\\ s3cr sslpassword='s3cr'",
        "host=h password='s3cr",
        "mysql://u:s3cr@h/d",
        "u:s3cr@h/d",
        "s3cr",
    ];

    #[test]
    fn no_secret_is_printed_of_any_form() {
        for url in WITH_SECRETS {
            let printed = redact(url);
            assert!(!printed.contains("s3cr"), "{url} is printed as {printed}");
            assert!(printed.contains(REDACTED), "{url} is printed as {printed}");
            if let Err(why) = judge(url) {
                assert!(!format!("{why:?}").contains("s3cr"), "{url} is refused with {why:?}");
            }
        }
    }

    /// A password may hold any character. Written as it is, it may make the URL unreadable, and must not be seen then either.
    #[test]
    fn no_character_of_a_password_lets_the_rest_be_seen() {
        let marks =
            (' '..='~').map(String::from).chain(["&x=", "?a=b&", "' x='", "@h/d?x=", "://", "%4", "é"].map(Into::into));
        for mark in marks {
            let secret = format!("s3cr{mark}s3cr");
            let encoded = encode(&secret);
            let quoted = secret.replace('\\', "\\\\").replace('\'', "\\'");
            for url in [
                format!("postgres://u:{secret}@h/d"),
                format!("postgres://u:{encoded}@h/d"),
                format!("postgres://u@h/d?password={secret}"),
                format!("postgres://u@h/d?password={secret}&sslmode=disable"),
                format!("postgres://u@h/d?sslpassword={encoded}"),
                format!("host=h password={secret} user=u"),
                format!("host=h password='{secret}' user=u"),
                format!("host=h password='{quoted}'"),
            ] {
                let printed = redact(&url);
                assert!(!printed.contains("s3cr"), "{url} is printed as {printed}");
                let debug = format!("{:?} {:?}", crate::db::Config::new(&url), judge(&url));
                assert!(!debug.contains("s3cr"), "{url} is printed as {debug}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for url in [
            "postgres://u@h:1/d?sslmode=disable&application_name=a%20b",
            "postgres://h/d",
            "postgresql://u@[::1]:5432,other:1/d",
            "host=/run/postgresql dbname=d options='-c work_mem=8MB'",
        ] {
            assert_eq!(redact(url), url);
        }
        assert_eq!(redact("postgres://u:x@h/d?sslrootcert=/a/b"), "postgres://u:REDACTED@h/d?sslrootcert=/a/b");
    }

    #[test]
    fn a_url_means_the_same_after_it_was_taken_apart() {
        for url in ["postgres://u:p%40%3A@h:1/d?options=-c%20a%3Db", "host=h user='a b' password='it\\'s \\\\' port=1"]
        {
            let again = Parts::read(url).expect("readable").text();
            let parse = |text: &str| text.parse::<tokio_postgres::Config>().expect("valid");
            assert_eq!(parse(url), parse(&again), "{again}");
        }
    }
}
