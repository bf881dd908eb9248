//! What others need for nothing at all on this machine: DPDK's testpmd, which takes packets from null ports and gives them back, on one
//! core. A figure to judge ours by; where the program is missing there is none.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PROGRAM: &str = "dpdk-testpmd";
/// Seconds between two reports; the first one begins too early.
const PERIOD: u32 = 1;
const REPORTS: usize = 2;
const PORTS: usize = 2;
/// Longer than it takes on any machine.
const DEADLINE: Duration = Duration::from_secs(15);

/// Nanoseconds a packet, received and sent; `None` where it does not run.
pub(crate) fn testpmd_ns() -> Option<f64> {
    let null = ["--vdev", "net_null0,size=64", "--vdev", "net_null1,size=64"];
    let alone = ["--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry"];
    let mut child = Command::new(PROGRAM)
        .args(["-l", "0,1"])
        .args(alone)
        .args(null)
        .args([
            "--",
            "--nb-cores=1",
            "--total-num-mbufs=8192",
            "--forward-mode=io",
            "--auto-start",
        ])
        .arg(format!("--stats-period={PERIOD}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let lines = BufReader::new(child.stdout.take()?).lines();
    let (tell, told) = mpsc::channel();
    // It ends with the program's output.
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let until = Instant::now() + DEADLINE;
    let next = || told.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
    let rates: Vec<f64> = std::iter::from_fn(next)
        .filter_map(|line| rate(&line))
        .take(PORTS * REPORTS)
        .collect();
    let _ = child.kill();
    let _ = child.wait();
    drop(told);
    let _ = reader.join();
    ns(&rates)
}

/// Packets a second that a line of a report says.
fn rate(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("Rx-pps:")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// From the last report of all ports.
fn ns(rates: &[f64]) -> Option<f64> {
    let last = rates
        .rchunks_exact(PORTS)
        .next()
        .filter(|_| rates.len() == PORTS * REPORTS)?;
    let sum: f64 = last.iter().sum();
    (sum > 0.0).then(|| 1e9 / sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_of_both_ports_counts() {
        let line = "  Rx-pps:     19405254          Rx-bps:            0";
        assert_eq!(rate(line), Some(19_405_254.0));
        assert_eq!(rate("  Tx-pps:     19405254          Tx-bps:            0"), None);
        assert_eq!(rate("  Rx-pps:     many"), None);
        assert_eq!(ns(&[1.0, 1.0, 4e7, 6e7]), Some(10.0));
        assert_eq!(ns(&[1.0, 1.0, 4e7]), None, "a report that is not whole");
        assert_eq!(ns(&[0.0; 4]), None);
    }
}
