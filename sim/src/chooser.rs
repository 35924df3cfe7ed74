//! What can be chosen in a world of Dormouse, and by whom: the vocabulary of [`crate::engine::chooser`].

pub use crate::engine::chooser::{ALWAYS, Answer, mix, per_mille};
pub use crate::kind::Kind;

use crate::engine::chooser;
use crate::entity::Entity;

/// Where everything undetermined comes from.
pub type Chooser = chooser::Chooser<Kind, Entity>;
/// One non-quiet choice, by meaning.
pub type Choice = chooser::Choice<Kind, Entity>;
/// When something happens, by meaning.
pub type Moment = chooser::Moment<Kind, Entity>;
/// What a scenario wants of a delay.
pub type Told = chooser::Told<Kind, Entity>;
/// Until what something may be held.
pub type Moments<'a> = chooser::Moments<'a, Kind, Entity>;
/// How faults and delays are chosen.
pub type Source = chooser::Source<Kind, Entity>;
/// The chooser of traces.
pub type Script = chooser::Script<Kind, Entity>;
