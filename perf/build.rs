//! Tells the program which compiler made it: instructions may be compared only if it is the same.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(compiler).arg("--version").output();
    let version = said.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    // "rustc 1.95.0 (59807616e 2026-04-14)"
    let version = version.as_deref().and_then(|text| text.split_whitespace().nth(1));
    println!("cargo:rustc-env=SLUICE_PERF_RUSTC={}", version.unwrap_or("unknown"));
}
