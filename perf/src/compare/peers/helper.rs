//! Starts a program that forwards in the lab's stead, and waits until it says that it does. It never knows how.

use anyhow::{Result, ensure};
use sluice_lab::{Lab, Running};
use std::time::Duration;

/// Until it is ready.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `command` in this place's namespace until it prints `ready` on a line of its own.
pub(super) fn start(lab: &Lab, place: &str, peer: &str, command: &[String]) -> Result<Running> {
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let running = lab.place(place)?.spawn(&command)?;
    let is_ready = || running.said().lines().any(|line| line.trim() == "ready");
    let waited = lab.wait("the helper", DEADLINE, || is_ready() || !running.running());
    if !is_ready() {
        let said = running.stop();
        ensure!(
            waited.is_ok(),
            "peer {peer}: no line `ready` within {DEADLINE:?}: {said}"
        );
        anyhow::bail!("peer {peer}: it ended before it said `ready`: {said}");
    }
    Ok(running)
}
