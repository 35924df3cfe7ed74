//! Protocol version 1 as JSON text, one message per frame.
//!
//! A pure codec. Numbers that JavaScript cannot hold (xids, backfill ids, instances) travel as decimal strings. Unknown fields are
//! ignored, unknown message types are refused.

mod decode;
mod encode;
mod object;
#[cfg(test)]
mod protocol;
mod rows;
#[cfg(test)]
mod tests;

pub use decode::{ServerDecoder, decode_client};
pub use encode::{chunk_body, chunk_head, encode_client, encode_server};
pub use object::{key_object, row_object};

use crate::change::Scope;
use crate::position::{CommitTime, Era, Position, SchemaVersion, Waypoint};
use crate::xid::Xid;
use serde::{Deserialize, Serialize};

/// A waypoint on the wire: the same fields in every `through` and `resume`.
#[derive(Serialize, Deserialize)]
struct WaypointJson {
    era: Era,
    schema: SchemaVersion,
    position: Position,
    #[serde(with = "decimal")]
    xid: u64,
    committed_at_us: CommitTime,
}

impl From<Waypoint> for WaypointJson {
    fn from(waypoint: Waypoint) -> Self {
        let Waypoint { era, schema, position, xid, committed_at } = waypoint;
        Self { era, schema, position, xid: xid.0, committed_at_us: committed_at }
    }
}

impl From<WaypointJson> for Waypoint {
    fn from(json: WaypointJson) -> Self {
        let WaypointJson { era, schema, position, xid, committed_at_us } = json;
        Self { era, schema, position, xid: Xid(xid), committed_at: committed_at_us }
    }
}

/// `"all"` or a list of tables.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ScopeJson {
    Word(String),
    Tables(Vec<String>),
}

impl From<&Scope> for ScopeJson {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::All => Self::Word("all".into()),
            Scope::Tables(names) => Self::Tables(names.to_vec()),
        }
    }
}

/// What a client has: `null`, `"stored"`, or a waypoint.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ResumeJson {
    Word(String),
    At(WaypointJson),
}

/// A number as a decimal string.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom("expected an unsigned number as a decimal string"))
    }
}
