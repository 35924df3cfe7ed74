//! `ablate`: every safeguard is load-bearing, or it is a defect.

use super::{AblateArgs, USAGE};
use dormouse_core::safeguard::{ABLATION, Safeguard, Safeguards};

const BUILD: &str = "cargo run --release -p dormouse-sim --features ablation --target-dir target/ablation -- ablate";

pub(super) fn run(args: &AblateArgs) -> u8 {
    if !ABLATION {
        eprintln!("the safeguards of this build cannot be switched off; run: {BUILD}");
        return USAGE;
    }
    ablated::run(args)
}

/// All safeguards but one.
pub(super) fn without(name: &str) -> Result<Safeguards, String> {
    if !ABLATION {
        return Err(format!("the safeguards of this build cannot be switched off; build as in: {BUILD}"));
    }
    let safeguard = find(name)?;
    Ok(ablated::without(safeguard))
}

/// The safeguard of this name.
pub(super) fn find(name: &str) -> Result<Safeguard, String> {
    let found = Safeguard::ALL.iter().copied().find(|safeguard| safeguard.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let names: Vec<_> = Safeguard::ALL.iter().map(|safeguard| safeguard.name()).collect();
        format!("{name:?} is no safeguard: {}", names.join(", "))
    })
}

#[cfg(feature = "ablation")]
pub(super) mod ablated;
#[cfg(feature = "ablation")]
mod oracles;
#[cfg(feature = "ablation")]
mod scenarios;
#[cfg(feature = "ablation")]
mod ways;

#[cfg(not(feature = "ablation"))]
mod ablated {
    use super::{AblateArgs, Safeguard, Safeguards, USAGE};

    pub(super) const fn run(_: &AblateArgs) -> u8 {
        USAGE
    }

    pub(super) const fn without(_: Safeguard) -> Safeguards {
        Safeguards::ALL
    }
}
