//! Where a setting comes from, and what is wrong with it.

use std::ffi::OsString;
use std::fmt;

/// Where a setting comes from. A later one wins over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A line of the configuration file, counted from 1.
    File { name: String, line: usize },
    /// An environment variable.
    Environment { variable: String },
    /// The command line.
    Flag,
}

impl Source {
    /// How far it goes before others: two of the same rank contradict each other.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::File { .. } => 0,
            Self::Environment { .. } => 1,
            Self::Flag => 2,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}, line {line}"),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// What was set, as text, before it is judged.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The flag's name without dashes, which is also the file's key.
    pub(super) key: String,
    /// One text per value; flags that take none have `true` or `false`.
    pub(super) values: Vec<OsString>,
    pub(super) source: Source,
}

/// Without the values, which may be secret.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key, self.source)
    }
}

/// What is wrong with a setting, for the operator. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, by its flag's name without dashes.
    pub key: &'static str,
    /// A sentence that says what is wrong and what to do.
    pub why: String,
}

impl Fault {
    /// What is wrong with a setting.
    #[must_use]
    pub fn new(key: &'static str, why: impl Into<String>) -> Self {
        Self { key, why: why.into() }
    }
}
