//! Answers to what sessions read: history, chunks, snapshots.

use super::desk::Timer;
use super::retry::{Kind, Retry};
use super::ring::Cuts;
use super::{Hub, Output, ReadChunk, SnapshotTaken, Spool, TakeSnapshot};
use crate::ask::Answer;
use crate::fault::{Failure, FaultCode, PeerFault};
use crate::history::{Head, HistoryRead, ReadHistory};
use crate::position::Waypoint;
use crate::session::SessionId;
use crate::time::Timestamp;
use std::sync::Arc;

impl Hub {
    pub(super) fn on_history_read(&mut self, answer: Answer<ReadHistory>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let Some((memo, reply)) = self.desk.histories.take(&mut self.desk.asker, safeguards, answer) else { return };
        let read = match reply {
            Ok(read) => read,
            Err(Failure::Unavailable(_)) => {
                self.desk.histories.pause(memo);
                let at = self.desk.patience.failed(Kind::History, now, &self.desk.config);
                return self.desk.timers.set_at_latest(Timer::Histories, at);
            }
            Err(Failure::Refused(_)) => return self.refuse(&memo.sessions, now),
        };
        self.desk.patience.succeeded(Kind::History);
        let (HistoryRead::Page { head, .. }
        | HistoryRead::End { head }
        | HistoryRead::Pruned { head }
        | HistoryRead::OtherEra { head }) = &read;
        self.learn(head, now);
        let key = memo.key;
        match &read {
            HistoryRead::Page { page, .. } => {
                let mut cuts = Cuts::new(Arc::clone(page));
                for id in memo.sessions {
                    self.serve(id, now, |served, desk| match key.until {
                        None => served.on_history(&key, Some(&mut cuts), desk, now),
                        Some(_) => served.on_seam(&key, Some(page), desk, now),
                    });
                }
            }
            HistoryRead::End { head } => {
                if self.desk.head.is_some_and(|known| known.position() > head.position()) {
                    self.desk.ask_head(); // Either it has grown since, or it has lost its end.
                }
                // Nothing follows, and it is not the end: only an acknowledgement that was made up names a place that history has not.
                let made_up = head.position() > key.after;
                for id in memo.sessions {
                    self.serve(id, now, |served, desk| match key.until {
                        None if made_up => served.on_pruned(&key, desk, now),
                        None => served.on_history(&key, None, desk, now),
                        Some(_) => served.on_seam(&key, None, desk, now),
                    });
                }
            }
            HistoryRead::Pruned { .. } => {
                for id in memo.sessions {
                    self.serve(id, now, |served, desk| served.on_pruned(&key, desk, now));
                }
            }
            HistoryRead::OtherEra { .. } => {
                for id in memo.sessions {
                    self.serve(id, now, |served, desk| {
                        if served.awaits(&key, desk) {
                            served.stop_reading(); // The head is being read: it tells which era holds.
                            desk.retry_failed(Kind::History, Retry::Drive(id), now);
                        }
                    });
                }
            }
        }
    }

    pub(super) fn on_chunk_read(&mut self, answer: Answer<ReadChunk>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let Some((memo, reply)) = self.desk.chunks.take(&mut self.desk.asker, safeguards, answer) else { return };
        let chunk = match reply {
            Ok(chunk) => chunk,
            Err(Failure::Unavailable(_)) => {
                self.desk.chunks.pause(memo);
                let at = self.desk.patience.failed(Kind::Chunk, now, &self.desk.config);
                return self.desk.timers.set_at_latest(Timer::Chunks, at);
            }
            Err(Failure::Refused(_)) => return self.refuse(&memo.sessions, now),
        };
        self.desk.patience.succeeded(Kind::Chunk);
        let (spool, n) = memo.key;
        if chunk.is_none() {
            self.desk.spools.kill(spool);
        }
        for id in memo.sessions {
            self.serve(id, now, |served, desk| served.on_chunk(spool, n, chunk.as_ref(), desk, now));
        }
    }

    pub(super) fn on_snapshot_taken(&mut self, answer: Answer<TakeSnapshot>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let orphan = if let Ok(SnapshotTaken::Spooled(spool)) = &answer.reply { Some(spool.id) } else { None };
        let Some((no, reply)) = self.desk.spools.open.take(&mut self.desk.asker, safeguards, answer) else {
            // An earlier life asked for it.
            self.desk.outputs.extend(orphan.map(|spool| Output::DropSpool { spool }));
            return;
        };
        match reply {
            Ok(SnapshotTaken::Spooled(spool)) => {
                self.desk.patience.succeeded(Kind::Snapshot);
                match self.desk.spools.taken(no, &spool) {
                    Some(waiting) => self.on_spooled(&spool, waiting, now),
                    None => self.desk.outputs.push_back(Output::DropSpool { spool: spool.id }),
                }
            }
            Ok(SnapshotTaken::EraStarting) => self.desk.retry_snapshot(no, false, now),
            Ok(SnapshotTaken::OtherEra { head }) => {
                self.desk.retry_snapshot(no, true, now);
                self.learn(&head, now);
            }
            Err(Failure::Unavailable(_)) => self.desk.retry_snapshot(no, true, now),
            Err(Failure::Refused(_)) => {
                let waiting = self.desk.spools.given_up(no);
                self.refuse(&waiting, now);
            }
        }
    }

    /// A spool is on disk. When the schema has changed since it was asked for, one of the two is out of date.
    fn on_spooled(&mut self, spool: &Arc<Spool>, waiting: Vec<SessionId>, now: Timestamp) {
        let Some(head) = self.desk.head else { return };
        if spool.start.era == head.era() && spool.schema > head.schema() {
            let waypoint = Waypoint { schema: spool.schema, ..head.waypoint };
            self.learn(&Head { waypoint, ..head }, now);
        }
        let head = self.desk.head.unwrap_or(head);
        let current = (spool.start.era, spool.schema) == (head.era(), head.schema());
        if !current {
            self.desk.spools.kill(spool.id);
        }
        for id in waiting {
            self.serve(id, now, |served, desk| {
                if current {
                    served.drive(desk, now);
                } else if served.waits_for_spool(spool.id, desk) {
                    served.restart_backfill(desk, now);
                }
            });
        }
        self.desk.drop_spools(false, now);
    }

    /// The database will refuse this for ever: an operator must act before these sessions can be served.
    fn refuse(&mut self, sessions: &[SessionId], now: Timestamp) {
        for &id in sessions {
            self.close(id, Some(refused()), now);
        }
    }
}

/// What a session is told when the database refuses.
pub(super) fn refused() -> PeerFault {
    let message = "the server's database refuses what this session needs; its operator finds the reason in the log";
    PeerFault::new(FaultCode::Unavailable, message)
}
