//! Compiles the XDP programs. Stable Rust has no BPF target, so they are C and need clang.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const FOLDER: &str = "src/xdp";
const PROGRAMS: [&str; 2] = ["sluice_uplink", "sluice_everything"];

fn main() {
    println!("cargo:rerun-if-changed={FOLDER}/sluice.bpf.h");
    println!("cargo:rerun-if-env-changed=CLANG");
    PROGRAMS.iter().for_each(|name| compile(name));
}

fn compile(name: &str) {
    let source = format!("{FOLDER}/{name}.bpf.c");
    println!("cargo:rerun-if-changed={source}");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join(format!("{name}.bpf.o"));
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut command = Command::new(&clang);
    command.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror"]);
    // Debian keeps asm/ in a folder for each architecture, where the bpf target does not look.
    let headers = format!("/usr/include/{arch}-linux-gnu");
    if Path::new(&headers).is_dir() {
        command.arg("-I").arg(headers);
    }
    command.args(["-c", &source, "-o"]).arg(&out);
    match command.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => fail(&format!(
            "{clang} cannot compile {source}:\n{}",
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
