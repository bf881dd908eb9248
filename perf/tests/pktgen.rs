//! The program itself: what it prints, and what it says of mistakes.

use serde_json::Value;
use std::process::{Command, Output};

fn pktgen(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice-perf"))
        .arg("pktgen")
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

fn json(line: &str) -> Value {
    let output = pktgen(line);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.is_empty(), "progress is for terminals: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_run_over_memory_says_what_was_lost_doubled_and_late() {
    let said = json(
        "--memory --flows 1k --rate max --packets 20k --fault drop=2000,duplicate=2000,reorder=2000,seed=3 -o json",
    );
    let (report, faults) = (&said["report"], &said["faults"]);
    assert_eq!(
        (&report["sent"], &said["seed"]),
        (&Value::from(20_000), &Value::from(1))
    );
    for (found, made) in [
        ("lost", "fault_dropped"),
        ("duplicates", "fault_duplicated"),
        ("reordered", "fault_reordered"),
    ] {
        assert_eq!(report[found], faults[made], "{said:#}");
        assert!(report[found].as_u64().unwrap() > 0);
    }
    for p in ["p50", "p99", "p99.99", "max"] {
        assert!(report["latency_ns"][p].as_u64().unwrap() > 0, "{said:#}");
    }
    for fact in ["cpu", "kernel", "commit"] {
        assert!(!said["machine"][fact].is_null(), "{fact}");
    }
    let output = pktgen("--memory --flows 10 --rate 100k --packets 1k --size imix");
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(
        page.starts_with("sender -> receiver: 10 flows, IMIX, IPv4 UDP, 100 k packets/s\n"),
        "{page}"
    );
    assert!(
        page.lines()
            .all(|line| line.chars().count() <= 100 || line.starts_with("machine")),
        "{page}"
    );
    assert!(!page.contains('\u{1b}'), "colour is for terminals");
}

#[test]
fn a_search_over_memory_ends_and_has_its_bounds() {
    let said = json(
        "search --memory --method rfc2544 --min-rate 1k --max-rate 8k --trial-seconds 0.05 --final-seconds 0.1 -o json",
    );
    let result = &said["results"][0];
    assert!(
        result["throughput"].as_f64().is_some_and(|rate| rate <= 8000.0),
        "{said:#}"
    );
    let goal = "name=half,loss=0.5,exceed=0.5,initial=0.02,final=0.02,sum=0.06,width=0.2";
    let said = json(&format!(
        "search --memory --min-rate 1k --max-rate 8k --goal {goal} -o json"
    ));
    assert_eq!(said["results"][0]["name"], "half");
    assert!(said["trials"].as_array().unwrap().len() >= 2, "{said:#}");
}

#[test]
fn mistakes_are_told_in_words() {
    for (line, wanted) in [
        ("--memory", "how fast? Give --rate PPS, --rate max or --ramp FROM..TO"),
        ("--rate 1k", "--tx <END>"),
        ("--tx a0 --rate 1k", "--rx <END>"),
        (
            "--memory --rate fast",
            "`fast` is no number; want one like 340k, 1.2M or 5000",
        ),
        ("--memory --rate 0", "--rate"),
        ("--memory --ramp 10k", "want FROM..TO, such as 10k..1M"),
        ("--memory --rate 1k --seconds 0", "want seconds"),
        ("--memory --rate 1k --packets 0.5", "no whole number"),
        ("--memory --rate 1k --size 63", "want bytes from 64 to 3500"),
        ("--memory --rate 1k --src 10.0.0.300", "want one like 10.0.0.1"),
        ("--memory --rate 1k --src-ports 0", "want one like 9 or 1024-65535"),
        ("--memory --rate 1k --family v6", "84 are the fewest (--size)"),
        ("--memory --rate 1k --vxlan vni=1", "says no src"),
        ("--memory --rate 1k --fault loss=1", "is no fault"),
        ("--memory --rate 1k --tx-cpu 100000", "processor 100000"),
        ("--memory --replay /nowhere.pcap", "/nowhere.pcap"),
        ("--memory --replay x.pcap --flows 2", "cannot be used with"),
        (
            "--tx eth1 --rx nowhere/eth0 --rate 1k",
            "nowhere/eth0: cannot open network namespace",
        ),
        ("--tx lo --rx no-such-if --rate 1k", "no-such-if: no such interface"),
        ("search --memory --min-rate 2k --max-rate 1k", "--min-rate < --max-rate"),
        (
            "search --memory --method rfc2544 --max-rate 2k --goal loss=0",
            "goals are MLRsearch's",
        ),
        ("search --memory --goal loss=2 --max-rate 2k", "loss=2"),
        ("search --memory --goal colour=red", "want name=PDR"),
    ] {
        let output = pktgen(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{line}");
        assert!(said.contains(wanted), "{line}: {said}");
    }
}
