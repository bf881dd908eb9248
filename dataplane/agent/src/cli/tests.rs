//! Every page against the text it must be: `samples/NAME.json` is what the agent answers, `samples/NAME.txt` what a person sees.
//! SLUICE_UPDATE=1 writes the texts anew, to be read as a difference.

use super::page::Page;
use super::{attached, counters, drops, flows, policies, services, status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_control::api::{CountersReport, DropQuery, DropsReport, FlowQuery, Status};
use std::path::PathBuf;

fn sample(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "src/cli/samples", name].iter().collect()
}

/// The agent's answer, which must have every name that the sample has and no other: they are what `-o json` promises.
fn answer<T: DeserializeOwned + Serialize>(name: &str) -> T {
    let text = std::fs::read_to_string(sample(&format!("{name}.json"))).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let typed: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), value, "{name}");
    typed
}

#[track_caller]
fn shown(name: &str, page: &Page) {
    let path = sample(&format!("{name}.txt"));
    let is = page.render(false);
    if std::env::var_os("SLUICE_UPDATE").is_some() {
        std::fs::write(&path, &is).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(is, want, "{} differs; is:\n{is}", path.display());
    // Colours add nothing but escapes.
    let coloured = page.render(true);
    assert_eq!(is.lines().count(), coloured.lines().count());
}

#[test]
fn status_of_a_node_at_work_and_of_one_that_waits() {
    shown("status", &status::page(&answer("status")));
    shown("status-waiting", &status::page(&answer("status-waiting")));
}

#[test]
fn long_lists_of_trouble_are_counted() {
    let mut status: Status = answer("status-waiting");
    status.warnings = status.warnings.into_iter().cycle().take(25).collect();
    let text = status::page(&status).render(false);
    assert_eq!(
        text.matches("tried again every second").count(),
        10,
        "errors come first"
    );
    assert!(text.ends_with("  and 15 more  (sluice status -o json)\n"), "{text}");
}

#[test]
fn an_api_server_is_told_to_be_heard_or_not() {
    let mut status: Status = answer("status-waiting");
    let line = |status: &Status| {
        let text = status::page(status).render(false);
        text.lines().find(|line| line.starts_with("source")).unwrap().to_owned()
    };
    assert!(!line(&status).contains("heard"), "files are not heard of");
    status.source.last_heard_ms = Some(1300);
    assert!(line(&status).contains("   heard 1.3 s ago   "), "{}", line(&status));
    status.source.last_heard_ms = Some(95_000);
    assert!(
        line(&status).contains("   not heard for 95 s   ") || line(&status).contains("   not heard for 1 min"),
        "{}",
        line(&status)
    );
}

#[test]
fn services_and_endpoints() {
    let rows: Vec<_> = answer("services");
    shown("services", &services::page(&rows, None));
    shown("service", &services::page(&rows, Some("web")));
    shown(
        "endpoints",
        &services::endpoints_page(&answer::<Vec<_>>("endpoints"), None),
    );
}

#[test]
fn policies_of_pods() {
    let rows: Vec<_> = answer("policies");
    shown("policies", &policies::page(&rows, None));
    shown("policy", &policies::page(&rows[..1], Some("default/db-0")));
    shown(
        "cluster-policies",
        &policies::page(&answer::<Vec<_>>("cluster-policies"), None),
    );
}

#[test]
fn connections() {
    let rows: Vec<_> = answer("flows");
    shown("flows", &flows::page(&rows, &FlowQuery::default()));
    let query = FlowQuery {
        limit: 1,
        protocol: Some("icmp".into()),
        ..FlowQuery::default()
    };
    shown("flows-limited", &flows::page(&rows[2..], &query));
}

#[test]
fn counters_and_attachments() {
    let report = answer("counters");
    shown("counters", &counters::page(&report, false));
    shown("counters-all", &counters::page(&report, true));
    shown("attached", &attached(&answer("attached")));
}

/// What `docs/counters.md` explains: every total, and every name of a worker and of a ring.
#[test]
fn the_page_of_counters_explains_every_name() {
    let page = std::fs::read_to_string(
        [env!("CARGO_MANIFEST_DIR"), "../../docs/counters.md"]
            .iter()
            .collect::<PathBuf>(),
    );
    let page = page.unwrap();
    let events = sluice_engine::Events::default().list();
    let mut names: Vec<String> = events.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.extend(crate::plane::VOLUMES.map(|(name, _)| name.to_owned()));
    let (status, report): (Status, CountersReport) = (answer("status"), answer("counters"));
    for row in [
        serde_json::to_value(&status.workers[0]).unwrap(),
        serde_json::to_value(report.workers[0].bursts[0]).unwrap(),
        serde_json::to_value(&report.rings[0]).unwrap(),
        serde_json::to_value(report.rings[0].rx).unwrap(),
    ] {
        names.extend(row.as_object().unwrap().keys().cloned());
    }
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "docs/counters.md does not explain {missing:?}");
}

#[test]
fn dropped_packets() {
    let report: DropsReport = answer("drops");
    shown("drops", &drops::page(&report, &DropQuery::default(), false));
    shown("drops-bytes", &drops::page(&report, &DropQuery::default(), true));
    let query = DropQuery {
        reason: Some("policy".into()),
        pod: Some("db-0".into()),
        ..DropQuery::default()
    };
    let mut denied = report;
    denied.drops.retain(|row| row.reason == "policy_ingress");
    (denied.matching_samples, denied.dropped_packets) = (1, 1);
    denied.expected_packets = 0;
    denied.reasons.truncate(1);
    shown("drops-chosen", &drops::page(&denied, &query, false));
}

#[test]
fn where_there_is_nothing_it_is_said_why() {
    let text = |page: Page| page.render(false);
    assert!(text(services::page(&[], None)).starts_with("no services are served"));
    assert!(text(services::endpoints_page(&[], Some("web"))).starts_with("service web has no usable endpoint"));
    assert!(text(services::endpoints_page(&[], None)).starts_with("no service has a usable endpoint"));
    assert!(text(policies::page(&[], None)).starts_with("no pods are attached"));
    assert_eq!(text(flows::page(&[], &FlowQuery::default())), "no connections\n");
    assert_eq!(
        text(flows::page(
            &[],
            &FlowQuery {
                port: Some(80),
                ..FlowQuery::default()
            }
        )),
        "no matching connections\n"
    );
    assert!(
        text(counters::page(&Default::default(), false)).starts_with("0 packets received, 0 sent, 0 dropped (0.00 %)")
    );
}
