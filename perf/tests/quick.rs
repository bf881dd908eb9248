//! The program itself, in a hurry: whether it works, not how fast anything is.

use std::process::Command;

#[test]
fn a_quick_run_of_all_cases_ends_well_and_says_what_it_measured() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice-perf"))
        .args(["pipeline", "--quick", "-o", "json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.is_empty(), "progress is for terminals: {said}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let points = json["points"].as_array().unwrap();
    assert_eq!(points.len(), 28);
    for point in points {
        assert_eq!(point["runs"].as_array().unwrap().len(), 2, "{point:#}");
        assert!(point["ns"]["median"].as_f64().unwrap() > 0.0, "{point:#}");
    }
    for fact in ["cpu", "mhz", "cores", "kernel", "commit"] {
        assert!(!json["machine"][fact].is_null(), "{fact}");
    }
    assert!(json["plan"]["seed"].is_u64());
}

#[test]
fn a_mistake_is_told_in_words() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice-perf"))
        .args(["pipeline", "--flows", "1", "--workers", "2"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said,
        "sluice-perf: there are fewer flows than workers: give more flows (--flows)\n"
    );
}

#[test]
fn instructions_of_the_path_are_counted_and_of_nothing_else() {
    let folder = std::env::temp_dir().join(format!("sluice-perf-quick-{}", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_sluice-perf"))
        .args(["instructions", "--case", "pod-to-pod", "--family", "v4", "-o", "json"])
        .env("CARGO_TARGET_DIR", &folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |name: &str| json["cases"][name]["instructions"].as_f64().unwrap();
    let (none, one) = (of("no-engine"), of("pipeline/pod-to-pod/ipv4/64/flows=1"));
    let thousand = of("pipeline/pod-to-pod/ipv4/64/flows=1000");
    // Setup alone, which is not to be in it, takes thousands for each packet.
    assert!(20.0 < none && 2.0 * none < one && one < 20_000.0, "{none}, {one}");
    assert!((0.8..1.5).contains(&(thousand / one)), "{one}, {thousand}");
}
