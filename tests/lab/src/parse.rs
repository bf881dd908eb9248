//! Figures out of what iperf3 and ping print. It never runs them.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::time::Duration;

/// The outcome of one `iperf3 -J` run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Iperf3 {
    /// Payload that arrived, bits per second.
    pub bits_per_second: f64,
    /// Segments that TCP sent again; 0 for UDP.
    pub retransmits: u64,
    /// UDP datagrams lost, in percent; 0 for TCP.
    pub lost_percent: f64,
}

/// Reads the JSON of an iperf3 client.
///
/// # Errors
/// It is no JSON, or iperf3 reports an error in it.
pub fn iperf3(json: &str) -> Result<Iperf3> {
    let report: Value = serde_json::from_str(json).context("iperf3 did not print JSON; was it run with -J?")?;
    if let Some(error) = report["error"].as_str() {
        bail!("iperf3: {error}");
    }
    let end = &report["end"];
    let received = if end["sum_received"].is_object() {
        &end["sum_received"]
    } else {
        &end["sum"]
    };
    let bits_per_second = received["bits_per_second"]
        .as_f64()
        .context("iperf3: the report has no throughput")?;
    let retransmits = end["sum_sent"]["retransmits"].as_u64().unwrap_or(0);
    let lost_percent = end["sum"]["lost_percent"].as_f64().unwrap_or(0.0);
    Ok(Iperf3 {
        bits_per_second,
        retransmits,
        lost_percent,
    })
}

/// Median of the round trips that ping printed, one `time=… ms` a reply. None if nothing came back.
pub fn ping(text: &str) -> Option<Duration> {
    let time = |line: &str| {
        line.split_once("time=")?
            .1
            .split_ascii_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    };
    let mut times: Vec<f64> = text
        .lines()
        .filter_map(time)
        .filter(|ms| (0.0..1e9).contains(ms))
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).map(|ms| Duration::from_secs_f64(ms / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iperf3_reports_of_both_transports() {
        let tcp =
            r#"{"end":{"sum_sent":{"bits_per_second":2e9,"retransmits":7},"sum_received":{"bits_per_second":1.5e9}}}"#;
        assert_eq!(
            iperf3(tcp).unwrap(),
            Iperf3 {
                bits_per_second: 1.5e9,
                retransmits: 7,
                lost_percent: 0.0
            }
        );
        let udp = r#"{"end":{"sum":{"bits_per_second":1e6,"lost_percent":2.5}}}"#;
        assert_eq!(iperf3(udp).unwrap().lost_percent, 2.5);
        let error = iperf3(r#"{"error":"unable to connect to server"}"#).unwrap_err();
        assert!(error.to_string().contains("unable to connect"));
        assert!(iperf3("iperf3: no").is_err());
    }

    #[test]
    fn ping_replies_and_silence() {
        let text = "PING x\n64 bytes from x: icmp_seq=1 ttl=64 time=0.9 ms\n64 bytes: icmp_seq=2 time=0.1 ms\n\
                    64 bytes: icmp_seq=3 time=0.2 ms\n";
        assert_eq!(ping(text), Some(Duration::from_micros(200)));
        assert_eq!(ping("3 packets transmitted, 0 received"), None);
    }
}
