//! Coverage-guided choices: the bytes say what goes wrong in a world, and no promise may break.

#![no_main]

use dormouse_sim::corpus;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let world = corpus::run(bytes);
    if let Some(violation) = &world.violation {
        panic!("{violation:?}\n{}", corpus::trace(&world));
    }
});
