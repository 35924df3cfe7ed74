//! The command `dormouse-sim`.
fn main() {}
