//! Decides what is fuzzed: one function per target, from bytes to a panic if a promise is broken. It never says how the bytes
//! are found; that is libFuzzer's work (`make fuzz`), and plain `cargo test` replays what was kept.
//!
//! Parts of other crates that are not public, and the worlds that their tests run in, are compiled in by path, so that
//! nothing is exported for tests alone.

mod capture;
mod config_file;
mod control;
mod engine;
mod frames;
mod socket;
mod tap;

// What the files taken from other crates call their own crate.
pub(crate) use sluice_engine::{Burst, Counters, Egress, Engine, EngineConfig, Frame, Limits, Shared};
pub(crate) use sluice_io::Caps;

pub use engine::{Seen, seen};

use std::path::Path;

/// Something to fuzz.
pub struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics if these bytes break a promise.
    pub run: fn(&[u8]),
    /// Its part of the time, in relation to the others.
    pub share: u32,
    /// Inputs are not made longer than this.
    pub longest: u32,
}

const fn target(name: &'static str, run: fn(&[u8]), share: u32, longest: u32) -> Target {
    Target {
        name,
        run,
        share,
        longest,
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("engine", engine::frames_and_changes, 10, 1000),
    target("wire", frames::wire, 4, 400),
    target("neighbours", frames::neighbours, 1, 200),
    target("segment", frames::segment, 2, 2000),
    target("rewrite", frames::rewrite, 3, 400),
    target("vxlan", frames::vxlan, 2, 400),
    target("tap_header", tap::header, 1, 100),
    target("pcap", capture::pcap, 2, 600),
    target("manifests", control::manifests, 5, 4000),
    target("config", config_file::config, 3, 2000),
    target("request", control::request, 2, 400),
    target("attach", control::attach, 2, 600),
    target("attachments", control::attachments, 1, 600),
    target("socket", socket::socket, 2, 600),
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Has `read` look at a file of this name and content, alone in its directory.
fn with_file<T>(name: &str, content: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let thread = std::thread::current().id();
    let dir = dir.join(format!("sluice-fuzz-{}-{thread:?}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory for files");
    let file = dir.join(name);
    std::fs::write(&file, content).expect("a file");
    let found = read(&file);
    std::fs::remove_dir_all(&dir).expect("the directory goes");
    found
}
