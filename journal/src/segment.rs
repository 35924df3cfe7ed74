//! Reads one segment.

use crate::block::{self, Fault};
use crate::header::Header;
use crate::journaled::Journaled;
use crate::record::{End, Record, RecordOf};
use serde::{Deserialize, Serialize};

/// A segment's records, as far as they can be read.
#[derive(Debug)]
pub struct Segment<M: Journaled> {
    /// What is known of it.
    pub header: Header,
    /// In order; the first is a checkpoint.
    pub records: Vec<RecordOf<M>>,
    /// How it ends.
    pub ending: Ending,
}

/// How a segment ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ending {
    /// In good order.
    Whole {
        /// Why.
        why: End,
    },
    /// Within a block, or between two without an end: the process was killed, or still writes.
    Torn {
        /// How many bytes after the last whole block are left out.
        bytes: u64,
    },
    /// With bytes that are not those that were written.
    Damaged {
        /// Where in the file the block begins that cannot be trusted.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
}

impl<M: Journaled> Segment<M> {
    /// Reads a segment.
    ///
    /// # Errors
    /// A sentence on why nothing of it can be read.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let (header, length) = Header::parse(bytes)?;
        if header.kind != M::KIND {
            return Err(format!("this is a recording of another machine: {}", header.lane));
        }
        let mut rest = &bytes[length..];
        let (mut records, mut ended) = (Vec::new(), None);
        let ending = loop {
            let at = (bytes.len() - rest.len()) as u64;
            let damaged = |what: &str| Ending::Damaged { at, what: what.into() };
            match (block::take(&mut rest), ended) {
                (None, Some(why)) => break Ending::Whole { why },
                (None, None) => break Ending::Torn { bytes: 0 },
                (Some(_), Some(_)) => break damaged("more follows the segment's end"),
                (Some(Err(Fault::Torn)), None) => break Ending::Torn { bytes: rest.len() as u64 },
                (Some(Err(Fault::Damaged)), None) => {
                    break damaged("the sum of a block is another than when it was written");
                }
                (Some(Ok(raw)), None) => match unpack::<M>(&raw, &mut records) {
                    Ok(end) => ended = end,
                    Err(what) => break damaged(&what),
                },
            }
        };
        match records.first() {
            Some(Record::Checkpoint { .. }) => Ok(Self { header, records, ending }),
            Some(Record::Step(_) | Record::Dropped { .. } | Record::End(_)) => {
                Err("the segment does not begin with a checkpoint".into())
            }
            None => match ending {
                Ending::Damaged { at, what } => Err(format!("nothing can be read, because at byte {at} {what}")),
                Ending::Whole { .. } | Ending::Torn { .. } => Err("its checkpoint was never finished".into()),
            },
        }
    }
}

/// The records of a block; the end, if it is among them.
fn unpack<M: Journaled>(mut raw: &[u8], records: &mut Vec<RecordOf<M>>) -> Result<Option<End>, String> {
    while !raw.is_empty() {
        let taken = postcard::take_from_bytes::<RecordOf<M>>(raw);
        let (record, rest) = taken.map_err(|why| {
            format!("a record cannot be read ({why}); if another build recorded it, replay it with that one")
        })?;
        raw = rest;
        if let Record::End(why) = record {
            return if raw.is_empty() { Ok(Some(why)) } else { Err("more follows the segment's end".into()) };
        }
        records.push(record);
    }
    Ok(None)
}
