use super::*;
use crate::api::{DropCount, LostCount, PortCounters, WorkerTotals};
use crate::model::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn status() -> Status {
    serde_json::from_value(serde_json::json!({
        "node": "node-a", "ready": true, "waiting_for": [], "nodes": 3, "generation": 42, "generation_age_ms": 1500,
        "version": "0.1.0", "uptime_ms": 90_000,
        "source": {"kind": "kubernetes", "place": "https://10.0.0.1:6443", "synced": true, "last_change_ms": 1300,
            "last_heard_ms": 250, "saved_age_ms": null, "problems": []},
        "uplink": {"name": "eth0", "up": true, "mtu": 1500, "mode": "", "queues": 2, "rx_packets_per_second": 0.0,
            "tx_packets_per_second": 0.0},
        "host": {"name": "sluice0", "mtu": 1450, "addresses": []},
        "pods": 17, "workers": [], "drops": [],
        "warnings": [{"severity": "warning", "object": "a", "text": "b"}],
    }))
    .unwrap()
}

fn counters() -> CountersReport {
    let mut report = CountersReport::default();
    for name in ["received", "sent", "dropped", "pushed"] {
        report.totals.insert(format!("{name}_frames"), 7);
        report.totals.insert(format!("{name}_bytes"), 700);
    }
    report
        .totals
        .extend([("decided_again".to_owned(), 5), ("connections".to_owned(), 120)]);
    report.drops.push(DropCount {
        reason: "policy_ingress".into(),
        group: "policy".into(),
        text: String::new(),
        remedy: String::new(),
        packets: 212,
    });
    report.ports.push(PortCounters {
        name: "default/web-1".into(),
        rx_packets: 11,
        rx_bytes: 1100,
        ..PortCounters::default()
    });
    report.lost.push(LostCount {
        port: "uplink".into(),
        cause: "ring_full".into(),
        packets: 3,
        ..LostCount::default()
    });
    report.workers.push(WorkerTotals {
        worker: 1,
        busy_ns: 1_500_000_000,
        packets: 9,
        ..WorkerTotals::default()
    });
    report
}

fn scraped(tallies: &Tallies) -> String {
    page(Figures {
        status: status(),
        counters: counters(),
        tallies: tallies.clone(),
    })
    .unwrap()
}

#[test]
fn what_is_counted_is_on_the_page_under_its_name_and_unit() {
    let tallies = Tallies::default();
    tallies.changed(Kind::Service);
    tallies.compiled(Duration::from_micros(300));
    tallies.published();
    let text = scraped(&tallies);
    for line in [
        "sluice_build_info{version=\"0.1.0\"} 1.0",
        "sluice_ready 1.0",
        "sluice_generation 42.0",
        "sluice_source_heard_age_seconds 0.25",
        "sluice_warnings{severity=\"warning\"} 1.0",
        "sluice_source_changes_total{kind=\"Service\"} 1",
        "sluice_compile_duration_seconds_count 1",
        "sluice_publications_total 1",
        "sluice_frames_total{stage=\"received\"} 7",
        "sluice_frame_bytes_total{stage=\"pushed\"} 700",
        "sluice_flow_cache_redecisions_total 5",
        "sluice_connections 120.0",
        "sluice_drops_total{reason=\"policy_ingress\",group=\"policy\"} 212",
        "sluice_port_receive_packets_total{port=\"default/web-1\"} 11",
        "sluice_port_receive_bytes_total{port=\"default/web-1\"} 1100",
        "sluice_port_lost_packets_total{port=\"uplink\",cause=\"ring_full\"} 3",
        "sluice_worker_time_seconds_total{worker=\"1\",state=\"busy\"} 1.5",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} is not in\n{text}");
    }
    assert!(
        !text.contains("source_saved_age_seconds "),
        "what nobody knows is not there"
    );
    assert!(
        !text.contains("frames_total{stage=\"pushed\"}"),
        "pushed are bytes, never frames"
    );
}

/// The form of OpenMetrics: each metric is announced once, with type and help, before its rows, which follow one another; and the
/// page says where it ends.
#[test]
fn the_page_is_openmetrics() {
    let text = scraped(&Tallies::default());
    let mut types = BTreeMap::new();
    let mut current = String::new();
    let mut rows = BTreeSet::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            current = name.to_owned();
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffix = name
                .strip_prefix(&current)
                .unwrap_or_else(|| panic!("{name} under {current}"));
            let allowed: &[&str] = match types[&current].as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("{other}"),
            };
            assert!(allowed.contains(&suffix), "{line}");
            assert!(rows.insert(line.rsplit_once(' ').unwrap().0), "{line} twice");
        } else {
            let name = line.split(' ').nth(2).unwrap();
            assert!(
                current.is_empty() || name == current || line.starts_with("# HELP"),
                "{line}"
            );
        }
    }
    assert!(text.ends_with("# EOF\n") && types.len() > 25, "{text}");
    assert!(types.keys().all(|name| name.starts_with("sluice_")));
}

#[test]
fn a_ports_name_cannot_break_the_page() {
    let mut counters = counters();
    counters.ports[0].name = "a\"b\\c\nd".into();
    let text = page(Figures {
        status: status(),
        counters,
        tallies: Tallies::default(),
    })
    .unwrap();
    assert!(text.contains(r#"port="a\"b\\c\nd""#), "{text}");
}
