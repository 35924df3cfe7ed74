//! What the doctor says: findings, and how they are printed.

use super::Code;
use serde_json::{Value, json};
use std::fmt::Write;
use std::io::IsTerminal;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All is well.
    Ok,
    /// It works, and somebody should know.
    Warning,
    /// It does not work until somebody acts.
    Error,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The object: a setting, a role, a table.
    pub subject: String,
    /// What is the matter and why, in one line.
    pub message: String,
    /// What to do, where SQL alone does not do it.
    pub advice: Option<String>,
    /// What to paste into `psql`, as a superuser or the owner. What has to be done besides stands in comments.
    pub remedy_sql: Option<String>,
}

impl Finding {
    /// All is well with this.
    pub(crate) fn ok(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Ok, subject.into(), message.into())
    }

    /// It works, and somebody should know.
    pub(crate) fn warning(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, subject.into(), message.into())
    }

    /// It does not work until somebody acts.
    pub(crate) fn error(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, subject.into(), message.into())
    }

    fn new(code: Code, severity: Severity, subject: String, message: String) -> Self {
        // A server's words may have several lines, and a finding is one.
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { code, severity, subject, message, advice: None, remedy_sql: None }
    }

    /// What to do, where SQL alone does not do it.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What to paste into `psql`.
    #[must_use]
    pub(crate) fn remedy(mut self, sql: impl Into<String>) -> Self {
        self.remedy_sql = Some(sql.into());
        self
    }
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of asking.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether a server could serve.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    pub(crate) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(crate) fn has(&self, code: Code, severity: Severity) -> bool {
        self.findings.iter().any(|finding| finding.code == code && finding.severity == severity)
    }

    /// As `--json` prints it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "code": finding.code.as_str(),
                "severity": finding.severity.as_str(),
                "subject": finding.subject,
                "message": finding.message,
                "advice": finding.advice,
                "remedy_sql": finding.remedy_sql,
            })
        };
        json!({ "v": 1, "ok": self.ok(), "findings": self.findings.iter().map(finding).collect::<Vec<_>>() })
    }

    /// For people: a line for each finding, and below it what to do.
    #[must_use]
    pub fn to_text(&self, colour: bool) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let (mark, paint) = match finding.severity {
                Severity::Ok => ("ok     ", "\x1b[32m"),
                Severity::Warning => ("warning", "\x1b[33m"),
                Severity::Error => ("ERROR  ", "\x1b[31m"),
            };
            let (paint, plain) = if colour { (paint, "\x1b[0m") } else { ("", "") };
            let Finding { code, subject, message, .. } = finding;
            let _ = writeln!(text, "{paint}{mark}{plain} {}: {subject}: {message}", code.as_str());
            let advice = finding.advice.iter().map(String::as_str);
            for line in advice.chain(finding.remedy_sql.iter().flat_map(|sql| sql.lines())) {
                let _ = writeln!(text, "            {line}");
            }
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let verdict = match (errors, warnings) {
            (0, 0) => "all is well".to_owned(),
            (0, n) => format!("a server can serve; {} to know of", counted(n, "thing")),
            (n, _) => format!("a server cannot serve until {} mended", if n == 1 { "this is" } else { "these are" }),
        };
        let _ = writeln!(text, "\n{}, {}: {verdict}", counted(errors, "error"), counted(warnings, "warning"));
        text
    }

    /// Prints it on stdout.
    pub(super) fn print(&self, json: bool) {
        if json {
            println!("{}", self.to_json());
        } else {
            print!("{}", self.to_text(std::io::stdout().is_terminal()));
        }
    }
}

/// `1 table`, `2 tables`.
pub(crate) fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    // With a backslash the other syntax is needed, whatever `standard_conforming_strings` says.
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_its_remedy_is_below() {
        let mut report = Report::default();
        report.push(Finding::error(Code::WalLevel, "wal_level", "is\nreplica").remedy("a;\nb;").advise("do it"));
        report.push(Finding::ok(Code::Slot, "s", "fine"));
        let text = report.to_text(false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "ERROR   wal_level: wal_level: is replica");
        assert_eq!(lines[1..4], ["            do it", "            a;", "            b;"]);
        assert!(lines[4].starts_with("ok"));
        assert!(!text.contains('\x1b') && report.to_text(true).contains('\x1b'));
        assert!(!report.ok());
    }

    #[test]
    fn literals_are_quoted() {
        assert_eq!(literal("o'clock"), "'o''clock'");
        assert_eq!(literal("a\\'"), "E'a\\\\'''");
    }
}
