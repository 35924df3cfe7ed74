//! Choices that were not quiet.

use crate::chooser::{Choice, Kind, Moment};
use crate::engine::subject;
use crate::log::{Draft, What};

/// A choice. Of a delay, with the microseconds of its buckets; beyond them stand two that are orders.
#[must_use]
pub fn choice(choice: &Choice, delays: Option<&[u64]>) -> Draft {
    let who = choice.entity;
    let took = |what: &str| {
        if let Some(until) = choice.until {
            return format!("{what} takes until {}", moment(&until));
        }
        let delays = delays.unwrap_or_default();
        let n = usize::try_from(choice.pick).unwrap_or(usize::MAX);
        match delays.get(n) {
            Some(micros) => format!("{what} takes {} instead of {}", span(*micros), span(delays[0])),
            None if n == delays.len() => format!("{what} takes until all that is under way has arrived"),
            None => format!("{what} takes until after the next timer"),
        }
    };
    let pick = |words: &[&str]| {
        let n = usize::try_from(choice.pick).unwrap_or(0);
        words.get(n.wrapping_sub(1)).map_or_else(|| choice.to_string(), |words| (*words).to_owned())
    };
    let words = match choice.kind {
        Kind::QuestionLatency => took("the way of its message to postgres"),
        Kind::AnswerLatency => took("the way back from postgres"),
        Kind::FrameLatency => took("the way of a frame to or from it"),
        Kind::AnnouncementLatency => took("the way of an announcement to it"),
        Kind::StoreLatency => took("its store"),
        Kind::DialLatency => took("its dial"),
        Kind::DownFor => took("it is down; its restart"),
        Kind::WakeLatency => took("its next waking by itself"),
        Kind::CopyLatency => took("the copying of its snapshot"),
        Kind::CredentialLatency => took("another credential for it"),
        Kind::LateWordLatency => took("a word of it in the queue of a hub"),
        Kind::QuestionFate => pick(&[
            "its question fails before it has an effect",
            "its question takes effect, and the answer is lost",
            "its question fails at once, and takes effect later all the same",
        ]),
        Kind::CrashAtOutput => "it crashes between two of its commands".into(),
        Kind::CrashAnytime => "it crashes".into(),
        Kind::SilentCrash => "nobody is told of its end".into(),
        Kind::Cut => pick(&[
            "its connection is cut, and what was under way is lost",
            "its connection is cut, and what was under way still arrives",
        ]),
        Kind::HalfOpen => pick(&[
            "its connection goes dark towards the server",
            "its connection goes dark towards the client",
            "its connection goes dark in both directions",
        ]),
        Kind::EvictAtOutput => "its host drops it between two of its commands".into(),
        Kind::EvictAnytime => "its host drops it".into(),
        Kind::Pause => pick(&[
            "it is paused for 1 s, beside a successor",
            "it is paused for 3.5 s, beside a successor",
            "it is paused for 6 s, beside a successor",
        ]),
        Kind::Suspend => pick(&[
            "it is suspended with its hubs for 1 s, beside a successor",
            "it is suspended with its hubs for 4 s, beside a successor",
            "it is suspended with its hubs for 9 s, beside a successor",
        ]),
        Kind::DropConnection => "its connections to postgres are lost".into(),
        Kind::RestartPostgres => pick(&["it restarts", "it crashes and restarts"]),
        Kind::LoseSlot => pick(&["the slot is dropped", "the slot is invalidated"]),
        Kind::LoseAnnouncement => "an announcement to it is lost".into(),
        Kind::StoreFails => pick(&["its store fails before the effect", "its store fails after the effect"]),
        Kind::LoseStore => "its store is taken away by the platform".into(),
        Kind::HeldInvisible => "its commit is in the WAL and stays invisible for a while".into(),
        Kind::DialFails => "its dial fails".into(),
        Kind::SlowReader => "it reads nothing for a while".into(),
        Kind::Forge => format!("it sends forged message {}", choice.pick),
        Kind::ReadCut => format!("its read of the stream is cut to {} items", choice.pick),
        Kind::Leave => pick(&["it stops, and will return", "it stops and wants to be forgotten"]),
        Kind::DarkStream => "its stream goes dark".into(),
        Kind::Drain => "it is restarted in an orderly way".into(),
        Kind::StaleAnswers => "answers under way to its ended life are late".into(),
        Kind::StreamLag => "its stream lags".into(),
        Kind::CredentialEnds => "its credential runs out soon".into(),
        Kind::SilentRewrite => pick(&[
            "every value of t1 becomes NULL by a change of its type, and the stream does not tell",
            "every value of t0 becomes NULL by a change of its type, and the stream does not tell",
        ]),
        Kind::ReplaceTable => pick(&[
            "t0 is dropped and created again, and the stream does not tell",
            "t1 is dropped and created again, and the stream does not tell",
            "t0 gets another key, and the stream does not tell",
            "t1 gets another key, and the stream does not tell",
            "t0 is taken out of the publication, or put back",
            "t1 is taken out of the publication, or put back",
            "t0 is taken out of the publication, or put back without rows",
            "t1 is taken out of the publication, or put back without rows",
        ]),
        Kind::LoseSpool => "the copy of a snapshot that it reads is gone from its disk".into(),
        Kind::PoisonTransaction => "the transaction that it records ends its process, each time from now on".into(),
        Kind::CommitApart => "it reads the end of a transaction apart from its changes".into(),
        Kind::Flood => "the server sends more messages than it has room for".into(),
        Kind::RefuseRegistry => "the registry refuses for a while what it writes".into(),
        Kind::SlowStore => pick(&["its store is slow for 4 s", "its store is slow for 12 s"]),
        Kind::GarbleWelcome => "its welcome names another place".into(),
        Kind::LateWord => "a word of it reaches its hub, which has closed the session by then".into(),
        Kind::GarbleReplaced => "the server says that another session has taken its place".into(),
        Kind::ProvideCredential => "its application gives it another credential".into(),
        Kind::Garble => format!("what the server says arrives garbled in way {}", choice.pick),
        Kind::CopyDatabase => "a copy of it is kept".into(),
        Kind::RestoreDatabase => "it is restored from the copy, and the server is started again".into(),
        Kind::ServersGoOn => pick(&[
            "its servers are not stopped for that",
            "its servers are not stopped for that, and not told that their streams have ended",
        ]),
        Kind::OddAlarm => pick(&["its alarm comes late", "its alarm comes twice"]),
        Kind::ForeignWal => "tables that are not published change".into(),
        Kind::Keepalive => "a keepalive comes early".into(),
        Kind::SilentAlter => pick(&[
            "t1 gets a column with a default, and the stream does not tell",
            "t0 gets a column with a default, and the stream does not tell",
            "t1 gets a column and is rewritten, and the stream does not tell",
            "t0 gets a column and is rewritten, and the stream does not tell",
        ]),
        _ => choice.to_string(),
    };
    Draft::new(who, What::Choice, format!("{words} [{} #{}]", choice.kind.name(), choice.n))
}

/// A moment: what happens to whom, for which time of all since the run began.
#[must_use]
pub fn moment(moment: &Moment) -> String {
    let what = match moment.kind {
        Kind::QuestionLatency => "a question is asked by".into(),
        kind => subject::Kind::words(kind, 0),
    };
    format!("{what} {} ({} #{})", moment.entity, moment.kind.name(), moment.n)
}

/// A span of time for people.
fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}
