//! What the model knows and no machine does: the truth that oracles compare with.

use super::Postgres;
use super::pgoutput::is_same;
use super::tables::alterations_in;
use super::wal::{Alteration, Commit, Expected, Sums, alterations};
use crate::oracle::is_in;
use dormouse_core::change::{Relation, Scope};
use dormouse_core::position::{Era, Lsn, SchemaVersion, Waypoint};

/// How a replica's content sum compares with the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It shows what the tables held at its position.
    Right,
    /// It shows something else.
    Wrong {
        /// What it should show.
        expected: u128,
    },
    /// A silent alteration is under way to it: it will be told to take everything again.
    Altered,
}

impl Postgres {
    /// The eras that have begun.
    pub fn eras(&self) -> impl Iterator<Item = Era> + Clone {
        self.eras.iter().map(|era| era.era)
    }

    /// The published commits, in commit order.
    #[must_use]
    pub fn commits(&self) -> &[Commit] {
        self.wal.commits()
    }

    /// Those whose records begin after `lsn`.
    #[must_use]
    pub fn commits_after(&self, lsn: Lsn) -> &[Commit] {
        &self.commits()[self.wal.first_at(Lsn(lsn.0 + 1))..]
    }

    /// What the published tables held after the last commit at or below `lsn`.
    #[must_use]
    pub fn expected_at(&self, lsn: Lsn) -> &Expected {
        self.wal.expected_at(lsn)
    }

    /// The published commit that stands exactly there.
    #[must_use]
    pub fn commit_at(&self, commit_lsn: Lsn) -> Option<&Commit> {
        let commit = self.commits().get(self.wal.first_at(commit_lsn))?;
        (commit.commit_lsn == commit_lsn).then_some(commit)
    }

    /// Compares the content sum that a replica shows with what the tables of its scope held at its position.
    #[must_use]
    pub fn judge_sum(&self, shown: &Waypoint, sum: u128, scope: &Scope) -> Verdict {
        let expected = self.expected_at(shown.position.commit_lsn);
        let mut sums = std::iter::once(&expected.sums).chain(&expected.altered).map(|sums| self.sum_in(sums, scope));
        if sums.any(|expected| expected == sum) {
            return Verdict::Right;
        }
        if self.noted_at(shown).is_none_or(|noted| noted < alterations(expected)) {
            return Verdict::Altered;
        }
        Verdict::Wrong { expected: self.sum_in(expected.altered.last().unwrap_or(&expected.sums), scope) }
    }

    /// Whether the tables of a scope hold this now.
    #[must_use]
    pub fn is_present(&self, sum: u128, scope: &Scope) -> bool {
        let now = self.expected_at(Lsn(u64::MAX));
        self.sum_in(now.altered.last().unwrap_or(&now.sums), scope) == sum
    }

    /// How many alterations of tables Replication had noted when it gave out the schema of this place.
    #[must_use]
    pub fn noted_at(&self, shown: &Waypoint) -> Option<u32> {
        let era = self.eras.iter().rev().find(|era| era.era == shown.era)?;
        Some(era.noted.iter().rev().find(|(schema, _)| *schema == shown.schema)?.1)
    }

    /// Whether tables were altered at or before this place without a word in the stream, and its schema does not know of that: whoever
    /// shows it must be told to take everything again.
    #[must_use]
    pub fn is_altered_since(&self, shown: &Waypoint) -> bool {
        let altered = alterations(self.expected_at(shown.position.commit_lsn));
        self.noted_at(shown).is_some_and(|noted| noted < altered)
    }

    /// The alteration that gave a table the shape in which this commit told it, as a count of all alterations; 0 when none did.
    #[must_use]
    pub fn shaped_by(&self, table: &Relation, commit_lsn: Lsn) -> u32 {
        let commit = self.wal.first_at(commit_lsn);
        let before = self.alterations().iter().take_while(|(commits, _)| *commits <= commit);
        let shaped = before.enumerate().filter(|(_, (_, it))| it.reshaped && is_same(&it.relation, table)).last();
        shaped.map_or(0, |(n, _)| u32::try_from(n + 1).unwrap_or(u32::MAX))
    }

    /// What became of each table that was altered without a word in the stream, and how many commits stand before that.
    #[must_use]
    pub fn alterations(&self) -> &[(usize, Alteration)] {
        self.wal.alterations()
    }

    /// The least published commit below `lsn` that this era's history never held whole. `None`: all below is durable.
    #[must_use]
    pub fn unrecorded_below(&self, lsn: Lsn) -> Option<&Commit> {
        self.commits().get(self.history.recorded()).filter(|commit| commit.commit_lsn < lsn)
    }

    /// The commit LSN of the newest published transaction that a snapshot taken now would see; zero when there is none.
    #[must_use]
    pub const fn newest_visible(&self) -> Lsn {
        self.spools.visible.newest
    }

    /// The present schema number.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaVersion> {
        Some(self.eras.last()?.schema)
    }

    /// How many alterations of tables what is noted in the present era knows.
    #[must_use]
    pub fn noted(&self) -> Option<(Era, u32)> {
        let era = self.eras.last()?;
        Some((era.era, alterations_in(&era.fingerprints)))
    }

    /// Whether the tables have an alteration that Replication has not noted.
    #[must_use]
    pub fn alteration_unnoted(&self) -> bool {
        let noted = self.eras.last().and_then(|era| era.noted.last()).map_or(0, |(_, noted)| *noted);
        alterations_in(&self.fingerprints()) > noted
    }

    fn sum_in(&self, sums: &Sums, scope: &Scope) -> u128 {
        let tables = self.tables.iter().zip(sums.0).filter(|(table, _)| is_in(scope, &table.relation));
        tables.fold(0, |sum, (_, table)| sum.wrapping_add(table))
    }
}
