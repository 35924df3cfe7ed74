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
