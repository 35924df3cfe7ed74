//! The file of credentials: lines `credential client-id-prefix [expiry]`.

use super::{forbidden, same, unauthorized};
use dormouse_core::fault::{FaultCode, PeerFault};
use dormouse_core::session::ClientId;
use dormouse_core::time::Timestamp;

/// The lines of a file.
pub(super) struct List(Vec<Entry>);

struct Entry {
    credential: String,
    prefix: String,
    /// On the wall clock.
    until: Option<Timestamp>,
}

impl List {
    /// Reads the lines.
    ///
    /// # Errors
    /// A sentence with the number of the first wrong line, and nothing of what it holds.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "this is no text".to_string())?;
        let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let entry = |(n, line): (usize, &str)| {
            let entry = match line.split_whitespace().collect::<Vec<_>>()[..] {
                [credential, prefix] => {
                    Some(Entry { credential: credential.into(), prefix: prefix.into(), until: None })
                }
                [credential, prefix, until] => rfc3339(until).map(|until| Entry {
                    credential: credential.into(),
                    prefix: prefix.into(),
                    until: Some(until),
                }),
                _ => None,
            };
            entry.ok_or_else(|| {
                format!("line {n} is not `credential client-id-prefix`, with `*` for any client id and perhaps an expiry as in 2027-01-31T12:00:00Z")
            })
        };
        lines.map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody could come in.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this credential is of the list. Looks at every line, so that the time it takes tells nothing.
    pub(super) fn knows(&self, shown: &str) -> bool {
        self.0.iter().fold(false, |known, entry| same(&entry.credential, shown) | known)
    }

    /// Until when this credential lets this client in; `None`: for good.
    pub(super) fn admit(&self, shown: &str, client: &ClientId, now: Timestamp) -> Result<Option<Timestamp>, PeerFault> {
        let (mut known, mut allowed, mut lasting) = (false, None, None);
        for entry in &self.0 {
            let same = same(&entry.credential, shown);
            known |= same;
            if same && (entry.prefix == "*" || client.as_str().starts_with(&entry.prefix)) {
                let until = entry.until.unwrap_or(Timestamp(u64::MAX));
                allowed = allowed.max(Some(until));
                lasting = lasting.max(Some(until).filter(|until| *until > now));
            }
        }
        match (known, allowed, lasting) {
            (_, _, Some(until)) => Ok(Some(until).filter(|until| until.0 != u64::MAX)),
            (_, Some(_), None) => {
                Err(PeerFault::new(FaultCode::Expired, "the credential has expired; come with a new one"))
            }
            (true, None, None) => Err(forbidden(format!("this credential does not allow the client id {client}"))),
            (false, None, None) => Err(unauthorized("the credential is not known here, or was revoked")),
        }
    }
}

/// A time as in `2027-01-31T12:00:00Z` or with `+02:00`; fractions of a second are left out of account.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i64>().ok()
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let separators = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let formed =
        separators.iter().all(|(at, mark)| text.get(*at..at + 1).is_some_and(|is| is.eq_ignore_ascii_case(mark)));
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !formed || !in_range {
        return None;
    }
    let zone = text.get(19..)?;
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => zone,
    };
    let east_minutes = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = hours.parse::<u8>().ok()? as i64 * 60 + i64::from(minutes.parse::<u8>().ok()?);
            match zone.as_bytes()[0] {
                b'+' => minutes,
                b'-' => -minutes,
                _ => return None,
            }
        }
    };
    let days: i64 = (1970..year).map(|year| 337 + days_of(year, 2)).sum::<i64>()
        + (1..month).map(|month| days_of(year, month)).sum::<i64>()
        + day
        - 1;
    let seconds = ((days * 24 + hour) * 60 + minute - east_minutes) * 60 + second;
    Some(Timestamp::from_millis(u64::try_from(seconds).ok()?.checked_mul(1_000)?))
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_opens_its_own_prefixes_for_its_own_time() {
        let text = "# people\ns3cret phone-\n\n s3cret  tablet- 1970-01-01T00:01:00Z\nroot *\n";
        let list = List::parse(text.as_bytes()).expect("lines of the right form");
        let now = Timestamp::from_millis(50_000);
        let judge = |shown, client: &str, now| {
            list.admit(shown, &ClientId::new(client).expect("a client id"), now).map_err(|fault| fault.code)
        };
        assert_eq!(judge("s3cret", "phone-7", now), Ok(None));
        assert_eq!(judge("s3cret", "tablet-7", now), Ok(Some(Timestamp::from_millis(60_000))));
        assert_eq!(judge("s3cret", "tablet-7", Timestamp::from_millis(60_000)), Err(FaultCode::Expired));
        assert_eq!(judge("root", "anything", now), Ok(None));
        assert_eq!(judge("s3cret", "watch-7", now), Err(FaultCode::Forbidden));
        for wrong in ["s3cre", "s3crets3cret", ""] {
            assert_eq!(judge(wrong, "phone-7", now), Err(FaultCode::Unauthorized));
            assert!(!list.knows(wrong));
        }
        assert!(list.knows("root"));
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_not_shown() {
        for (text, line) in [
            ("a b\n\nalone\n", "line 3 "),
            ("s3cret b c", "line 1 "),
            ("a b\ns3cret b 2027-02-30T00:00:00Z", "line 2 "),
        ] {
            let why = List::parse(text.as_bytes()).err().expect("a wrong line");
            assert!(why.contains(line) && !why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn times_are_read_with_their_zone() {
        let seconds = |text| rfc3339(text).map(|at| at.micros() / 1_000_000);
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2024-02-29T12:00:00.5+02:00"), Some(1_709_200_800));
        assert_eq!(seconds("2026-11-25T15:28:00-01:30"), Some(1_795_625_880));
        for wrong in [
            "",
            "2024",
            "2023-02-29T12:00:00Z",
            "2024-01-01 12:00:00Z",
            "2024-01-01T12:00:00",
            "2024-13-01T12:00:00Z",
            "+024-01-01T12:00:00Z",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }
}
