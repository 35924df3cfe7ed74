//! Epochs, which fence: taken for all greetings that wait by one upsert.

use super::registry::{Columns, stored};
use super::types::{micros, signed, unsigned};
use super::{Database, failure};
use dormouse_core::fault::Failure;
use dormouse_core::hub::{EpochTaken, REPLACED_MAX, StoredPosition, TakeEpoch};
use dormouse_core::session::Epoch;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

/// One upsert: of two first greetings at once, one inserts and the other updates. Epochs come from a sequence, so that they
/// never start again when a row is gone. A greeting that waited for the row's lock while another took a later number takes a
/// number again: the row's epoch never falls, so that the session it fenced stays fenced. Rows are locked in the order of
/// their ids, as everywhere. An instance that is replaced is remembered, up to eight of them (`REPLACED_MAX`), and takes the row no more.
const TAKE_EPOCHS: &str = "insert into dormouse.client as c (id, instance, attempt, epoch, expires_at, \
       era_counter, era_id, schema, commit_lsn, index, xid, committed_at) \
     select n.id, n.instance, n.attempt, nextval('dormouse.epoch'), clock_timestamp() + n.ttl * interval '1 microsecond', \
       n.era_counter, n.era_id, n.schema, n.commit_lsn, n.index, n.xid, n.committed_at \
     from (select * from unnest($1::text[], $2::int8[], $3::int8[], $4::float8[], $5::int4[], $6::int8[], $7::int4[], \
                  $8::pg_lsn[], $9::int8[], $10::xid8[], $11::timestamptz[]) \
             u (id, instance, attempt, ttl, era_counter, era_id, schema, commit_lsn, index, xid, committed_at) \
           order by id) n \
     on conflict (id) do update set instance = excluded.instance, attempt = excluded.attempt, \
       epoch = case when excluded.epoch > c.epoch then excluded.epoch else nextval('dormouse.epoch') end, \
       expires_at = excluded.expires_at, seen_at = now(), \
       replaced = case when c.instance is null or c.instance is not distinct from excluded.instance then c.replaced \
         else (c.instance || c.replaced)[1:8] end, \
       era_counter = case when c.id = any($12::text[]) then c.era_counter else excluded.era_counter end, \
       era_id = case when c.id = any($12) then c.era_id else excluded.era_id end, \
       schema = case when c.id = any($12) then c.schema else excluded.schema end, \
       commit_lsn = case when c.id = any($12) then c.commit_lsn else excluded.commit_lsn end, \
       index = case when c.id = any($12) then c.index else excluded.index end, \
       xid = case when c.id = any($12) then c.xid else excluded.xid end, \
       committed_at = case when c.id = any($12) then c.committed_at else excluded.committed_at end \
     where (excluded.instance is null or c.instance is distinct from excluded.instance or excluded.attempt > c.attempt) \
       and not (c.id = any($13::text[]) and coalesce(excluded.instance = any(c.replaced), false)) \
     returning c.epoch, c.era_counter, c.era_id, c.schema, c.commit_lsn, c.index, c.xid, c.committed_at, c.id";

/// Who of those that took no epoch was replaced before.
const FIND_REPLACED: &str = "select c.id from unnest($1::text[], $2::int8[]) as u (id, instance) \
     join dormouse.client c using (id) where u.instance = any(c.replaced)";
const _: () = assert!(REPLACED_MAX == 8, "the statement above says so, too");

impl Database {
    /// Takes the epochs of greetings, in their order.
    pub(super) async fn take_epochs(&self, batch: Vec<TakeEpoch>) -> Vec<Result<EpochTaken, Failure>> {
        let mut answers: Vec<_> = batch.iter().map(|_| None).collect();
        let mut rest: Vec<usize> = (0..batch.len()).collect();
        while !rest.is_empty() {
            // A statement takes one row per client: a client's further greetings go in later rounds.
            let mut met = BTreeSet::new();
            let (round, later): (Vec<_>, Vec<_>) = rest.into_iter().partition(|n| met.insert(&batch[*n].client));
            rest = later;
            let questions: Vec<&TakeEpoch> = round.iter().map(|n| &batch[*n]).collect();
            for (n, answer) in round.iter().zip(self.take_round(&questions).await) {
                answers[*n] = Some(answer);
            }
        }
        answers.into_iter().map(|answer| answer.expect("every greeting was in a round")).collect()
    }

    async fn take_round(&self, round: &[&TakeEpoch]) -> Vec<Result<EpochTaken, Failure>> {
        match self.upsert(round).await {
            Ok(taken) => taken.into_iter().map(Ok).collect(),
            // The server says that nothing was done: a row that somebody holds locked is the trouble of one client only.
            Err((_, true)) if round.len() > 1 => {
                let alone = join_all(round.iter().map(|q| async { self.upsert(std::slice::from_ref(q)).await })).await;
                let one = |taken: Vec<EpochTaken>| taken.into_iter().next().unwrap_or(EpochTaken::Stale);
                alone.into_iter().map(|taken| taken.map(one).map_err(|(why, _)| why)).collect()
            }
            Err((why, _)) => round.iter().map(|_| Err(why.clone())).collect(),
        }
    }

    /// One statement, for distinct clients. A failure comes with whether it is sure that nothing was done.
    async fn upsert(&self, round: &[&TakeEpoch]) -> Result<Vec<EpochTaken>, (Failure, bool)> {
        let failed = |error: Error| {
            let undone = error.as_db_error().is_some();
            (failure::of(error), undone)
        };
        let ids: Vec<&str> = round.iter().map(|q| q.client.as_str()).collect();
        let instances: Vec<Option<i64>> = round.iter().map(|q| q.instance.map(signed)).collect();
        let attempts: Vec<i64> = round.iter().map(|q| signed(q.attempt)).collect();
        let ttls: Vec<f64> = round.iter().map(|q| micros(q.ttl)).collect();
        let p = Columns::of(round.iter().map(|q| match q.position {
            StoredPosition::Set(waypoint) => Some(waypoint),
            StoredPosition::Keep | StoredPosition::Clear => None,
        }));
        let kept: Vec<&str> =
            round.iter().filter(|q| q.position == StoredPosition::Keep).map(|q| q.client.as_str()).collect();
        let apart: Vec<&str> = round.iter().filter(|q| q.apart).map(|q| q.client.as_str()).collect();
        let client = self.pool().get().await.map_err(|why| (why, false))?;
        let sql = client.prepare_cached(TAKE_EPOCHS).await.map_err(failed)?;
        let rows = client
            .query(
                &sql,
                &[
                    &ids,
                    &instances,
                    &attempts,
                    &ttls,
                    &p.era_counters,
                    &p.era_ids,
                    &p.schemas,
                    &p.commit_lsns,
                    &p.indices,
                    &p.xids,
                    &p.times,
                    &kept,
                    &apart,
                ],
            )
            .await
            .map_err(failed)?;
        let mut taken: BTreeMap<&str, EpochTaken> = rows
            .iter()
            .map(|row| {
                let taken = EpochTaken::Taken { epoch: Epoch(unsigned(row.get(0))), stored: stored(row, 1) };
                (row.get(8), taken)
            })
            .collect();
        let refused: Vec<&&TakeEpoch> =
            round.iter().filter(|q| !taken.contains_key(q.client.as_str()) && q.apart).collect();
        let mut replaced = Vec::new();
        if !refused.is_empty() {
            // Others may have taken theirs: of a failure here it is not sure that nothing was done.
            let failed = |error: Error| (failure::of(error), false);
            let sql = client.prepare_cached(FIND_REPLACED).await.map_err(failed)?;
            let ids: Vec<&str> = refused.iter().map(|q| q.client.as_str()).collect();
            let instances: Vec<Option<i64>> = refused.iter().map(|q| q.instance.map(signed)).collect();
            replaced = client.query(&sql, &[&ids, &instances]).await.map_err(failed)?;
        }
        taken.extend(replaced.iter().map(|row| (row.get(0), EpochTaken::Apart)));
        Ok(ids.iter().map(|id| taken.get(id).cloned().unwrap_or(EpochTaken::Stale)).collect())
    }
}
