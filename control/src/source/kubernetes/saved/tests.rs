use super::journal::Journal;
use super::*;
use crate::model::Object;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file in a folder of its own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("sluice-saved-{}-{:x}", std::process::id(), fastrand::u64(..)));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.join("cluster")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn header() -> Header {
    Header::new("authority 1".into(), "n".into())
}

/// Objects by name and version of their one request.
type State = (BTreeMap<String, u64>, Option<String>);

fn state(restored: &Restored) -> State {
    let objects = restored.objects(|_| true).map(|(want, object)| {
        assert_eq!(want, Want::Services);
        let Some(Object::Service(service)) = object.object else {
            panic!("{object:?}")
        };
        (service.name.clone(), u64::from(service.ports[0].port))
    });
    (objects.collect(), restored.versions.get(&Want::Services).cloned())
}

#[derive(Clone, Debug)]
enum Step {
    Is(u8, u16),
    Gone(u8),
    Version(u8),
    List,
    Unwanted,
    Flush,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6, 1u16..2000).prop_map(|(name, port)| Step::Is(name, port)),
        2 => (0u8..6).prop_map(Step::Gone),
        2 => any::<u8>().prop_map(Step::Version),
        1 => Just(Step::List),
        1 => Just(Step::Unwanted),
        3 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ]
}

fn service(name: u8, port: u16) -> Value {
    let long = "x".repeat(usize::from(port % 50));
    json!({"metadata": {"name": format!("s{name}"), "namespace": "d", "annotations": {"other.example/long": long}}, "spec": {"clusterIPs": ["10.96.0.9"], "ports": [{"port": port}]}})
}

/// Does these things; gives the file and the state after each batch, with where that ended.
fn play(path: &Path, steps: &[Step]) -> Vec<(u64, State)> {
    let mut journal = Journal::open(path, &header(), None, 300).unwrap();
    let mut now: State = State::default();
    let mut written = Vec::new();
    for step in steps {
        let want = Want::Services;
        match step {
            Step::Is(name, port) => {
                now.0.insert(format!("s{name}"), u64::from(*port));
                let object = service(*name, *port);
                journal.take(Op::Is {
                    want,
                    object,
                    whole: port % 2 == 0,
                });
            }
            Step::Gone(name) => {
                now.0.remove(&format!("s{name}"));
                journal.take(Op::Gone {
                    want,
                    name: ("d".into(), format!("s{name}")),
                });
            }
            Step::Version(version) => {
                now.1 = Some(version.to_string());
                journal.take(Op::Version {
                    want,
                    version: version.to_string(),
                });
            }
            Step::List => {
                now.1 = now.1.map(|_| String::new());
                journal.take(Op::List { want });
            }
            Step::Unwanted => {
                now.1 = None;
                journal.take(Op::Unwanted { want });
            }
            Step::Flush | Step::Restart => {
                journal.flush().unwrap();
                let length = fs::metadata(path).unwrap().len();
                // A file that was written anew has no earlier batches.
                written.retain(|(before, _): &(u64, State)| *before < length);
                written.push((length, now.clone()));
                if matches!(step, Step::Restart) {
                    let restored = load(path, &header()).unwrap();
                    journal = Journal::open(path, &header(), restored.as_ref(), 300).unwrap();
                }
            }
        }
    }
    written
}

proptest! {
    #[test]
    fn what_is_loaded_is_what_was_written_last(steps in prop::collection::vec(step(), 1..60)) {
        let scratch = Scratch::new();
        let written = play(&scratch.path(), &steps);
        let loaded = load(&scratch.path(), &header());
        match written.last() {
            None => prop_assert!(loaded.is_err(), "an empty file is no state"),
            Some((length, last)) => {
                prop_assert_eq!(&state(&loaded.unwrap().unwrap()), last);
                let live: usize = last.0.len() * 300;
                prop_assert!(*length < 2 * live as u64 + 1500, "it is written anew when most of it is old: {}", length);
            }
        }
    }

    /// A kill in the middle of a batch loses that batch and no other; damage elsewhere is never taken for a state.
    #[test]
    fn a_file_that_was_cut_is_an_earlier_state_and_one_that_was_damaged_none(
        steps in prop::collection::vec(step(), 1..40), at in any::<prop::sample::Index>(), flip in 1u8..255,
    ) {
        let scratch = Scratch::new();
        let mut steps = steps;
        steps.push(Step::Flush);
        let written = play(&scratch.path(), &steps);
        let whole = fs::read(scratch.path()).unwrap();
        let at = at.index(whole.len());
        fs::write(scratch.path(), &whole[..at]).unwrap();
        let states: Vec<&State> = written.iter().map(|(_, state)| state).collect();
        if let Ok(Some(restored)) = load(&scratch.path(), &header()) {
            prop_assert!(states.contains(&&state(&restored)));
        }
        let mut damaged = whole;
        damaged[at] ^= flip;
        fs::write(scratch.path(), &damaged).unwrap();
        if let Ok(Some(restored)) = load(&scratch.path(), &header()) {
            prop_assert!(states.contains(&&state(&restored)), "byte {} is {}", at, damaged[at]);
        }
    }
}

#[test]
fn damage_is_named_and_another_ones_state_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path();
    assert!(load(&path, &header()).unwrap().is_none(), "there is none yet");
    play(&path, &[Step::Is(1, 80), Step::Flush, Step::Is(2, 81), Step::Flush]);
    let whole = fs::read_to_string(&path).unwrap();
    let other = Header::new("authority 2".into(), "n".into());
    assert!(load(&path, &other).unwrap().is_none());
    for (damaged, want) in [
        (whole.replace("\"port\":80", "\"port\":90"), "a checksum is wrong"),
        (whole.replacen("\"is\"", "\"ix\"", 1), "a line is damaged"),
        ("garbage\n".to_owned(), "this is no saved state"),
    ] {
        fs::write(&path, damaged).unwrap();
        let text = load(&path, &header()).unwrap_err();
        assert!(text.contains(want) && text.contains("byte"), "{text}");
    }
    use std::os::unix::fs::PermissionsExt;
    fs::remove_file(&path).unwrap();
    play(&path, &[Step::Flush]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_disk_that_takes_nothing_loses_nothing_but_time() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut journal = Journal::open(&path, &header(), None, 300).unwrap();
    let op = |name| Op::Is {
        want: Want::Services,
        object: service(name, 80),
        whole: true,
    };
    journal.take(op(1));
    journal.flush().unwrap();
    journal.take(op(2));
    let file = std::mem::replace(&mut journal.file, fs::File::open(&path).unwrap());
    let failed = journal.flush();
    journal.file = file;
    failed.unwrap_err();
    assert!(journal.changed());
    assert_eq!(state(&load(&path, &header()).unwrap().unwrap()).0.len(), 1);
    journal.flush().unwrap();
    assert_eq!(state(&load(&path, &header()).unwrap().unwrap()).0.len(), 2);
}

#[test]
fn two_threads_read_what_one_does() {
    let scratch = Scratch::new();
    let steps: Vec<Step> = (0..33)
        .map(|n| Step::Is(n, 80 + u16::from(n)))
        .chain([Step::Flush])
        .collect();
    play(&scratch.path(), &steps);
    let restored = std::sync::Arc::new(load(&scratch.path(), &header()).unwrap().unwrap());
    let sorted = |mut all: Vec<(Want, crate::objects::Decoded)>| {
        all.sort_by(|(_, a), (_, b)| a.key.cmp(&b.key));
        all
    };
    let many = sorted(restored.objects_of_many(|want| want == Want::Services).collect());
    assert_eq!(many, sorted(restored.objects(|_| true).collect()));
    assert_eq!(many.len(), 33);
    assert_eq!(restored.objects_of_many(|_| false).count(), 0);
}
