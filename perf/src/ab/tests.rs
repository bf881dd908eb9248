//! What is said of two revisions holds, by simulation; and what any revision prints can be read.

use super::build::{Built, Workshop, git};
use super::options::Options;
use super::rounds::{Pairs, Runner, rounds};
use super::sample::{Sample, counts, read};
use super::table::Page;
use super::verdict::{Change, Verdict};
use crate::cli::{Cli, Verb};
use crate::report::Machine;
use anyhow::{Result, bail};
use clap::Parser;
use proptest::prelude::*;
use std::path::PathBuf;

/// Two revisions on a machine whose speed wanders, and which is disturbed now and then.
struct Simulated {
    random: fastrand::Rng,
    /// What each point costs on both sides.
    costs: Vec<(&'static str, [Option<f64>; 2])>,
    speed: f64,
    asked: Vec<(usize, u64)>,
}

impl Simulated {
    fn new(seed: u64, costs: &[(&'static str, [Option<f64>; 2])]) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            costs: costs.to_vec(),
            speed: 1.0,
            asked: Vec::new(),
        }
    }
}

impl Runner for Simulated {
    fn run(&mut self, side: usize, seed: u64) -> Result<Vec<Sample>> {
        self.asked.push((side, seed));
        // Most of a difference of two rounds is the machine's, which is why only pairs are compared.
        self.speed *= 1.0 + 0.02 * (self.random.f64() - 0.5);
        let mut samples = Vec::new();
        for (point, costs) in &self.costs {
            let noise = 1.0 - 0.02 * (1.0 - self.random.f64()).ln();
            let Some(cost) = costs[side] else { continue };
            samples.push(Sample {
                point: (*point).to_owned(),
                ns: cost * self.speed * noise,
            });
        }
        Ok(samples)
    }
}

const NAMES: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];

fn judged(seed: u64, costs: &[(&'static str, [Option<f64>; 2])]) -> Verdict {
    let pairs = rounds(&mut Simulated::new(seed, costs), 20, seed, |_| ()).unwrap();
    Verdict::of(&pairs, 0.0).unwrap()
}

#[test]
fn the_same_code_is_called_different_in_one_comparison_of_twenty_at_most() {
    let same = NAMES.map(|name| (name, [Some(50.0), Some(50.0)]));
    let alarms = (0..400).filter(|seed| {
        let verdict = judged(*seed, &same);
        verdict.rows.values().any(|row| row.change != Change::Same)
    });
    let alarms = alarms.count();
    assert!(
        alarms <= 20,
        "{alarms} of 400 comparisons of the same code found something"
    );
}

#[test]
fn what_became_slower_or_faster_is_found_among_what_stayed() {
    let mut costs = NAMES.map(|name| (name, [Some(50.0), Some(50.0)]));
    costs[3].1[1] = Some(53.0);
    costs[7].1[1] = Some(47.0);
    let mut found = (0, 0);
    for seed in 0..100 {
        let verdict = judged(seed, &costs);
        found.0 += usize::from(verdict.rows["d"].change == Change::Slower);
        found.1 += usize::from(verdict.rows["h"].change == Change::Faster);
        assert_ne!(verdict.rows["d"].change, Change::Faster);
        assert_ne!(verdict.rows["h"].change, Change::Slower);
        let row = &verdict.rows["d"];
        assert!(row.low <= row.ratio && row.ratio <= row.high);
    }
    assert!(
        found.0 >= 95 && found.1 >= 95,
        "a difference of 6 % was found in {found:?} of 100"
    );
}

#[test]
fn both_sides_run_in_each_round_with_the_same_traffic_and_either_is_first() {
    let mut machine = Simulated::new(1, &[("a", [Some(1.0), Some(1.0)])]);
    let pairs = rounds(&mut machine, 40, 7, |_| ()).unwrap();
    assert_eq!(pairs.points["a"].len(), 40);
    let mut first = [0, 0];
    for (round, pair) in machine.asked.chunks(2).enumerate() {
        assert_eq!(pair[0].0 + pair[1].0, 1, "each side once");
        assert_eq!([pair[0].1, pair[1].1], [7 + round as u64; 2]);
        first[pair[0].0] += 1;
    }
    assert!(first.iter().all(|count| *count > 8), "{first:?}");
}

#[test]
fn points_of_one_side_alone_are_named_and_not_judged() {
    let verdict = judged(
        1,
        &[
            ("both", [Some(5.0), Some(5.0)]),
            ("old", [Some(5.0), None]),
            ("new", [None, Some(5.0)]),
        ],
    );
    assert_eq!(verdict.rows.keys().collect::<Vec<_>>(), ["both"]);
    assert_eq!(
        verdict.alone.into_iter().collect::<Vec<_>>(),
        [("new".to_owned(), 1), ("old".to_owned(), 0)]
    );
    let nothing = [("old", [Some(5.0), None]), ("new", [None, Some(5.0)])];
    let err = rounds(&mut Simulated::new(1, &nothing), 20, 1, |_| ()).unwrap_err();
    assert!(err.to_string().contains("no point in common"), "{err}");
}

#[test]
fn too_few_rounds_are_refused_after_the_first_one() {
    let costs = NAMES.map(|name| (name, [Some(50.0), Some(50.0)]));
    let mut machine = Simulated::new(1, &costs);
    let err = rounds(&mut machine, 9, 1, |_| ()).unwrap_err().to_string();
    assert!(
        err.contains("14 points takes at least 10 rounds") && err.contains("--rounds"),
        "{err}"
    );
    assert_eq!(machine.asked.len(), 2);
    rounds(&mut machine, 10, 1, |_| ()).unwrap();
}

#[test]
fn less_than_is_worth_telling_is_not_told() {
    let costs = [("a", [Some(50.0), Some(51.5)])];
    let pairs = rounds(&mut Simulated::new(3, &costs), 60, 3, |_| ()).unwrap();
    assert!(Verdict::of(&pairs, 0.0).unwrap().something_slower());
    assert!(!Verdict::of(&pairs, 0.03).unwrap().something_slower());
}

#[test]
fn an_error_of_either_side_ends_it() {
    struct Broken;
    impl Runner for Broken {
        fn run(&mut self, side: usize, _: u64) -> Result<Vec<Sample>> {
            if side == 1 {
                bail!("it does not run");
            }
            Ok(vec![Sample {
                point: "a".into(),
                ns: 1.0,
            }])
        }
    }
    assert_eq!(
        rounds(&mut Broken, 20, 1, |_| ()).unwrap_err().to_string(),
        "it does not run"
    );
}

#[test]
fn what_any_revision_prints_is_read() {
    let sample = |point: &str, ns| Sample {
        point: point.into(),
        ns,
    };
    // As it is today; as it might once have been; with what is not known yet.
    let text = r#"{"points": [
        {"name": "now", "runs": [{"ns": 20.0, "ghz": 1.925}], "ns": {"median": 99.0}},
        {"name": "without a clock", "runs": [{"ns": 20.0}]},
        {"name": "judged", "ns_at_reference": {"median": 30.0}, "ns": {"median": 60.0}},
        {"name": "plain", "ns": 40.0, "colour": "blue", "runs": []},
        {"name": "no time"}, {"ns": 1.0}, 7, {"name": "zero", "ns": 0.0}
    ], "more": {}}"#;
    assert_eq!(
        read(text.as_bytes()).unwrap(),
        [
            sample("now", 10.0),
            sample("without a clock", 20.0),
            sample("judged", 30.0),
            sample("plain", 40.0)
        ]
    );
    for (nothing, want) in [("", "no JSON"), ("{}", "`points`"), (r#"{"points": [{}]}"#, "no point")] {
        let err = read(nothing.as_bytes()).unwrap_err().to_string();
        assert!(err.contains(want), "{nothing}: {err}");
    }
    let text = br#"{"cases": {"a": {"instructions": 600.5, "more": 1}, "b": {}}, "memory": {}}"#;
    assert_eq!(
        counts(text).unwrap().into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), 600.5)]
    );
    assert_eq!(counts(b"{}"), None);
}

proptest! {
    #[test]
    fn any_output_is_read_or_refused(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(text.as_bytes());
        let _ = read(&bytes);
        let _ = counts(&bytes);
        let _ = read(format!(r#"{{"points": [{{"name": "a", "ns": {text:?}}}]}}"#).as_bytes());
    }
}

fn options(line: &str) -> Options {
    match Cli::try_parse_from(["sluice-perf", "ab"].into_iter().chain(line.split_whitespace()))
        .unwrap()
        .verb
    {
        Verb::Ab(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_page_begins_with_the_answer() {
    let built = ["v1", "."].map(|name| Built {
        name: name.into(),
        commit: "0123456789".into(),
        folder: "/".into(),
        program: "/".into(),
    });
    let mut pairs = Pairs::default();
    let times = |ns: f64| (0..20).map(|n| [50.0 + f64::from(n), ns + f64::from(n)]).collect();
    pairs.points.insert("pipeline/slow".into(), times(80.0));
    pairs.points.insert("pipeline/same".into(), times(50.0));
    pairs.alone.insert("pipeline/new".into(), 1);
    let verdict = Verdict::of(&pairs, 0.01).unwrap();
    let counted = [600.0, 660.0].map(|count| [("pipeline/slow".to_owned(), count)].into());
    let options = options("v1 . --rounds 20 -- --flows 1");
    let mut page = Page {
        machine: Machine::this(),
        built: &built,
        options: &options,
        verdict: &verdict,
        counts: Some(&counted),
    };
    let table = page.table(false);
    assert!(
        table.starts_with("1 slower, 0 faster, 1 the same: . (0123456789) beside v1 (0123456789)\n"),
        "{table}"
    );
    for line in [
        "slower\n",
        "pipeline/new   only . (0123456789) has it\n",
        "   600.0     660.0   +10.0 %\n",
    ] {
        assert!(table.contains(line), "{line}: {table}");
    }
    let json = page.json();
    assert_eq!(json["points"]["pipeline/slow"]["change"], "slower");
    assert_eq!(json["measured"], serde_json::json!(["--flows", "1"]));
    assert_eq!(
        (&json["slower"], &json["only_in"]["pipeline/new"]),
        (&true.into(), &".".into())
    );
    page.counts = None;
    assert!(page.table(false).contains("no instructions: valgrind is missing"));
}

/// A repository with one file in one commit, and what is removed with it.
struct Repository(PathBuf);

impl Repository {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sluice-perf-ab-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join("target")).unwrap();
        let own = Self(folder);
        own.git(&["init", "--quiet"]);
        own.write("tracked", "before");
        own.write(".gitignore", "target\n");
        own.git(&["add", "."]);
        own.git(&[
            "-c",
            "user.name=n",
            "-c",
            "user.email=e",
            "commit",
            "--quiet",
            "-m",
            "one",
        ]);
        own
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.0, args).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn workshop(&self) -> Result<Workshop> {
        Workshop::open(&self.0, &self.0.join("target"))
    }

    /// All that must not change.
    fn state(&self) -> [String; 4] {
        let all = [
            &["status", "--porcelain"][..],
            &["rev-parse", "HEAD"],
            &["branch", "--list"],
            &["diff", "--cached"],
        ];
        all.map(|args| self.git(args))
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_as_they_are_become_a_commit_and_nothing_else_changes() {
    let repository = Repository::new("as-it-is");
    let workshop = repository.workshop().unwrap();
    let read = |name: &str| std::fs::read_to_string(workshop.source().join(name)).ok();
    repository.write("tracked", "after");
    repository.write("new", "new");
    repository.write("target/ignored", "ignored");
    let before = repository.state();
    let commit = workshop.as_it_is().unwrap();
    workshop.check_out(&commit).unwrap();
    assert_eq!(
        [read("tracked"), read("new")],
        [Some("after".into()), Some("new".into())]
    );
    assert_eq!(read("target/ignored"), None);
    workshop.check_out(&workshop.commit("HEAD").unwrap()).unwrap();
    assert_eq!([read("tracked"), read("new")], [Some("before".into()), None]);
    assert_eq!(repository.state(), before);
    let err = repository.workshop().err().unwrap().to_string();
    assert!(err.contains("another comparison is under way"), "{err}");
}

#[test]
fn a_revision_that_is_none_is_named() {
    let repository = Repository::new("none");
    let workshop = repository.workshop().unwrap();
    for name in ["no-such", "--help", "", "HEAD^{tree}"] {
        let err = workshop.commit(name).unwrap_err().to_string();
        assert!(err.contains("no such revision") && err.starts_with(name), "{err}");
    }
}

#[test]
fn wrong_options_are_refused() {
    for line in ["v1", "v1 v2 --least -1", "v1 v2 --rounds 0", "v1 v2 extra"] {
        let words = ["sluice-perf", "ab"].into_iter().chain(line.split_whitespace());
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
    assert_eq!(options("v1 v2").pipeline()[0], "--flows");
}
