//! What is said of counts, and what the counting program is told.

use super::baseline::{Baseline, Judged, Verdict};
use super::callgrind::total;
use super::child::Child;
use super::*;
use crate::cli::{Cli, Verb};
use clap::Parser;

fn counted(cases: &[(&str, f64)]) -> Counted {
    let cost = |(name, instructions): &(&str, f64)| {
        (
            name.to_string(),
            Cost {
                instructions: *instructions,
            },
        )
    };
    Counted {
        machine: Machine::this(),
        rustc: "1.95.0".into(),
        target_cpu: "x86-64-v3".into(),
        cases: cases.iter().map(cost).collect(),
        memory: Memory {
            cache_entry: 200,
            connection: 300,
        },
    }
}

fn verdicts(judged: &[Judged]) -> Vec<(&str, Verdict)> {
    judged.iter().map(|one| (&one.name[..], one.verdict)).collect()
}

#[test]
fn a_case_may_be_one_percent_off_and_no_more_in_either_direction() {
    let baseline = Baseline::from(&counted(&[("a", 1000.0)]));
    for (is, verdict) in [
        (1000.0, Verdict::Same),
        (1009.9, Verdict::Same),
        (1010.1, Verdict::Worse),
        (990.1, Verdict::Same),
        (989.9, Verdict::Better),
    ] {
        let judged = baseline.judge(&counted(&[("a", is)]), true);
        assert_eq!(verdicts(&judged)[0], ("a", verdict), "{is}");
        let fine = verdict == Verdict::Same;
        assert_eq!(judged.iter().all(Judged::as_it_was), fine, "{is}");
    }
    assert!(Verdict::Better.text().contains("update it"));
}

#[test]
fn what_is_only_on_one_side_is_told_and_not_missed_when_less_was_asked_for() {
    let baseline = Baseline::from(&counted(&[("a", 10.0), ("b", 20.0)]));
    let now = counted(&[("b", 20.0), ("c", 30.0)]);
    let of_cases = |everything| {
        verdicts(&baseline.judge(&now, everything))
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v))
            .take(3)
            .collect::<Vec<_>>()
    };
    let named = |name: &str, verdict| (name.to_owned(), verdict);
    assert_eq!(
        of_cases(true),
        [
            named("b", Verdict::Same),
            named("c", Verdict::New),
            named("a", Verdict::Gone)
        ]
    );
    assert!(!of_cases(false).contains(&named("a", Verdict::Gone)));
}

#[test]
fn memory_has_a_baseline_too() {
    let mut now = counted(&[]);
    let baseline = Baseline::from(&now);
    assert!(baseline.judge(&now, true).iter().all(Judged::as_it_was));
    now.memory.connection += 64;
    let judged = baseline.judge(&now, true);
    assert_eq!(
        verdicts(&judged),
        [
            ("bytes of a cache entry", Verdict::Same),
            ("bytes of a connection", Verdict::Worse)
        ]
    );
}

#[test]
fn another_compilers_counts_are_not_compared() {
    let baseline = Baseline::from(&counted(&[]));
    assert_eq!(baseline.another_compiler("1.95.0"), None);
    let why = baseline.another_compiler("1.96.0").unwrap();
    assert!(why.contains("1.95.0") && why.contains("1.96.0"), "{why}");
}

#[test]
fn a_baseline_is_read_as_it_was_written_and_only_for_its_own_processors() {
    let path = std::env::temp_dir().join(format!("sluice-perf-baseline-{}.json", std::process::id()));
    let baseline = Baseline::from(&counted(&[("a", 1000.5)]));
    baseline.write(&path).unwrap();
    let read = Baseline::read(&path);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read.unwrap(), baseline);
    assert!(Baseline::read(&path).unwrap_err().to_string().contains("--update"));
    baseline.must_be_for("x86-64-v3").unwrap();
    let err = baseline.must_be_for("x86-64").unwrap_err().to_string();
    assert!(err.contains("make instructions"), "{err}");
}

#[test]
fn the_committed_baseline_has_every_point() {
    let committed = Baseline::read(concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json").as_ref()).unwrap();
    let mut names: Vec<String> = points(&options("")).iter().map(Point::to_string).collect();
    names.push("no-engine".into());
    names.sort();
    assert_eq!(committed.cases.into_keys().collect::<Vec<_>>(), names);
    assert_eq!(committed.target_cpu, "x86-64-v3");
}

fn options(line: &str) -> Options {
    let words = ["sluice-perf", "instructions"]
        .into_iter()
        .chain(line.split_whitespace());
    match Cli::try_parse_from(words).unwrap().verb {
        Verb::Instructions(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_child_is_told_which_point_and_forwards_it() {
    for point in points(&options("--family v6")) {
        for engine in [true, false] {
            let child = Child::of(&point, engine);
            let words = std::iter::once("sluice-perf".to_owned()).chain(child.args());
            let Verb::CountOne(told) = Cli::try_parse_from(words).unwrap().verb else {
                panic!("{child:?}")
            };
            assert_eq!(told, child);
        }
    }
    let few = Amount {
        packets: 100,
        fresh: 50,
    };
    for case in [Case::ServiceReply, Case::FirstPacket] {
        let point = point(case, Family::V4, 1);
        let world = World::new(point.traffic(&few).world);
        for engine in [true, false] {
            assert!(crate::measure::count(&world, &point, &few, engine).unwrap() >= 50);
        }
    }
}

#[test]
fn a_profile_has_a_sum_or_nothing_was_counted() {
    let profile = "version: 1\nevents: Ir\nsummary: 7\n\nfn=(1) x\n1 7\n\ntotals: 1234567\n";
    assert_eq!(total(profile), Some(1_234_567));
    assert_eq!(total("events: Ir\nsummary: 12 3\n"), Some(12));
    for nothing in ["", "totals: 0\n", "totals:\n", "totals: many\n"] {
        assert_eq!(total(nothing), None, "{nothing:?}");
    }
}

#[test]
fn tables_of_a_flows_size_are_measured() {
    let memory = memory(&World::new(Size::LEAST)).unwrap();
    // A key alone has 40 bytes; four lines of 64 are what nobody should exceed by much.
    assert!((40..=1024).contains(&memory.cache_entry), "{memory:?}");
    assert!((80..=1024).contains(&memory.connection), "{memory:?}");
    assert_eq!(memory.flow(), 2 * memory.cache_entry + memory.connection);
}

#[test]
fn the_table_says_what_changed() {
    let was = counted(&[("pipeline/a", 1000.0), ("pipeline/b", 500.0)]);
    let now = counted(&[("pipeline/a", 1100.0), ("pipeline/b", 400.0)]);
    let judged = Baseline::from(&was).judge(&now, true);
    let page = table::table(&now, Some(&judged), false);
    assert!(
        page.contains("pipeline/a        1100.0    1000.0   +10.0 %  worse\n"),
        "{page}"
    );
    assert!(page.contains("-20.0 %  better, update it\n"), "{page}");
    assert!(page.contains("a flow takes 700 bytes"), "{page}");
    let json = table::json(&now, Some(&judged)).unwrap();
    assert_eq!(json["compared"][0]["verdict"], "worse");
    assert_eq!(json["memory"]["flow"], 700);
}
