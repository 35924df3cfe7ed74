//! What a machine held at one moment, as data.

use crate::entity::Entity;
use serde::Serialize;
use serde_json::Value;

/// What a machine held after an event.
#[derive(Debug, Clone)]
pub struct State {
    /// After which event.
    pub event: u64,
    /// Whose.
    pub lane: Entity,
    /// The machine as data; null when there was none.
    pub value: Value,
}

/// A machine as data.
#[must_use]
pub fn state(machine: &(impl Serialize + std::fmt::Debug)) -> Value {
    // By way of text, which alone takes sums of 128 bits.
    let text = serde_json::to_string(machine).ok();
    let value = text.and_then(|text| serde_json::from_str(&text).ok());
    value.unwrap_or_else(|| Value::String(format!("{machine:#?}")))
}
