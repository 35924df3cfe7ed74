use super::*;
use crate::chooser::{Chooser, Kind};
use crate::entity::Entity;

fn chooser(seed: u64) -> Chooser {
    Chooser::new(seed, 32, Source::Random)
}

#[test]
fn the_mixer_keeps_its_vectors() {
    assert_eq!(mix(0), 0);
    assert_eq!([mix(1), mix(2), mix(u64::MAX)], [0x4179_b061_e0c0_e0d0, 0x1c99_6330_5feb_c252, 0x448e_29ce_d410_3459]);
    assert_eq!(keyed(1, 2, 3, 4), 0xeb7f_617b_5088_6800);
}

#[test]
fn a_draw_of_one_entity_never_disturbs_another() {
    let (mut a, mut b) = (chooser(7), chooser(7));
    b.draw(Kind::Work, Entity::Client(1), 10);
    b.draw(Kind::Cut, Entity::Client(0), 10);
    for _ in 0..100 {
        let pick = |c: &mut Chooser| c.choose(Timestamp::ZERO, Kind::Work, Entity::Client(0), 100, ALWAYS / 2);
        assert_eq!(pick(&mut a), pick(&mut b));
    }
    assert_eq!(a.made, b.made);
}

#[test]
fn weights_are_probabilities_and_quiet_is_zero() {
    let mut chooser = chooser(9);
    let mut pick = || chooser.choose(Timestamp::ZERO, Kind::Cut, Entity::World, 4, per_mille(100));
    let picks: Vec<_> = (0..10_000).map(|_| pick()).collect();
    let loud = picks.iter().filter(|pick| **pick != 0).count();
    assert!((900..1_100).contains(&loud), "{loud} of 10,000 at a tenth");
    assert!((1..4).all(|n| picks.contains(&n)) && !picks.contains(&4));
    chooser.hush();
    let mut pick = || chooser.choose(Timestamp::ZERO, Kind::Cut, Entity::World, 4, ALWAYS);
    assert!((0..100).all(|_| pick() == 0));
}

const MOMENTS: [(Kind, Entity); 2] = [(Kind::Dialled, Entity::Client(1)), (Kind::Woke, Entity::Hub(0))];

fn delay(chooser: &mut Chooser, weight: u32) -> crate::chooser::Answer<Kind, Entity> {
    let moments = Moments { of: &MOMENTS, weight };
    chooser.delay(Timestamp::ZERO, Kind::FrameLatency, Entity::Client(0), (5, per_mille(300)), moments)
}

#[test]
fn what_is_held_changes_no_other_choice() {
    let (mut with, mut without) = (chooser(3), chooser(3));
    for n in 0..200 {
        let plain = delay(&mut without, 0);
        match delay(&mut with, per_mille(200)) {
            Answer::HoldUntil(_) => {}
            pick => assert_eq!(pick, plain, "choice {n}"),
        }
    }
    let held = with.made.iter().filter(|choice| choice.until.is_some()).count();
    assert!((20..60).contains(&held), "{held} of 200 at a fifth");
}

#[test]
fn a_moment_is_past_once_it_has_happened_so_often() {
    let mut chooser = chooser(3);
    chooser.passes(Kind::Dialled, Entity::Client(1));
    let told = Told::Hold { until: (Kind::Dialled, Entity::Client(1)), times: 2 };
    let answer = chooser.told_to_delay(Timestamp::ZERO, (Kind::FrameLatency, Entity::Client(0)), 5, told);
    let until = Moment { kind: Kind::Dialled, entity: Entity::Client(1), n: 2 };
    assert_eq!(answer, Answer::HoldUntil(until));
    chooser.passes(Kind::Dialled, Entity::Client(0));
    chooser.passes(Kind::Dialled, Entity::Client(1));
    assert!(!chooser.is_past(until));
    chooser.passes(Kind::Dialled, Entity::Client(1));
    assert!(chooser.is_past(until));
}

#[test]
fn bytes_hold_too_and_a_script_holds_what_its_line_says() {
    let source = Source::Bytes(Bytes::new(&[0, 7, 255, 255, 255]));
    let mut from_bytes = Chooser::new(3, 32, source);
    let Answer::HoldUntil(until) = delay(&mut from_bytes, 1) else { panic!("the byte 7 lies beyond four picks") };
    let script: Script<Kind, Entity> = from_bytes.made.iter().copied().collect();
    let mut scripted = Chooser::new(4, 32, Source::Script(script));
    assert_eq!(delay(&mut scripted, 0), Answer::HoldUntil(until));
    assert_eq!(delay(&mut scripted, 0), Answer::Pick(0));
    assert!(scripted.unused().is_empty());
    let mut quiet = Chooser::new(3, 32, Source::Random);
    quiet.hush();
    assert!((0..100).all(|_| delay(&mut quiet, ALWAYS) == Answer::Pick(0)), "what rests holds nothing");
}
