//! Who watches a run: which oracles are switched off, and in which runs a second one looks.

/// One seed in so many is watched by the second oracle unasked.
const SAMPLE: u64 = 16;
/// The oracles that compare what clients show and were handed with what the database held.
const FIRST: [&str; 6] = ["anomalies", "boundary", "monotone", "once", "sum", "thin"];

/// The runs in which the second, naive oracle looks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// One seed in sixteen.
    #[default]
    Sample,
    /// All, at every boundary that is shown.
    All,
    /// All, and those that it is compared with are off.
    Alone,
    /// None.
    Never,
}

/// Who watches. Everybody unless somebody asks what an oracle is good for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Oracles {
    /// The one that is switched off, by name.
    pub off: Option<&'static str>,
    /// The runs in which the second oracle looks.
    pub second: Second,
}

impl Oracles {
    /// Whether what this oracle notices is passed over.
    #[must_use]
    pub fn is_off(self, oracle: &str) -> bool {
        self.off == Some(oracle) || self.second == Second::Alone && FIRST.contains(&oracle)
    }

    /// Whether the second oracle looks at the run of a seed.
    #[must_use]
    pub const fn wants_naive(self, seed: u64) -> bool {
        match self.second {
            Second::Sample => seed.is_multiple_of(SAMPLE),
            Second::All | Second::Alone => true,
            Second::Never => false,
        }
    }

    /// Whether the second oracle looks at every boundary, however large the world is.
    #[must_use]
    pub const fn is_thorough(self) -> bool {
        matches!(self.second, Second::All | Second::Alone)
    }
}
