//! Compiles the uplink's XDP program. Stable Rust has no BPF target, so it is C and needs clang.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const SOURCE: &str = "src/xdp/sluice_uplink.bpf.c";

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("sluice_uplink.bpf.o");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut command = Command::new(&clang);
    command.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror"]);
    // Debian keeps asm/ in a folder for each architecture, where the bpf target does not look.
    let headers = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&headers).is_dir() {
        command.arg("-I").arg(headers);
    }
    command.args(["-c", SOURCE, "-o"]).arg(&out);
    match command.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => fail(&format!(
            "{clang} cannot compile {SOURCE}:\n{}",
            String::from_utf8_lossy(&done.stderr)
        )),
        Err(err) => fail(&format!("cannot run {clang}: {err}")),
    }
}

fn fail(what: &str) -> ! {
    eprintln!(
        "{what}\nThe XDP program needs clang and the kernel's headers: apt install clang linux-libc-dev, or set CLANG."
    );
    exit(1);
}
