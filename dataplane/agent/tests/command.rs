//! The binary as a person calls it: exit codes, and which stream says what.

use std::process::{Command, Output};

fn sluice(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(args)
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary runs")
}

#[test]
fn the_example_configuration_is_printed_and_passes_its_own_check() {
    let example = sluice(&["config", "example"]);
    assert!(example.status.success());
    let file = std::env::temp_dir().join(format!("sluice-example-{}.yaml", std::process::id()));
    std::fs::write(&file, &example.stdout).unwrap();
    let check = sluice(&["config", "check", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn an_unknown_key_ends_with_a_message_on_stderr() {
    let file = std::env::temp_dir().join(format!("sluice-unknown-{}.yaml", std::process::id()));
    std::fs::write(&file, "uplink:\n  interface: eth1\nworker:\n  count: 2\n").unwrap();
    let run = sluice(&["run", "--config", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success() && run.stdout.is_empty());
    let wanted = "line 4: unknown key `worker.count`; did you mean `workers.count`?";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn without_an_agent_it_says_what_to_do() {
    let run = sluice(&["--socket", "/nonexistent/sluice.sock", "status"]);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(
        !run.status.success() && said.contains("/nonexistent/sluice.sock"),
        "{said}"
    );
}

/// An agent that cannot start, as its uplink is not there.
#[test]
fn the_log_is_json_on_request() {
    let file = std::env::temp_dir().join(format!("sluice-json-{}.yaml", std::process::id()));
    let text = "node: node-a\nuplink: {interface: nosuch0}\nlog: {format: json, level: info}\n";
    std::fs::write(&file, text).unwrap();
    let run = sluice(&["run", "--config", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert!(!run.status.success() && run.stdout.is_empty());
    let said = String::from_utf8(run.stderr).unwrap();
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|err| panic!("{line}: {err}")))
        .collect();
    let last = lines.last().expect("it says why");
    assert_eq!(last["level"], "ERROR", "{said}");
    assert!(last["message"].is_string() && last["timestamp"].is_string(), "{said}");
}
