//! A directory that is followed while it changes.

use sluice_control::model::{Change, Store};
use sluice_control::source::{Event, Limits, Manifests, Problem};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-manifests-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a consumer knows.
struct Seen {
    manifests: Manifests,
    store: Store,
    problems: Vec<Problem>,
}

impl Seen {
    fn follow(dir: &Path) -> Self {
        let manifests = Manifests::follow(dir, Limits::default()).unwrap();
        Self {
            manifests,
            store: Store::default(),
            problems: Vec::new(),
        }
    }

    /// Takes events until the condition holds; gives the time it took.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !holds(self) {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{what}: not seen; problems {:?}",
                self.problems
            );
            match self.manifests.try_next() {
                None => std::thread::sleep(Duration::from_millis(1)),
                Some(Event::Change(change)) => {
                    assert!(!(change == Change::Synced && self.store.synced()), "synced twice");
                    self.store.apply(change);
                }
                Some(Event::Problem(problem)) => self.problems.push(problem),
                Some(Event::Ignored { .. }) => {}
                Some(Event::Solved { origin }) => self.problems.retain(|problem| problem.origin != origin),
            }
        }
        start.elapsed()
    }

    fn has(&self, namespace: &str) -> bool {
        self.store.namespaces().any(|n| n.name == namespace)
    }
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

#[test]
fn everything_is_said_before_synced_and_changes_follow_quickly() {
    let dir = Dir::new("changes");
    dir.write("a.yaml", &namespace("a"));
    dir.write("b.yml", &namespace("b"));
    dir.write(
        "c.json",
        r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c"}}"#,
    );
    dir.write(".hidden.yaml", &namespace("hidden"));
    dir.write("a.yaml~", &namespace("backup"));
    dir.write("readme.txt", "not a manifest");
    let mut seen = Seen::follow(&dir.0);
    seen.until("synced", |s| s.store.synced());
    let names: Vec<_> = seen.store.namespaces().map(|n| n.name.clone()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(seen.problems, []);

    dir.write("a.yaml", &namespace("a2"));
    let took = seen.until("change", |s| s.has("a2") && !s.has("a"));
    // Generous for a loaded machine; the safety re-reading alone would take ten seconds.
    assert!(took < Duration::from_secs(5), "{took:?}");
    // The way editors and atomic writers do it.
    dir.write(".a.yaml.tmp", &namespace("a3"));
    std::fs::rename(dir.0.join(".a.yaml.tmp"), dir.0.join("a.yaml")).unwrap();
    seen.until("replacement", |s| s.has("a3") && !s.has("a2"));
    std::fs::remove_file(dir.0.join("b.yml")).unwrap();
    seen.until("removal", |s| !s.has("b"));
    assert_eq!(seen.problems, []);
}

#[test]
fn a_bad_file_is_told_until_it_is_mended_and_its_objects_stay() {
    let dir = Dir::new("bad");
    dir.write("a.yaml", &namespace("a"));
    let mut seen = Seen::follow(&dir.0);
    seen.until("synced", |s| s.store.synced());
    dir.write("a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: [a\n");
    seen.until("problem", |s| !s.problems.is_empty());
    assert!(seen.has("a"));
    let told = seen.problems[0].to_string();
    assert!(
        told.contains("a.yaml, line ") && told.contains("stays in force"),
        "{told}"
    );
    dir.write("a.yaml", &namespace("b"));
    seen.until("mended", |s| s.problems.is_empty() && s.has("b") && !s.has("a"));
}

#[test]
fn a_file_emptied_by_a_slow_writer_loses_nothing_at_once() {
    let dir = Dir::new("emptied");
    dir.write("a.yaml", &namespace("a"));
    let mut seen = Seen::follow(&dir.0);
    seen.until("synced", |s| s.store.synced());
    dir.write("a.yaml", "");
    // Something else that changes later is seen earlier.
    dir.write("b.yaml", &namespace("b"));
    seen.until("other file", |s| s.has("b"));
    assert!(seen.has("a"));
    seen.until("really empty", |s| !s.has("a"));
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let dir = Dir::new("unreadable");
    dir.write("a.yaml", &namespace("a"));
    std::fs::write(dir.0.join("latin.yaml"), b"kind: x\nname: caf\xe9\n").unwrap();
    std::fs::create_dir(dir.0.join("folder.yaml")).unwrap();
    let limits = Limits {
        file_bytes: 2048,
        ..Limits::default()
    };
    dir.write("big.yaml", &"# padding\n".repeat(300));
    let manifests = Manifests::follow(&dir.0, limits).unwrap();
    let mut seen = Seen {
        manifests,
        store: Store::default(),
        problems: Vec::new(),
    };
    seen.until("synced", |s| s.store.synced());
    let mut told: Vec<String> = seen.problems.iter().map(ToString::to_string).collect();
    told.sort();
    let [big, folder, latin] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert!(big.ends_with("big.yaml: larger than 2 KiB; split it"), "{big}");
    assert!(folder.contains("folder.yaml: not a regular file"), "{folder}");
    assert!(
        latin.ends_with("latin.yaml: line 2 is not UTF-8 text; save the file as UTF-8"),
        "{latin}"
    );
}

#[test]
fn a_directory_that_comes_later_or_is_replaced_is_followed() {
    let dir = Dir::new("later");
    let inner = dir.0.join("manifests");
    let mut seen = Seen::follow(&inner);
    seen.until("complaint", |s| !s.problems.is_empty());
    assert!(!seen.store.synced(), "nothing is served before the directory was read");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("a.yaml"), namespace("a")).unwrap();
    seen.until("synced", |s| s.store.synced() && s.has("a") && s.problems.is_empty());
}

#[test]
fn a_mounted_config_map_is_followed_through_its_links() {
    let dir = Dir::new("links");
    for (version, name) in [("..v1", "a"), ("..v2", "b")] {
        std::fs::create_dir(dir.0.join(version)).unwrap();
        std::fs::write(dir.0.join(version).join("ns.yaml"), namespace(name)).unwrap();
    }
    symlink("..v1", dir.0.join("..data")).unwrap();
    symlink("..data/ns.yaml", dir.0.join("ns.yaml")).unwrap();
    let mut seen = Seen::follow(&dir.0);
    seen.until("synced", |s| s.store.synced() && s.has("a"));
    symlink("..v2", dir.0.join("..data_tmp")).unwrap();
    std::fs::rename(dir.0.join("..data_tmp"), dir.0.join("..data")).unwrap();
    let took = seen.until("swap", |s| s.has("b") && !s.has("a"));
    assert!(took < Duration::from_secs(5), "{took:?}");
}
