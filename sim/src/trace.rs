//! What happened, in words.

use crate::entity::Entity;
use dormouse_core::time::Timestamp;

/// The lines of a run, kept only when somebody wants to read them.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that keeps its lines.
    #[must_use]
    pub const fn kept() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    /// Whether anybody reads it.
    #[must_use]
    pub const fn wanted(&self) -> bool {
        self.lines.is_some()
    }

    /// Adds a line.
    pub fn note(&mut self, now: Timestamp, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let since = now.since(crate::world::DAWN);
            lines.push(format!("{:>4}.{:06} {}", since.as_secs(), since.subsec_micros(), line()));
        }
    }

    /// Adds what a value looks like, cut to a bearable length.
    pub fn value(&mut self, now: Timestamp, entity: Entity, what: &str, value: &impl std::fmt::Debug) {
        const LONGEST: usize = 420;
        self.note(now, || {
            let mut text = format!("{entity} {what} {value:?}");
            if text.len() > LONGEST {
                let cut = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                text.truncate(cut);
                text.push('…');
            }
            text
        });
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
