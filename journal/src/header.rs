//! The first line of a segment: for programs and for people (`head -1 FILE`).

use crate::FORMAT;
use crate::digest::Digest;
use crate::journaled::Kind;
use dormouse_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a segment's first line begins with.
const MAGIC: &str = "dormouse journal";
/// The longest first line, in bytes.
const LINE_MAX: usize = 16 * 1024;

/// What is known of a segment before its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The program that recorded: version and commit.
    pub build: String,
    /// Which machine of the process: `replication`, `hub/0`.
    pub lane: String,
    /// Its kind.
    pub kind: Kind,
    /// When the process started to record, by its clock: the same in all segments of a process.
    pub started: Timestamp,
    /// Counts the segments of a lane in that process, from 0. A number that is missing was deleted for room.
    pub segment: u64,
    /// Whether contents were dropped.
    pub redacted: bool,
    /// The machine's settings, for people; the checkpoint holds them, too.
    pub settings: serde_json::Value,
}

impl Header {
    /// The line, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default(); // Texts and numbers have a form in JSON.
        format!("{MAGIC} {FORMAT} {json} {:016x}\n", sum(&json))
    }

    /// Reads the line from the start of a segment; also returns how many bytes it took.
    ///
    /// # Errors
    /// A sentence on why this is no segment that this program can read.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), String> {
        let not_ours = || "this is no segment of a flight recording: its first line is another".to_owned();
        if bytes.is_empty() {
            return Err("the file is empty".into());
        }
        let end = bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n').ok_or_else(not_ours)?;
        let line = std::str::from_utf8(&bytes[..end]).map_err(|_| not_ours())?;
        let rest = line.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(not_ours)?;
        let (format, rest) = rest.split_once(' ').ok_or_else(not_ours)?;
        if format != FORMAT.to_string() {
            return Err(format!(
                "this recording has format {format}, and this program reads format {FORMAT}: replay it with the `dormouse-sim` of the \
                 version that recorded it"
            ));
        }
        let (json, check) = rest.rsplit_once(' ').ok_or_else(not_ours)?;
        if check != format!("{:016x}", sum(json)) {
            return Err("the first line is damaged: its sum is another".into());
        }
        let header = serde_json::from_str(json).map_err(|why| format!("the first line cannot be read: {why}"))?;
        Ok((header, end + 1))
    }
}

fn sum(json: &str) -> u64 {
    let mut digest = Digest::default();
    digest.bytes(json.as_bytes());
    digest.low_half()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            build: "0.1.0 (abc)".into(),
            lane: "hub/0".into(),
            kind: Kind::Hub,
            started: Timestamp(7),
            segment: 3,
            redacted: true,
            settings: serde_json::json!({ "seed": 1 }),
        }
    }

    #[test]
    fn a_line_is_read_back() {
        let line = header().line();
        let bytes = format!("{line}rest");
        assert_eq!(Header::parse(bytes.as_bytes()), Ok((header(), line.len())));
    }

    #[test]
    fn another_format_is_refused_with_a_sentence() {
        let line = header().line().replacen("journal 1", "journal 2", 1);
        let why = Header::parse(line.as_bytes()).expect_err("it is refused");
        assert!(why.contains("format 2") && why.contains("format 1"), "{why}");
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let line = header().line().replacen("hub/0", "hub/1", 1);
        let why = Header::parse(line.as_bytes()).expect_err("it is refused");
        assert!(why.contains("damaged"), "{why}");
        assert!(Header::parse(b"{}\n").is_err());
        assert!(Header::parse(b"").is_err());
    }
}
