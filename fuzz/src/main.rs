//! The fuzzer: libFuzzer around the target that `SLUICE_FUZZ_TARGET` names. Without a name it prints all of them.
#![no_main]

use sluice_fuzz::{TARGETS, Target, named};
use std::sync::OnceLock;

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("SLUICE_FUZZ_TARGET").unwrap_or_default();
        named(&name).unwrap_or_else(|| {
            for target in TARGETS {
                println!("{} {} {}", target.name, target.share, target.longest);
            }
            std::process::exit(0)
        })
    })
}

libfuzzer_sys::fuzz_target!(init: { let _ = chosen(); }, |data: &[u8]| { (chosen().run)(data) });
