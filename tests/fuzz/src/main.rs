//! One fuzzer for every decoder that a stranger's bytes reach: one binary, the target named by `PUENTE_FUZZ_TARGET`.
//!
//! A target fails by panicking, by running out of memory or time, and by breaking what its decoder promises: that
//! whatever is accepted has one encoding, or proves what it says.
#![no_main]

mod groups;
mod seeds;
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Target = (&'static str, fn(&[u8]));

static TARGET: OnceLock<Target> = OnceLock::new();

/// Picks the target; with `PUENTE_FUZZ_SEEDS=DIR` writes every target's seeds below DIR, and with `PUENTE_FUZZ_LIST`
/// prints the targets' names, and ends.
fn choose() {
    if std::env::var_os("PUENTE_FUZZ_LIST").is_some() {
        targets::ALL.iter().for_each(|(name, _)| println!("{name}"));
        std::process::exit(0);
    }
    if let Some(dir) = std::env::var_os("PUENTE_FUZZ_SEEDS") {
        seeds::write(dir.as_ref());
        std::process::exit(0);
    }
    let wanted = std::env::var("PUENTE_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = targets::ALL.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("PUENTE_FUZZ_TARGET names no target; PUENTE_FUZZ_LIST=1 lists them");
        std::process::exit(2);
    };
    // Set once: libFuzzer initialises once.
    let _ = TARGET.set(*target);
}

fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some((_, run)) = TARGET.get() {
        run(data);
    }
});
