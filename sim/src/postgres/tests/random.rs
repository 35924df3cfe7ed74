//! Random runs: whatever happens, a replica that follows the rules shows the truth, and one that bends a rule is caught.

use super::*;
use dormouse_core::replication::Prune;
use dormouse_core::rng::Rng;

/// Which rule of the seam a replica bends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bent {
    Nothing,
    Unfiltered,
    EndsAtXmax,
    ReadsEarly,
}

struct Run {
    rig: Rig,
    rng: Rng,
    bent: Bent,
    stores: Vec<MemoryStore>,
    /// Backfills that the bent rule spoiled.
    spoiled: u32,
}

impl Run {
    fn new(seed: u64, bent: Bent) -> Self {
        let mut rig = Rig::before_the_era();
        rig.pg.config.own_xids = seed.is_multiple_of(2);
        rig.pg.run(rig.now, &[insert(1), insert(2)]);
        rig.begin_era();
        Self { rig, rng: Rng::new(seed), bent, stores: Vec::new(), spoiled: 0 }
    }

    fn step(&mut self) {
        self.rig.now = self.rig.now + Duration::from_millis(10);
        match self.rng.below(40) {
            0..10 => {
                let tx = self.rig.pg.begin();
                self.write(tx);
            }
            10..20 => {
                if let Some(tx) = self.one(true) {
                    self.write(tx);
                }
            }
            20..25 => {
                if let Some(tx) = self.one(true) {
                    self.rig.pg.commit(self.rig.now, tx);
                }
            }
            25..29 => {
                if let Some(tx) = self.one(false) {
                    self.rig.pg.make_visible(tx);
                }
            }
            29 => {
                if let Some(tx) = self.one(true) {
                    self.rig.pg.abort(tx);
                }
            }
            30..33 => self.record(),
            33..36 => self.backfill(),
            36..38 => self.follow(),
            38 => self.prune(),
            _ => self.crash(),
        }
    }

    fn one(&mut self, open: bool) -> Option<TxId> {
        let pg = &self.rig.pg;
        let all: Vec<_> = if open { pg.open().collect() } else { pg.invisible().collect() };
        let n = self.rng.below(all.len() as u64);
        all.get(usize::try_from(n).expect("few")).copied()
    }

    fn write(&mut self, tx: TxId) {
        let (table, key, value) = (self.rng.below(2) as usize, self.rng.below(12), self.rng.below(1_000));
        let write = match self.rng.below(40) {
            0..18 => Write::Insert { table, key, value },
            18..29 => Write::Update { table, key, value, large: value.is_multiple_of(2) },
            29..34 => Write::Move { table, key, to: self.rng.below(12), value },
            34..39 => Write::Delete { table, key },
            _ => Write::Truncate { table },
        };
        let _ = self.rig.pg.write(tx, write); // Postgres would wait, or refuse.
    }

    fn record(&mut self) {
        let piece = 1 + self.rng.below(4) as usize;
        self.rig.record(piece);
        assert!(self.rig.pg.unrecorded_below(self.rig.pg.insert_lsn()).is_none());
        self.rig.pg.confirm(self.rig.stream, self.rig.pg.head().expect("an era").covered);
        if self.rng.below(4) == 0 {
            self.rig.pg.checkpoint();
        }
    }

    fn backfill(&mut self) {
        let era = self.rig.pg.era().expect("an era");
        let ask = TakeSnapshot { era, scope: Scope::All, await_era_start: true };
        let Ok(SnapshotBegun::Begun(id)) = self.rig.pg.snapshot_begin(&ask) else { return };
        for _ in 0..self.rng.below(3) {
            if let Some(tx) = self.one(true) {
                self.write(tx);
                self.rig.pg.commit(self.rig.now, tx);
            }
        }
        let Ok(SnapshotTaken::Spooled(spool)) = self.rig.pg.snapshot_finish(id) else { panic!("it was begun") };
        let bent = self.bent;
        if bent != Bent::ReadsEarly {
            self.record(); // Covered reaches F.
        }
        let (mut beyond, snapshot) = (false, &spool.snapshot);
        let store = self.rig.backfill(&spool, |transaction| {
            let keep = beyond || bent == Bent::Unfiltered || !snapshot.sees(transaction.xid);
            beyond |= bent == Bent::EndsAtXmax && transaction.xid >= snapshot.xmax;
            keep
        });
        self.rig.pg.drop_spool(id);
        let held = store.held();
        let right = held.anomalies == 0 && self.rig.judge(held) == Verdict::Right;
        assert!(right || bent != Bent::Nothing, "{held:?} {:?}", self.rig.judge(held));
        if right {
            self.stores.push(store);
        } else {
            self.spoiled += 1;
        }
    }

    fn follow(&mut self) {
        if self.bent != Bent::Nothing {
            return;
        }
        for mut store in std::mem::take(&mut self.stores) {
            let after = store.held().shown.expect("shown").position;
            if matches!(self.rig.read(after, None, 2), HistoryRead::Pruned { .. }) {
                continue;
            }
            let held = self.rig.follow(&mut store);
            assert_eq!((held.anomalies, self.rig.judge(held)), (0, Verdict::Right));
            self.stores.push(store);
        }
    }

    fn prune(&mut self) {
        let (keep_min, keep_max) = (Duration::from_millis(100), Duration::from_millis(200));
        done(self.rig.pg.ask_prune(self.rig.now, &Prune { token: self.rig.token, keep_min, keep_max }));
    }

    fn crash(&mut self) {
        self.rig.pg.crash();
        self.rig.take_lease("a");
        self.rig.start_stream();
    }
}

fn spoiled(bent: Bent) -> u32 {
    let run = |seed| {
        let mut run = Run::new(seed, bent);
        (0..120).for_each(|_| run.step());
        run.spoiled
    };
    (0..200).map(run).sum()
}

#[test]
fn a_replica_that_follows_the_rules_shows_the_truth() {
    assert_eq!(spoiled(Bent::Nothing), 0);
}

#[test]
fn each_rule_of_the_seam_is_needed() {
    for bent in [Bent::Unfiltered, Bent::EndsAtXmax, Bent::ReadsEarly] {
        assert!(spoiled(bent) > 0, "{bent:?} was never caught");
    }
}
