//! What fuzzing has found goes through its target again: inputs that lead far, and inputs that once broke something. Each of
//! the latter has a line in `crashes/README.md` that says what it was.

use sluice_fuzz::{Seen, TARGETS, named, seen};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Kept small: it is in every clone.
const MOST_BYTES: u64 = 512 << 10;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|err| panic!("{}: {err}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != "README.md"))
        .collect();
    files.sort();
    files
}

/// Panics with the names of all inputs that a target does not bear.
fn replay(name: &str) {
    let target = named(name).expect("a target");
    let mut inputs = files(&folder("corpus").join(name));
    assert!(!inputs.is_empty(), "{name} has no inputs in fuzz/corpus");
    let crashed = files(&folder("crashes"));
    inputs.extend(crashed.into_iter().filter(|path| is_of(path, name)));
    let broken: Vec<_> = inputs
        .into_iter()
        .filter(|path| {
            let data = std::fs::read(path).unwrap();
            catch_unwind(|| (target.run)(&data)).is_err()
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// `NAME-WHAT`, where names may be the beginning of other names.
fn is_of(path: &Path, name: &str) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*
    };
}

targets!(
    engine,
    wire,
    neighbours,
    segment,
    rewrite,
    vxlan,
    tap_header,
    pcap,
    manifests,
    config,
    request,
    attach,
    attachments,
    socket,
);

#[test]
fn every_target_is_replayed_and_every_crash_has_its_target_and_its_story() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, REPLAYED);
    let stories = std::fs::read_to_string(folder("crashes/README.md")).unwrap();
    for crash in files(&folder("crashes")) {
        let file = crash.file_name().unwrap().to_string_lossy().into_owned();
        assert!(names.iter().any(|name| is_of(&crash, name)), "{file} names no target");
        assert!(
            stories.contains(&format!("`{file}`")),
            "{file} has no line in fuzz/crashes/README.md"
        );
    }
}

#[test]
fn the_corpus_is_small() {
    let size = |path: PathBuf| path.metadata().unwrap().len();
    let all = TARGETS
        .iter()
        .flat_map(|target| files(&folder("corpus").join(target.name)));
    let bytes: u64 = all.map(size).sum();
    assert!(
        bytes <= MOST_BYTES,
        "fuzz/corpus has {bytes} bytes; fuzz/run.sh --keep makes it smaller"
    );
}

/// A check at the door that all inputs fail at leaves the target green, and blind.
#[test]
fn inputs_of_the_engine_get_behind_its_door() {
    let mut sum = Seen::default();
    for input in files(&folder("corpus").join("engine")) {
        sum += seen(&std::fs::read(input).unwrap());
    }
    println!("{sum:?}");
    assert!(sum.from_wire > 0 && sum.other_mac * 4 < sum.from_wire, "{sum:?}");
    for (what, times) in [
        ("tunnels", sum.out_of_tunnels),
        ("node ports", sum.to_node_ports),
        ("masqueraded connections", sum.to_masqueraded),
    ] {
        assert!(times > 0, "no input gets through {what}: {sum:?}");
    }
}
