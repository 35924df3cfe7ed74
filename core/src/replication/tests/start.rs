//! From the lease to the stream.

use super::rig::*;
use crate::position::Lsn;
use crate::replication::*;
use crate::source::SlotState;
use expect_test::expect;

fn check_start(facts: &[Fact], expected: &expect_test::Expect) {
    let mut rig = Rig::new(small());
    rig.run(facts);
    rig.expect(expected);
}

#[test]
fn a_kept_era_goes_on_from_the_slot() {
    check_start(
        &start(true),
        &expect![[r#"
        Started
          take lease as a
        Taken(Ok(Taken { token: Token(1), clean: true }))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          load progress under 1
        Loaded: 0/8 covered 0/10
          announce 0/8 xid 90 schema 1 covered 0/10
          start stream from 0/10
        StreamStarted(Ok(()))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          read source
    "#]],
    );
}

#[test]
fn without_history_an_era_begins_at_a_new_slot() {
    let facts = [
        Fact::Started,
        taken(1, true),
        inspected(None),
        Fact::Loaded(done(None)),
        Fact::Created(done(Lsn(0x1c))),
        Fact::Settled(done(Lsn(0x20))),
        Fact::Begun(done(head(0x1f, 0, 0x20))),
        stream_started(),
        inspected(Some(0x20)),
    ];
    check_start(
        &facts,
        &expect![[r#"
            Started
              take lease as a
            Taken(Ok(Taken { token: Token(1), clean: true }))
              inspect source under 1
            Inspected: no slot
              load progress under 1
            Loaded(Ok(Done(None)))
              create slot under 1
            Created(Ok(Done(0/1C)))
              settle slot under 1
            Settled(Ok(Done(0/20)))
              begin era at 0/20: the first era
            Begun: 1-000000000000000e at 0/1F
              announce 0/1F xid 0 schema 1 covered 0/20
              start stream from 0/20
            StreamStarted(Ok(()))
              inspect source under 1
            Inspected: slot at 0/20 usable true
              read source
        "#]],
    );
}

#[test]
fn a_slot_without_history_is_adopted() {
    let facts = [
        Fact::Started,
        taken(1, true),
        inspected(Some(0x20)),
        Fact::Loaded(done(None)),
        Fact::Settled(done(Lsn(0x28))),
    ];
    check_start(
        &facts,
        &expect![[r#"
            Started
              take lease as a
            Taken(Ok(Taken { token: Token(1), clean: true }))
              inspect source under 1
            Inspected: slot at 0/20 usable true
              load progress under 1
            Loaded(Ok(Done(None)))
              settle slot under 1
            Settled(Ok(Done(0/28)))
              begin era at 0/28: the first era
        "#]],
    );
}

#[test]
fn a_slot_beyond_history_begins_an_era() {
    let facts = [
        Fact::Started,
        taken(1, true),
        inspected(Some(0x18)),
        loaded(head(8, 90, 0x10)),
        Fact::Settled(done(Lsn(0x20))),
    ];
    check_start(
        &facts,
        &expect![[r#"
            Started
              take lease as a
            Taken(Ok(Taken { token: Token(1), clean: true }))
              inspect source under 1
            Inspected: slot at 0/18 usable true
              load progress under 1
            Loaded: 0/8 covered 0/10
              settle slot under 1
            Settled(Ok(Done(0/20)))
              begin era at 0/20: the replication slot stands at 0/18, but history ends at 0/10
        "#]],
    );
}

#[test]
fn the_slot_of_an_era_without_transactions_joins_its_start() {
    let facts = [Fact::Started, taken(1, true), inspected(Some(0x20)), loaded(head(0x1f, 0, 0x20))];
    check_start(
        &facts,
        &expect![[r#"
            Started
              take lease as a
            Taken(Ok(Taken { token: Token(1), clean: true }))
              inspect source under 1
            Inspected: slot at 0/20 usable true
              load progress under 1
            Loaded: 0/1F covered 0/20
              announce 0/1F xid 0 schema 1 covered 0/20
              start stream from 0/20
        "#]],
    );
}

#[test]
fn another_cluster_begins_an_era() {
    let Fact::Inspected(Ok(Fenced::Done(mut state))) = inspected(Some(0x10)) else { unreachable!("built so") };
    state.evidence.system_identifier = 78;
    let facts = [
        Fact::Started,
        taken(1, true),
        Fact::Inspected(done(state)),
        loaded(head(8, 90, 0x10)),
        Fact::Settled(done(Lsn(0x18))),
    ];
    check_start(
        &facts,
        &expect![[r#"
            Started
              take lease as a
            Taken(Ok(Taken { token: Token(1), clean: true }))
              inspect source under 1
            Inspected: slot at 0/10 usable true
              load progress under 1
            Loaded: 0/8 covered 0/10
              settle slot under 1
            Settled(Ok(Done(0/18)))
              begin era at 0/18: the database cluster is another one (system identifier 78, was 77)
        "#]],
    );
}

#[test]
fn a_new_timeline_keeps_the_era() {
    let Fact::Inspected(Ok(Fenced::Done(mut state))) = inspected(Some(0x10)) else { unreachable!("built so") };
    state.evidence.timeline = 2;
    let facts = [Fact::Started, taken(1, true), Fact::Inspected(done(state)), loaded(head(8, 90, 0x10))];
    check_start(
        &facts,
        &expect![[r#"
        Started
          take lease as a
        Taken(Ok(Taken { token: Token(1), clean: true }))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          load progress under 1
        Loaded: 0/8 covered 0/10
          announce 0/8 xid 90 schema 1 covered 0/10
          start stream from 0/10
    "#]],
    );
}

#[test]
fn an_unusable_slot_is_made_anew() {
    let Fact::Inspected(Ok(Fenced::Done(mut state))) = inspected(None) else { unreachable!("built so") };
    state.slot = Some(SlotState { confirmed: Lsn(0x10), usable: false });
    let facts = [
        Fact::Started,
        taken(1, true),
        Fact::Inspected(done(state)),
        loaded(head(8, 90, 0x10)),
        Fact::Created(done(Lsn(0x38))),
        Fact::Settled(done(Lsn(0x40))),
    ];
    check_start(
        &facts,
        &expect![[r#"
            Started
              take lease as a
            Taken(Ok(Taken { token: Token(1), clean: true }))
              inspect source under 1
            Inspected: slot at 0/10 usable false
              load progress under 1
            Loaded: 0/8 covered 0/10
              create slot under 1
            Created(Ok(Done(0/38)))
              settle slot under 1
            Settled(Ok(Done(0/40)))
              begin era at 0/40: the replication slot was lost, or made for another plugin or database
        "#]],
    );
}

#[test]
fn a_slot_that_is_replaced_before_the_stream_holds_it_is_noticed() {
    let mut facts = start(true);
    facts.pop();
    facts.extend([inspected(Some(0x50)), ms(200), inspected(Some(0x50)), loaded(head(8, 90, 0x10))]);
    check_start(
        &facts,
        &expect![[r#"
            Started
              take lease as a
            Taken(Ok(Taken { token: Token(1), clean: true }))
              inspect source under 1
            Inspected: slot at 0/10 usable true
              load progress under 1
            Loaded: 0/8 covered 0/10
              announce 0/8 xid 90 schema 1 covered 0/10
              start stream from 0/10
            StreamStarted(Ok(()))
              inspect source under 1
            Inspected: slot at 0/50 usable true
              stop stream
            Later(200ms)
              inspect source under 1
            Inspected: slot at 0/50 usable true
              load progress under 1
            Loaded: 0/8 covered 0/10
              settle slot under 1
        "#]],
    );
}

#[test]
fn a_history_that_lost_what_was_announced_begins_an_era() {
    for (found, ends) in [(head(4, 80, 6), "0/4 xid 80"), (head(8, 91, 0x10), "0/8 xid 91")] {
        let mut rig = Rig::streaming(small());
        let settled = Fact::Settled(done(Lsn(0x20)));
        rig.run(&[Fact::Read(unavailable()), ms(200), inspected(Some(6)), loaded(found), settled]);
        let said = format!("history ends at {ends} and 0/8 xid 90 was announced: the database was restored");
        assert!(rig.log().contains(&said), "{}", rig.log());
    }
    let mut rig = Rig::streaming(small());
    rig.run(&[Fact::Read(unavailable()), ms(200), inspected(Some(6)), loaded(head(0x14, 95, 0x16))]);
    assert!(rig.log().contains("start stream"), "one that grew is continued: {}", rig.log());
}

#[test]
fn tables_that_changed_meanwhile_raise_the_schema_before_the_stream_starts() {
    let Fact::Inspected(Ok(Fenced::Done(mut state))) = inspected(Some(0x10)) else { unreachable!("built so") };
    state.fingerprints = tables(&["id", "new"]);
    let facts = [
        Fact::Started,
        taken(1, true),
        Fact::Inspected(done(state.clone())),
        loaded(head(8, 90, 0x10)),
        Fact::Raised(done(crate::position::SchemaVersion(2))),
        stream_started(),
        Fact::Inspected(done(state)),
    ];
    check_start(
        &facts,
        &expect![[r#"
        Started
          take lease as a
        Taken(Ok(Taken { token: Token(1), clean: true }))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          load progress under 1
        Loaded: 0/8 covered 0/10
          raise schema: the columns of public.t changed
        Raised(Ok(Done(SchemaVersion(2))))
          announce 0/8 xid 90 schema 2 covered 0/10
          start stream from 0/10
        StreamStarted(Ok(()))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          read source
    "#]],
    );
}

#[test]
fn trouble_on_the_way_begins_it_again() {
    let facts = [
        Fact::Started,
        taken(1, true),
        inspected(Some(0x10)),
        Fact::Loaded(unavailable()),
        ms(200),
        inspected(Some(0x10)),
        loaded(head(8, 90, 0x10)),
        Fact::StreamStarted(unavailable()),
        ms(400),
    ];
    check_start(
        &facts,
        &expect![[r#"
        Started
          take lease as a
        Taken(Ok(Taken { token: Token(1), clean: true }))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          load progress under 1
        Loaded(Err(Unavailable("gone")))
        Later(200ms)
          inspect source under 1
        Inspected: slot at 0/10 usable true
          load progress under 1
        Loaded: 0/8 covered 0/10
          announce 0/8 xid 90 schema 1 covered 0/10
          start stream from 0/10
        StreamStarted(Err(Unavailable("gone")))
          stop stream
        Later(400ms)
          inspect source under 1
    "#]],
    );
}

#[test]
fn a_refusal_is_for_the_operator() {
    let refused = crate::fault::Failure::Refused("wal_level is replica: set it to logical and restart Postgres".into());
    let facts = [Fact::Started, taken(1, true), Fact::Inspected(Err(refused)), Fact::Stopping];
    check_start(
        &facts,
        &expect![[r#"
        Started
          take lease as a
        Taken(Ok(Taken { token: Token(1), clean: true }))
          inspect source under 1
        Inspected(Err(Refused("wal_level is replica: set it to logical and restart Postgres")))
          halt refused: wal_level is replica: set it to logical and restart Postgres
        Stopping
          stopped
    "#]],
    );
}
