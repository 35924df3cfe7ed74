//! What can be chosen, who acts, and what a run has beside its choices.

use dormouse_sim::engine::subject::{Entity, Kind, Setup};
use std::fmt;
use std::str::FromStr;

pub const WORKERS: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Think = 0,
    LockDelay = 1,
    StorageDelay = 2,
    Pause = 3,
}

impl Kind for What {
    const COUNT: usize = 4;

    fn number(self) -> u16 {
        self as u16
    }

    fn name(self) -> &'static str {
        ["Think", "LockDelay", "StorageDelay", "Pause"][self as usize]
    }

    fn by_name(name: &str) -> Option<Self> {
        [Self::Think, Self::LockDelay, Self::StorageDelay, Self::Pause].into_iter().find(|kind| kind.name() == name)
    }

    fn words(self, pick: u64) -> String {
        match self {
            Self::Think => format!("thinks {pick}"),
            Self::LockDelay => format!("delay of bucket {pick} between the lock and"),
            Self::StorageDelay => format!("delay of bucket {pick} between the storage and"),
            Self::Pause => format!("pause of bucket {pick} before an output of"),
        }
    }

    fn is_delay(self) -> bool {
        matches!(self, Self::LockDelay | Self::StorageDelay)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worker(pub u8);

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker/{}", self.0)
    }
}

impl FromStr for Worker {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = text.strip_prefix("worker/").and_then(|number| number.parse().ok());
        number.filter(|number| *number < WORKERS).map(Self).ok_or(())
    }
}

impl Entity for Worker {
    fn index(self) -> usize {
        self.0.into()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    pub seed: u64,
    /// How many each worker writes.
    pub documents: u32,
    /// Whether the storage checks tokens.
    pub checked: bool,
}

impl Setup for Scene {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("seed {}", self.seed), format!("documents {}", self.documents)];
        lines.extend((!self.checked).then(|| "unchecked".to_owned()));
        lines
    }

    fn parse(lines: &[(usize, &str)]) -> Result<Self, String> {
        let mut scene = Self { seed: 0, documents: 1, checked: true };
        for (n, line) in lines {
            let wrong = |_| format!("line {n}: {line:?}: expected a number");
            match line.split_once(' ').unwrap_or((line, "")) {
                ("seed", number) => scene.seed = number.parse().map_err(wrong)?,
                ("documents", number) => scene.documents = number.parse().map_err(wrong)?,
                ("unchecked", "") => scene.checked = false,
                _ => return Err(format!("line {n}: {line:?}: expected seed, documents or unchecked")),
            }
        }
        Ok(scene)
    }
}
